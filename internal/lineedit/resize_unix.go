//go:build unix

package lineedit

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// notifyResize makes c receive SIGWINCH whenever the terminal changes its size.
func notifyResize(c chan<- os.Signal) { signal.Notify(c, unix.SIGWINCH) }
