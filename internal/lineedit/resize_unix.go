//go:build unix

package lineedit

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// notifyResize sends SIGWINCH to c: the terminal has another size.
func notifyResize(c chan<- os.Signal) { signal.Notify(c, unix.SIGWINCH) }
