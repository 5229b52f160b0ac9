//go:build unix && !linux

package fdio

import (
	"os"
	"syscall"
)

// isAnonymous reports whether f is a pipe without a name, and so without links.
func isAnonymous(_ *os.File, info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}

// isNull reports whether info is that of the null device, by whatever node.
func isNull(info os.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && deviceOf(info) == deviceOf(null)
}

// Unread returns -1: the system does not report it for a pipe's writing end.
func (f *File) Unread() int { return -1 }

// EnlargePipe does nothing: the system sizes its pipes itself.
func (f *File) EnlargePipe() {}
