package sock

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"purr/internal/testkit"
)

// goroutine returns the name of the goroutine that calls it.
func goroutine() string {
	b := make([]byte, 64)
	name, _, _ := strings.Cut(string(b[:runtime.Stack(b, false)]), "[")
	return name
}

// A server keeps a goroutine for the next client, or for what its clients call,
// and none beyond its end; without a server none is kept.
func TestCrew(t *testing.T) {
	testkit.NoLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var c Crew
	names := make(chan string, 1)
	c.Go(func() { names <- goroutine() })
	outside := <-names
	c.all.Wait()
	ctx, stop := context.WithCancelCause(t.Context())
	context.AfterFunc(ctx, func() { ln.Close() })
	ended := make(chan error, 1)
	go func() {
		ended <- c.Serve(ctx, ln, 100, func(conn net.Conn) {
			names <- goroutine()
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		})
	}()
	client := func() (conn net.Conn, name string) {
		conn, err := net.DialTimeout("tcp", ln.Addr().String(), testkit.Patience)
		if err != nil {
			t.Fatal(err)
		}
		return conn, <-names
	}
	seen := make(map[string]bool)
	testkit.Eventually(t, "a client in the goroutine of another", func() bool {
		conn, name := client()
		conn.Close()
		again := seen[name]
		seen[name] = true
		return again
	})
	testkit.Eventually(t, "a call in such a goroutine", func() bool {
		c.Go(func() { names <- goroutine() })
		name := <-names
		again := seen[name]
		seen[name] = true // a new one, if no client's was free
		return again
	})
	if seen[outside] {
		t.Error("a goroutine was kept before there was a server")
	}
	var open []net.Conn
	own := make(map[string]bool)
	for range 3 * idleMost {
		conn, name := client()
		open, own[name] = append(open, conn), true
	}
	if len(own) != len(open) {
		t.Errorf("%d clients at once have %d goroutines", len(open), len(own))
	}
	for _, conn := range open {
		conn.Close()
	}
	testkit.Eventually(t, "the goroutines", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.idle) == idleMost
	})
	last, _ := client()
	stop(io.ErrUnexpectedEOF)
	select {
	case err := <-ended:
		t.Errorf("it has ended with a client: %v", err)
	default:
	}
	last.Close()
	<-ended
	if c.Go(func() { names <- goroutine() }); seen[<-names] || len(c.idle) > 0 {
		t.Error("a goroutine was kept after the end")
	}
}
