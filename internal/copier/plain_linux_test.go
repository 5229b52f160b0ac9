package copier

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// A joined is a running copier between two sockets.
type joined struct {
	from, to *net.TCPConn // the other ends
	copier   Copier
	result   chan error
}

// startJoined starts a copier between two sockets, which ends with from.
func startJoined(t *testing.T) *joined {
	t.Helper()
	in, from := testkit.TcpPair(t)
	out, to := testkit.TcpPair(t)
	j := &joined{from: from, to: to, copier: New(out, in), result: make(chan error, 1)}
	go func() { j.result <- Run(j.copier, MaxSlice, func(int) error { return nil }) }()
	return j
}

// passes writes content at one end, and reads it at the other.
func (j *joined) passes(t *testing.T, content string) {
	t.Helper()
	go func() { _, _ = io.WriteString(j.from, content) }()
	if got := testkit.ReadN(t, j.to, len(content)); got != content {
		t.Error("other bytes arrived:", testkit.Brief(got))
	}
}

// fills passes more and more until splice has begun.
func (j *joined) fills(t *testing.T, kinds func() string) {
	t.Helper()
	for n := 1 << 20; kinds() == "" && n < 1<<26; n *= 2 {
		j.passes(t, testkit.Noise(n))
	}
}

// ends ends the stream and the copier.
func (j *joined) ends(t *testing.T) {
	t.Helper()
	_ = j.from.CloseWrite()
	if err := <-j.result; err != nil {
		t.Error(err)
	}
	j.copier.Close()
}

// kindsOf returns a function that returns the kinds of the copiers from now on.
func kindsOf(t *testing.T) func() string {
	var mu sync.Mutex
	var kinds []string
	TestHook = func(kind string) {
		mu.Lock()
		defer mu.Unlock()
		kinds = append(kinds, kind)
	}
	t.Cleanup(func() { TestHook = nil })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(kinds, " ")
	}
}

// descriptors returns how many descriptors the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// A short conversation between two sockets opens no pipe for splice; a read
// that fills its buffer does, and the pipe is closed again.
func TestShortConversationsOpenNoPipe(t *testing.T) {
	kinds, before := kindsOf(t), descriptors(t)
	j := startJoined(t)
	for range 10 {
		j.passes(t, "a short message")
	}
	if n := descriptors(t); n != before+4 {
		t.Errorf("%d descriptors besides those of the four sockets", n-before-4)
	}
	j.fills(t, kinds)
	if n := descriptors(t); n != before+6 || kinds() != "splice" {
		t.Errorf("%d descriptors besides those of the sockets and a pipe, copied by %q", n-before-6, kinds())
	}
	j.passes(t, "a short message")
	j.ends(t)
	if n := descriptors(t); n != before+4 {
		t.Errorf("%d descriptors are left", n-before-4)
	}
}

// While there are no descriptors for the pipe, every byte is copied all the
// same; once there are, splice takes over.
func TestNoDescriptorsForThePipe(t *testing.T) {
	kinds, j := kindsOf(t), startJoined(t)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 3, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	lifted := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	defer lifted()
	j.passes(t, testkit.Noise(8<<20))
	if kinds() != "" {
		t.Errorf("copied by %q", kinds())
	}
	lifted()
	j.fills(t, kinds)
	j.ends(t)
	if kinds() != "splice" {
		t.Errorf("copied by %q", kinds())
	}
}

// A copier that waits for bytes holds no buffer.
func TestIdleConversationsHoldNoBuffer(t *testing.T) {
	const streams = 64
	alive := func() uint64 {
		var now runtime.MemStats
		runtime.GC()
		runtime.GC() // the first one leaves what a sync.Pool has
		runtime.ReadMemStats(&now)
		return now.HeapAlloc
	}
	before := alive()
	all := make([]*joined, streams)
	for i := range all {
		all[i] = startJoined(t)
		all[i].passes(t, "x")
	}
	testkit.Eventually(t, "less than half of the buffers", func() bool { return alive() < before+streams*32<<10 })
	for _, j := range all {
		j.ends(t)
	}
}

// An urgent byte in the middle of a spliced stream is passed, too, and both
// sides of it arrive.
func TestUrgentIsNotSpliced(t *testing.T) {
	kinds, j := kindsOf(t), startJoined(t)
	j.fills(t, kinds)
	_, _ = io.WriteString(j.from, "before ")
	raw, _ := j.from.SyscallConn()
	_ = raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
	_, _ = io.WriteString(j.from, " after")
	got := testkit.ReadN(t, j.to, len("before "))
	for !strings.HasSuffix(got, " after") {
		got += testkit.ReadN(t, j.to, 1)
	}
	if got != "before  after" && got != "before ! after" {
		t.Errorf("got %q", got)
	}
	j.ends(t)
}

// The end of a stream, which splice reports as it does other things, costs no
// buffer of its own: a server with short connections would only collect
// garbage.
func TestEndsShareTheirBuffer(t *testing.T) {
	copyToEnd := func() {
		in, a := testkit.TcpPair(t)
		out, b := testkit.TcpPair(t)
		testkit.WriteString(t, a, "hello")
		_ = a.CloseWrite()
		c := New(out, in)
		defer c.Close()
		if err := Run(c, MaxSlice, func(int) error { return nil }); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if got := testkit.ReadN(t, b, 5); got != "hello" {
			t.Fatalf("got %q", got)
		}
	}
	copyToEnd()
	const streams = 64
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range streams {
		copyToEnd()
	}
	runtime.ReadMemStats(&after)
	// Under the race detector the pool drops some at random.
	if each := (after.TotalAlloc - before.TotalAlloc) / streams; each > 80<<10 { // two reads
		t.Errorf("%d bytes for each stream", each)
	}
}
