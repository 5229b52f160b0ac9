package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := &logger{out: &out}
	l.ncLine(verbose, "hidden")
	l.verbosef("hidden")
	l.warnf("x \x1b[1m%s", "y\nz")
	l.ncLine(always, "Listening on :: 80")
	l.level = 1
	l.ncLine(verbose, "said 1")
	l.verbosef("noted")
	l.messagef(veryVerbose, "hidden")
	l.fail(errors.Join(errors.New("first"), reportedError{errors.New("said")}, fmt.Errorf("second")))
	l.fail(reportedError{errors.New("said")})
	want := "purr: x \\x1b[1my\\nz\nListening on :: 80\nsaid 1\npurr: noted\npurr: first\npurr: second\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// Lines of many goroutines stay whole.
func TestLoggerConcurrent(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := &logger{out: &out}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 20 {
				l.warnf("%s", strings.Repeat("x", 100))
			}
		})
	}
	all.Wait()
	if want := strings.Repeat("purr: "+strings.Repeat("x", 100)+"\n", 1000); out.String() != want {
		t.Error("lines are mixed")
	}
}
