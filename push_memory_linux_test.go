package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"purr/internal/push"
	"purr/internal/testkit"
)

// The memory of a listener is bounded for the process, however many purrs
// connect that mean harm.

// helloFrom begins a transfer as a purr at a loopback address of its own, with
// buffers that hold little. It returns nil if the listener has no room.
func helloFrom(t testing.TB, i int, port string, as push.Role) net.Conn {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%20))}, Timeout: testkit.Patience}
	c, err := dialer.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: "+push.Protocol+"\r\nPurr: "+string(as)+"\r\nWant-Repr-Digest: sha-256=10\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return nil
	}
	return c
}

// bounded checks the most memory that a process has had, after some transfers.
func bounded(t testing.TB, p *process, transfers int64) {
	t.Helper()
	if transfers < 20 {
		t.Errorf("%d transfers are too few", transfers)
	}
	p.runs()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kB := 0
	if _, _ = fmt.Sscan(rest, &kB); kB == 0 || kB > 64<<10 && !testkit.UnderRace {
		t.Errorf("%d kB after %d transfers", kB, transfers)
	}
}

// Receivers that take nothing, of small files and of large ones that they have
// asked for.
func TestMemoryOfReceivers(t *testing.T) {
	t.Parallel()
	for _, size := range []int{20_000, 200_000, 4_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			dir := inMemory(t)
			for i := range 50 { // each with many names
				first := fmt.Sprintf("%s/%d/0", dir, i)
				testkit.WriteFile(t, first, testkit.Noise(size))
				for j := range min(3000, 100_000_000/size) / 50 {
					_ = os.Link(first, fmt.Sprintf("%s/%d/%d", dir, i, j))
				}
			}
			p := startPurr(t, opts{}, "--push", "-k", "-l", "0", dir)
			port := p.port()
			var all sync.WaitGroup
			var accepted atomic.Int64
			for i := range 200 {
				all.Go(func() {
					if c := helloFrom(t, i, port, push.Receiver); c != nil {
						accepted.Add(1)
						for id := 1; id <= 4 && size > 1<<20; id++ {
							_, _ = io.WriteString(c, sealed(fmt.Sprintf(`{"op":"want","id":%d}`, id)))
						}
						for range 10 {
							_, _ = io.WriteString(c, "\n")
							time.Sleep(100 * time.Millisecond)
						}
					}
				})
			}
			all.Wait()
			bounded(t, p, accepted.Load())
		})
	}
}

// Senders of small files that read no results, and then of many empty ones.
func TestMemoryOfSenders(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "--pull", "-k", "-l", "0", inMemory(t))
	port := p.port()
	content := testkit.Noise(200_000)
	digest, ofNothing := sum(content), sum("")
	var all sync.WaitGroup
	var accepted atomic.Int64
	for i := range 200 {
		all.Go(func() {
			c := helloFrom(t, i, port, push.Sender)
			if c == nil {
				return
			}
			accepted.Add(1)
			_ = c.SetDeadline(time.Now().Add(3 * time.Second))
			for id := range 40 {
				line := fmt.Sprintf(`{"op":"file","id":%d,"path":"c%d/f%d","size":%d,"n":%[4]d,"digest":%q}`, id+1, i, id, len(content), digest)
				_, _ = io.WriteString(c, sealed(line))
				if _, err := io.WriteString(c, content); err != nil {
					return
				}
			}
			for id := 100; ; id++ {
				line := fmt.Sprintf(`{"op":"file","id":%d,"path":"c%d/f%d","size":0,"digest":%q}`, id, i, id%3, ofNothing)
				if _, err := io.WriteString(c, sealed(line)); err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	bounded(t, p, accepted.Load())
}
