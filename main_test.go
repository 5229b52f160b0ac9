package main

import (
	"flag"
	"os"
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
	// Tests wait most of the time; more of them at once would starve those that
	// measure it. -parallel still overrides this.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	go testkit.WatchHoldups()
	status := m.Run()
	for _, f := range atEnd {
		f()
	}
	os.Exit(status)
}

// atEnd holds the cleanups that run after all tests.
var atEnd []func()
