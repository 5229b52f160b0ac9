package main

import (
	"os"
	"testing"
)

// runAsPurr is the variable that makes the test binary be the program: the
// tests of whole processes start it again with it set, so that what they run is
// what was compiled, the race detector included.
const runAsPurr = "PURR_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runAsPurr) != "" {
		main()
	}
	os.Exit(m.Run())
}
