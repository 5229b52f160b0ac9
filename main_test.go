package main

import (
	"flag"
	"os"
	"testing"

	"purr/internal/testkit"
)

// runAsPurr is the variable that makes the test binary be the program: the
// tests of whole processes start it again with it set, so that what they run is
// what was compiled, the race detector included.
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

// atEnd is what the tests leave to be undone when all of them are over.
var atEnd []func()
