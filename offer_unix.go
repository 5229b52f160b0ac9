//go:build unix

package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// openAtOnce does not wait for the writer of a FIFO that took a file's place.
const openAtOnce = unix.O_NONBLOCK

// changeTime is when a file's contents or attributes last changed (st_ctime),
// which nobody can set back.
func changeTime(f *os.File) (time.Time, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return time.Time{}, err
	}
	var st unix.Stat_t
	if controlErr := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); controlErr != nil {
		return time.Time{}, controlErr
	}
	return time.Unix(st.Ctim.Unix()), err
}
