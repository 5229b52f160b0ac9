package main

import (
	"os"
	"regexp"
	"sync"
	"testing"

	"purr/internal/testkit"
)

// runAsPurr is the variable that turns the test binary into the program. Tests
// of whole processes start it again with it set, so that they run the compiled
// code, the race detector included.
const runAsPurr = "PURR_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runAsPurr) != "" {
		main()
	}
	testkit.AtOnce(20)
	go testkit.WatchHoldups()
	status := m.Run()
	for _, f := range atEnd {
		f()
	}
	os.Exit(status)
}

// atEnd holds the cleanups that run after all tests.
var atEnd []func()

// pattern returns a regular expression that is compiled when it is first used:
// the binary of the tests is also purr, which they start thousands of times.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
