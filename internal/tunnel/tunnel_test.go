package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"purr/internal/copier"
	"purr/internal/sys"
	"purr/internal/testkit"
)

// A joined is a tunnel between two peers.
type joined struct {
	a, b       *net.TCPConn // the peers' ends
	ourA, ourB *net.TCPConn
	result     chan error
	toA, toB   int
	stop       context.CancelCauseFunc
}

func join(t *testing.T) *joined {
	t.Helper()
	j := &joined{result: make(chan error, 1)}
	j.ourA, j.a = testkit.TcpPair(t)
	j.ourB, j.b = testkit.TcpPair(t)
	ctx, stop := context.WithCancelCause(t.Context())
	j.stop = stop
	go func() {
		j.result <- Join(ctx, j.ourA, j.ourB, Options{Moved: func(to net.Conn, n int) {
			if to == j.ourA {
				j.toA += n
			} else {
				j.toB += n
			}
		}})
	}()
	return j
}

// A half-close passes and ends nothing: the late answer arrives.
func TestHalfClose(t *testing.T) {
	testkit.NoLeaks(t)
	j := join(t)
	question, answer := testkit.Noise(5<<20), testkit.Noise(7 << 20)[1<<20:]
	go func() { _, _ = io.WriteString(j.a, question); _ = j.a.CloseWrite() }()
	if got := testkit.ReadAll(t, j.b); got != question {
		t.Error("another question:", testkit.Brief(got))
	}
	select {
	case err := <-j.result:
		t.Error("ended at the half-close:", err)
	case <-time.After(100 * time.Millisecond):
	}
	go func() { _, _ = io.WriteString(j.b, answer); _ = j.b.Close() }()
	if got := testkit.ReadAll(t, j.a); got != answer {
		t.Error("another answer:", testkit.Brief(got))
	}
	if err := <-j.result; err != nil {
		t.Error(err)
	}
	if j.toB != len(question) || j.toA != len(answer) {
		t.Errorf("counted %d and %d bytes", j.toB, j.toA)
	}
}

// A reset passes as a reset, behind what was sent before.
func TestReset(t *testing.T) {
	testkit.NoLeaks(t)
	j := join(t)
	testkit.WriteString(t, j.a, "before")
	if got := testkit.ReadN(t, j.b, 6); got != "before" {
		t.Error(got)
	}
	testkit.Reset(t, j.a)
	if n, err := j.b.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Error("the other end got", n, err)
	}
	err := <-j.result
	if failed, ok := errors.AsType[*Error](err); !ok || failed.Failed != j.ourA || !sys.IsReset(err) {
		t.Error(err)
	}
}

// A peer that answers and goes away before it has read the question: its answer
// arrives, and then the reset.
func TestEarlyAnswer(t *testing.T) {
	testkit.NoLeaks(t)
	j := join(t)
	testkit.WriteString(t, j.b, "413 too large")
	testkit.WriteString(t, j.a, "question")
	testkit.ReadN(t, j.b, 1) // the rest is unread: closing is a reset
	_ = j.b.CloseWrite()
	if got := testkit.ReadAll(t, j.a); got != "413 too large" {
		t.Error(got)
	}
	_ = j.b.Close()
	for { // until the reset has come through
		if _, err := io.WriteString(j.a, "more"); err != nil {
			break
		}
	}
	if err := <-j.result; err == nil {
		t.Error("no error, and bytes were lost")
	}
}

// A reset that a blocked write reports first passes as a reset, too: the
// part of the answer that came before it never looks complete.
func TestResetOfBlockedWrite(t *testing.T) {
	testkit.NoLeaks(t)
	for range 5 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			j := join(t)
			testkit.WriteString(t, j.b, "part")
			if got := testkit.ReadN(t, j.a, 4); got != "part" {
				t.Error(got)
			}
			// More than the sockets hold. No write of j.a's is under way at the reset:
			// it would take the error that the read is to see.
			_ = j.a.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			if _, err := io.WriteString(j.a, testkit.Noise(32<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("all was taken:", err)
			}
			testkit.Reset(t, j.b)
			if n, err := j.a.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
				t.Error("the other end got", n, err)
			}
			if failed, ok := errors.AsType[*Error](<-j.result); !ok || failed.Failed != j.ourB {
				t.Error(failed)
			}
		})
	}
}

// After an orderly end the slower peer may take its time.
func TestPausedReader(t *testing.T) {
	testkit.NoLeaks(t)
	before := stallTime
	stallTime = time.Millisecond
	defer func() { stallTime = before }()
	j := join(t)
	_ = j.a.SetReadBuffer(64 << 10)
	answer := testkit.Noise(1 << 20)
	testkit.WriteString(t, j.b, answer)
	_ = j.a.CloseWrite()
	_ = j.b.Close()
	select {
	case err := <-j.result:
		t.Fatal("ended before the answer was taken:", err)
	case <-time.After(100 * time.Millisecond):
	}
	if got := testkit.ReadAll(t, j.a); got != answer {
		t.Error("another answer:", testkit.Brief(got))
	}
	if err := <-j.result; err != nil {
		t.Error(err)
	}
}

// The end of the context resets both.
func TestContext(t *testing.T) {
	testkit.NoLeaks(t)
	j := join(t)
	stopped := errors.New("stopped")
	j.stop(stopped)
	if err := <-j.result; err != stopped {
		t.Error(err)
	}
	for _, c := range []net.Conn{j.a, j.b} {
		if _, err := c.Read(make([]byte, 1)); !sys.IsReset(err) {
			t.Error("a peer got", err)
		}
	}
}

// Many tunnels, most of them reset midway, leave nothing behind.
func TestManyResets(t *testing.T) {
	testkit.NoLeaks(t)
	for i := range 200 {
		j := join(t)
		testkit.WriteString(t, j.a, "x")
		testkit.ReadN(t, j.b, 1)
		switch i % 4 {
		case 0:
			testkit.Reset(t, j.a)
		case 1:
			testkit.Reset(t, j.b)
		case 2:
			testkit.Reset(t, j.a)
			testkit.Reset(t, j.b)
		default:
			_ = j.a.Close()
			_ = j.b.Close()
		}
		if err := <-j.result; err != nil != (i%4 < 3) {
			t.Fatal(i%4, err)
		}
	}
}

// Other connections are joined too.
func TestPipes(t *testing.T) {
	ourA, a := net.Pipe()
	ourB, b := testkit.TcpPair(t)
	result := make(chan error, 1)
	go func() { result <- Join(t.Context(), ourA, ourB, Options{}) }()
	testkit.WriteString(t, a, "over")
	if got := testkit.ReadN(t, b, 4); got != "over" {
		t.Error(got)
	}
	testkit.WriteString(t, b, "back")
	if got := testkit.ReadN(t, a, 4); got != "back" {
		t.Error(got)
	}
	_ = a.Close()
	_ = b.Close()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// A tunnel needs one goroutine besides that of Join, which the caller may
// start.
func TestGo(t *testing.T) {
	testkit.NoLeaks(t)
	ourA, a := testkit.TcpPair(t)
	ourB, b := testkit.TcpPair(t)
	result, started := make(chan error, 1), 0
	go func() {
		result <- Join(t.Context(), ourA, ourB, Options{Go: func(f func()) { started++; go f() }})
	}()
	for _, way := range []struct{ from, to *net.TCPConn }{{a, b}, {b, a}} {
		testkit.WriteString(t, way.from, "hello")
		_ = way.from.CloseWrite()
		if got := testkit.ReadAll(t, way.to); got != "hello" {
			t.Errorf("got %q", got)
		}
	}
	if err := <-result; err != nil || started != 1 {
		t.Errorf("%d goroutines: %v", started, err)
	}
}

// Without filters the bytes stay in the kernel; with a filter for one direction
// the other one still does, and the filter sees every byte.
func TestFilters(t *testing.T) {
	if runtime.GOOS != "linux" {
		testkit.NotHere(t, "splice(2), which is Linux's")
	}
	for _, filtered := range []bool{false, true} {
		var mu sync.Mutex
		var kinds []string
		copier.TestHook = func(kind string) { mu.Lock(); defer mu.Unlock(); kinds = append(kinds, kind) }
		ourA, a := testkit.TcpPair(t)
		ourB, b := testkit.TcpPair(t)
		var o Options
		var seen []byte
		if filtered {
			o.FiltersB = []copier.Filter{func(b []byte) []byte { seen = append(seen, b...); return b }}
		}
		result := make(chan error, 1)
		go func() { result <- Join(t.Context(), ourA, ourB, o) }()
		question := testkit.Noise(3 << 20)
		go func() { _, _ = io.WriteString(a, question); _ = a.CloseWrite() }()
		if got := testkit.ReadAll(t, b); got != question {
			t.Error("another question:", testkit.Brief(got))
		}
		go func() { _, _ = io.WriteString(b, question); _ = b.Close() }()
		if got := testkit.ReadAll(t, a); got != question {
			t.Error("another answer:", testkit.Brief(got))
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
		copier.TestHook = nil
		slices.Sort(kinds)
		want := []string{"splice", "splice"}
		if filtered {
			want[0] = "buffer"
			if string(seen) != question {
				t.Error("the filter saw", testkit.Brief(string(seen)))
			}
		}
		if !slices.Equal(kinds, want) {
			t.Errorf("copiers %q, want %q", kinds, want)
		}
	}
}
