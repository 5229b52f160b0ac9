//go:build unix && !linux

package fdio

import (
	"os"
	"syscall"
)

// isAnonymous tells a pipe from a FIFO: only the latter has a name, and so a
// link count.
func isAnonymous(_ *os.File, info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}

// Unread cannot be known at this end of a pipe.
func (s *File) Unread() int { return -1 }
