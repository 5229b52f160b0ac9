//go:build unix

package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// notifyResize makes c hear of the terminal's size changing.
func notifyResize(c chan<- os.Signal) { signal.Notify(c, unix.SIGWINCH) }
