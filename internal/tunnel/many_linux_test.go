package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// descriptors returns how many descriptors this process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// processorTime returns what this process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resetMidway runs a tunnel until a few bytes have passed each way, and lets
// one of the peers reset it. The other one must get a reset, and no end.
func resetMidway(t testing.TB, firstResets bool) {
	ourA, a := testkit.TcpPair(t)
	ourB, b := testkit.TcpPair(t)
	defer a.Close()
	defer b.Close()
	result := make(chan error, 1)
	go func() { result <- Join(context.Background(), ourA, ourB, Options{}) }()
	cut, left, ours := a, b, net.Conn(ourA)
	if !firstResets {
		cut, left, ours = b, a, ourB
	}
	testkit.WriteString(t, cut, "to the other one")
	if got := testkit.ReadN(t, left, len("to the other one")); got != "to the other one" {
		t.Errorf("got %q", got)
	}
	testkit.WriteString(t, left, testkit.Noise(10_000)) // some of it is on its way
	testkit.Reset(t, cut)
	_ = left.SetDeadline(time.Now().Add(testkit.Patience))
	if _, err := io.Copy(io.Discard, left); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other peer got %v", err)
	}
	var failed *Error
	if err := <-result; !errors.As(err, &failed) || failed.Failed != ours {
		t.Errorf("the result is %v", err)
	}
}

// A thousand tunnels whose peers reset them midway end within 5 s, and leave no
// descriptor and no goroutine.
func TestThousandTunnelsResetMidway(t *testing.T) {
	testkit.NoLeaks(t)
	testkit.Fairly(t, 500*time.Millisecond, func(t testing.TB) {
		resetMidway(t, true) // opens what the runtime keeps
		before, begun := descriptors(t), time.Now()
		var running sync.WaitGroup
		next := make(chan int)
		for range 100 {
			running.Go(func() {
				for i := range next {
					resetMidway(t, i%2 == 0)
				}
			})
		}
		for i := range 1000 {
			next <- i
		}
		close(next)
		running.Wait()
		if took := testkit.Since(begun); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if after := descriptors(t); after > before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
}

// Tunnels whose peers take nothing cost no processor time, and go on once they
// do.
func TestStalledTunnelsCostNothing(t *testing.T) {
	testkit.NoLeaks(t)
	testkit.Fairly(t, 100*time.Millisecond, func(t testing.TB) {
		const tunnels, size = 20, 16 << 20
		var takers []*net.TCPConn
		results, sent := make(chan error, tunnels), make(chan error, tunnels)
		moved := make(chan int, 1<<16)
		for range tunnels {
			ourA, a := testkit.TcpPair(t)
			ourB, b := testkit.TcpPair(t)
			takers = append(takers, b)
			go func() {
				results <- Join(context.Background(), ourA, ourB, Options{Moved: func(_ net.Conn, n int) { moved <- n }})
			}()
			go func() {
				content := make([]byte, 1<<20)
				for range size / len(content) {
					if _, err := a.Write(content); err != nil {
						sent <- err
						return
					}
				}
				sent <- a.CloseWrite()
			}()
		}
		for quiet := false; !quiet; { // until all buffers are full
			select {
			case <-moved:
			case <-time.After(200 * time.Millisecond):
				quiet = true
			}
		}
		begun := processorTime()
		time.Sleep(300 * time.Millisecond)
		if took := processorTime() - begun; took > 60*time.Millisecond {
			t.Errorf("%v of processor time while nothing moves", took)
		}
		go func() {
			for range moved {
			}
		}()
		for _, b := range takers {
			if n, err := io.Copy(io.Discard, b); n != size || err != nil {
				t.Errorf("%d bytes of %d: %v", n, size, err)
			}
			_ = b.CloseWrite()
		}
		for range tunnels {
			if err := errors.Join(<-results, <-sent); err != nil {
				t.Error(err)
			}
		}
		close(moved)
	})
}
