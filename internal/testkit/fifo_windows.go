package testkit

import "errors"

// Mkfifo returns an error: Windows has no FIFO in the file system.
func Mkfifo(string) error { return errors.New("needs named pipes in the file system") }
