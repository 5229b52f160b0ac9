//go:build unix

package proc

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// OnSuspend calls suspend before SIGTSTP (Ctrl-Z) stops the process, and resume
// once it goes on. Not every shell restores the modes of the terminal that a
// stopped program has changed. In an orphaned process group, which nothing
// would continue, the system ignores SIGTSTP, and resume follows at once. The
// caller calls cancel at the end.
func OnSuspend(suspend, resume func()) (cancel func()) {
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, unix.SIGTSTP)
	go func() {
		for range stops {
			suspend()
			stopHere()
			resume()
		}
	}()
	return func() {
		signal.Stop(stops)
		close(stops)
	}
}

// Suspend sends SIGTSTP to all processes of the group, as the terminal does for
// Ctrl-Z unless it is in raw mode.
func Suspend() { _ = unix.Kill(0, unix.SIGTSTP) }
