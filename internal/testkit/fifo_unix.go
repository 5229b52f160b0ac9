//go:build unix

package testkit

import "syscall"

// Mkfifo creates a FIFO.
func Mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }
