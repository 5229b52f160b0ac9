package proc

import (
	"os"
	"syscall"
)

// statusSignals ask for a line of status.
var statusSignals = []os.Signal{syscall.SIGUSR1}
