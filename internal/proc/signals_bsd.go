//go:build unix && !linux

package proc

import (
	"os"
	"syscall"
)

// statusSignals ask for a line of status: Ctrl-T sends SIGINFO.
var statusSignals = []os.Signal{syscall.SIGINFO, syscall.SIGUSR1}
