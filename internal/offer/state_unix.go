//go:build unix

package offer

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// noFollow is the flag of open(2) that refuses a link in the last component.
const noFollow = unix.O_NOFOLLOW

// stateOf returns the state of an open file.
func stateOf(f *os.File) (s state, err error) {
	var st unix.Stat_t
	err = sys.OnFD(f, func(fd int) error { return unix.Fstat(fd, &st) })
	return state{st.Size, time.Unix(st.Mtim.Unix()), time.Unix(st.Ctim.Unix())}, err
}
