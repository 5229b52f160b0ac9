package main

import (
	"syscall"
	"testing"

	"purr/internal/testkit"
)

// A connection that cannot be made can be given up.
func TestSignalWhileConnecting(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "127.0.0.1", deafPort(t))
	testkit.Eventually(t, "purr connects", func() bool { return connecting(t, p) })
	checkSignal(t, p, syscall.SIGINT)
}
