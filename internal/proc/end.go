package proc

import (
	"os"
	"os/signal"
	"syscall"
)

// endSignals ask a program to end. Uncaught, Go's runtime answers the last two
// with a dump of its goroutines.
var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT}

// KeepIgnored makes signals that were ignored when the process started stay
// ignored: a shell without job control starts background jobs with SIGINT and
// SIGQUIT ignored, and nohup(1) its program with SIGHUP. Go's runtime keeps
// that for SIGINT and SIGHUP only, so SIGQUIT follows SIGINT. It is called
// before NotifyEnd.
func KeepIgnored() {
	if signal.Ignored(syscall.SIGINT) {
		signal.Ignore(syscall.SIGQUIT)
	}
}

// NotifyEnd delivers the signals that ask a program to end to c, as
// signal.Notify does, except for those that are ignored.
func NotifyEnd(c chan<- os.Signal) {
	for _, s := range endSignals {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
}
