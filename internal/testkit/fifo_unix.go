//go:build unix

package testkit

import "golang.org/x/sys/unix"

// Mkfifo creates a FIFO.
func Mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }
