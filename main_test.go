package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"
)

// runAsPurr is the variable that makes the test binary be the program: the
// tests of whole processes start it again with it set, so that what they run is
// what was compiled, the race detector included.
const runAsPurr = "PURR_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runAsPurr) != "" {
		main()
	}
	// Many tests wait most of the time, but those that push files keep two cores
	// busy, and a starved test fails. -parallel still overrides this.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	go watchHoldups()
	status := m.Run()
	for _, f := range atEnd {
		f()
	}
	os.Exit(status)
}

// atEnd is what the tests leave to be undone when all of them are over.
var atEnd []func()

// patience is the deadline of whatever should happen at once but may be slow on
// a busy machine.
const patience = 30 * time.Second

// kept is a writer that keeps everything and can be waited on.
type kept struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	more   chan struct{} // closed, and replaced, at each write
	closed bool
}

func (k *kept) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.buf.Write(b)
	close(k.more)
	k.more = make(chan struct{})
	return len(b), nil
}

func (k *kept) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	close(k.more)
}

func (k *kept) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buf.String()
}

func (k *kept) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buf.Len()
}

// wait returns the first match of re, or nil if there is none at the end of
// the output or of patience.
func (k *kept) wait(re *regexp.Regexp) []string {
	deadline := time.After(patience)
	for {
		k.mu.Lock()
		m := re.FindStringSubmatch(k.buf.String())
		more, closed := k.more, k.closed
		k.mu.Unlock()
		if m != nil || closed {
			return m
		}
		select {
		case <-more:
		case <-deadline:
			return nil
		}
	}
}

// promptly is what "at once" may take where the promise is 100 ms. Under the
// race detector much more runs at the same time, and a process may be held up
// while this one is not.
func promptly() time.Duration {
	if underRace {
		return 3 * time.Second
	}
	return 500 * time.Millisecond
}

// noise is n bytes that never repeat: a lost, doubled or moved block shows.
func noise(n int) string { return allNoise()[:n] }

var allNoise = sync.OnceValue(func() string {
	b := make([]byte, 0, 32<<20)
	for x := uint64(0x9e3779b97f4a7c15); len(b) < cap(b); {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return string(b)
})
