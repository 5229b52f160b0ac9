package main

import (
	"context"
	"os"
	"sync"
	"testing"
)

// testPurr makes a run of the program without the process around it: the
// command line is real, and so are the files. A nil file is /dev/null.
func testPurr(t testing.TB, stdin, stdout *os.File, args ...string) (*purr, context.Context) {
	t.Helper()
	cfg, err := newConfig(args)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	if stdin == nil {
		stdin = null
	}
	if stdout == nil {
		stdout = null
	}
	ctx, stop := context.WithCancelCause(t.Context())
	t.Cleanup(func() { stop(nil) })
	p := &purr{cfg: cfg, stdin: stdin, stdout: stdout, log: &logger{out: &kept{more: make(chan struct{})}, level: cfg.verbose}, stop: stop}
	p.copies = sync.OnceValue(func() bool { return kindOf(stdout) != kindNull })
	return p, ctx
}
