//go:build unix && !linux

package main

import (
	"os"
	"syscall"
)

// statusSignals ask for a line of status: SIGINFO is what Ctrl-T sends.
var statusSignals = []os.Signal{syscall.SIGINFO, syscall.SIGUSR1}
