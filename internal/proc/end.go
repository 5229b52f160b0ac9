package proc

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// endSignals ask a program to end. Uncaught, Go's runtime answers the last two
// with a dump of its goroutines.
var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT}

// KeepIgnored makes signals that were ignored when the process started stay
// ignored: a shell without job control starts background jobs with SIGINT and
// SIGQUIT ignored, and nohup(1) its program with SIGHUP. Go's runtime keeps
// that for SIGINT and SIGHUP only, so SIGQUIT follows SIGINT. It is called
// before OnEnd.
func KeepIgnored() {
	if signal.Ignored(syscall.SIGINT) {
		signal.Ignore(syscall.SIGQUIT)
	}
}

// notifyEnd delivers the signals that ask a program to end to c, as
// signal.Notify does, except for those that are ignored.
func notifyEnd(c chan<- os.Signal) {
	for _, s := range endSignals {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
}

// OnEnd calls stop for the first signal that asks the program to end, which is
// to end ctx. The signals are caught when OnEnd returns. However ctx ends, what
// it has started has 50 ms to end in order. Then exit is called with the cause
// of ctx, and is to end the process, even if something hangs; context.Canceled
// is the end of a program that needs no exit.
func OnEnd(ctx context.Context, stop func(syscall.Signal), exit func(cause error)) {
	signals := make(chan os.Signal, 1)
	notifyEnd(signals)
	go func() {
		defer signal.Stop(signals)
		awaitEnd(ctx, signals, stop, exit)
	}()
}

// awaitEnd is OnEnd from the time when the signals are caught.
func awaitEnd(ctx context.Context, signals <-chan os.Signal, stop func(syscall.Signal), exit func(cause error)) {
	select {
	case s := <-signals:
		stop(s.(syscall.Signal))
	case <-ctx.Done():
	}
	// In parts: after a SIGSTOP or on a busy machine the conversations run
	// between two of them and reset their connections, which an exit would end in
	// order.
	for range 10 {
		time.Sleep(5 * time.Millisecond)
	}
	if cause := context.Cause(ctx); cause != context.Canceled {
		exit(cause)
	}
}
