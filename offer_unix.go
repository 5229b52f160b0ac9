//go:build unix

package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// stateOf returns the state of an open file.
func stateOf(f *os.File) (s fileState, err error) {
	var st unix.Stat_t
	err = sys.OnFD(f, func(fd int) error { return unix.Fstat(fd, &st) })
	return fileState{st.Size, time.Unix(st.Mtim.Unix()), time.Unix(st.Ctim.Unix())}, err
}
