package scan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"purr/internal/payload"
	"purr/internal/testkit"
)

// pingEcho returns options for pings of an echo server.
func pingEcho(t testing.TB, count int, interval, wait time.Duration) PingOptions {
	return PingOptions{Payload: choose(t, "echo", "").Payload, Count: count, Interval: interval, Wait: wait}
}

// TestPing pings a far end that loses every fifth request and every seventh
// answer, repeats one and swaps two.
func TestPing(t *testing.T) {
	for _, counts := range []bool{false, true} {
		t.Run(fmt.Sprintf("counts=%v", counts), func(t *testing.T) {
			var counters payload.PingCounter
			n := 0
			var keep []byte
			lastAsked := make(chan struct{})
			target := listenUDP(t, func(c *net.UDPConn, from netip.AddrPort, b []byte) {
				if n++; n == 21 {
					close(lastAsked)
				}
				if n%5 == 0 {
					return // lost on the way there
				}
				if counts && !counters.Stamp(from, b) {
					t.Errorf("not a ping: %q", b)
				}
				switch {
				case n%7 == 0: // lost on the way back
				case n == 8:
					keep = b
				case n == 9:
					c.WriteToUDPAddrPort(b, from)
					c.WriteToUDPAddrPort(b, from)
					c.WriteToUDPAddrPort(keep, from)
				default:
					c.WriteToUDPAddrPort(b, from)
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			events, stamped := 0, 0
			s := Ping(ctx, Target{"", target}, pingEcho(t, 21, 5*time.Millisecond, testkit.Patience), func(e *PingEvent) {
				if e.KernelRTT {
					stamped++
				}
				if events++; events == 15 { // 14 answers and a duplicate: nothing else comes
					go func() { <-lastAsked; cancel() }()
				}
			})
			if runtime.GOOS == "linux" && stamped == 0 {
				t.Error("no round trip time is the kernel's")
			}
			// 4 of 21 lost on the way there (5, 10, 15, 20), 3 on the way back
			// (7, 14, 21).
			if s.Sent != 21 || s.Answered != 14 || s.Duplicate != 1 || s.Reordered != 1 || s.Late != 0 || s.Err != nil {
				t.Errorf("%+v", s)
			}
			if s.Min <= 0 || s.Min > s.Percentile(50) || s.Percentile(50) > s.Max || s.Mean() < s.Min || s.Mean() > s.Max {
				t.Errorf("round trip times %v %v %v, mean %v", s.Min, s.Percentile(50), s.Max, s.Mean())
			}
			first, there, back, known := s.Directions()
			if known != counts || counts && (first != 19 || there != 3 || back != 2) {
				t.Errorf("of %d: %d there, %d back, known %v", first, there, back, known)
			}
		})
	}
}

func TestPingLate(t *testing.T) {
	testkit.Fairly(t, 50*time.Millisecond, func(t testing.TB) {
		target := listenUDP(t, func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			time.AfterFunc(300*time.Millisecond, func() { c.WriteToUDPAddrPort(b, from) })
		})
		s := Ping(t.Context(), Target{"", target}, pingEcho(t, 3, 200*time.Millisecond, 200*time.Millisecond), func(*PingEvent) {})
		if s.Sent != 3 || s.Answered != 0 || s.Late == 0 || s.Verdict != "" || s.Lost() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestPingClosed(t *testing.T) {
	o := pingEcho(t, 3, 50*time.Millisecond, 200*time.Millisecond)
	s := Ping(t.Context(), Target{"", netip.MustParseAddrPort("127.0.0.1:1")}, o, func(e *PingEvent) {
		if e.Kind != PingRejected || e.State != Closed {
			t.Errorf("%+v", e)
		}
	})
	if s.Sent != 3 || s.Rejected != 3 || s.Verdict != Closed {
		t.Errorf("%+v", s)
	}
}

// A closed output ends a ping that would go on for ever, with its own error;
// the end of the context has another one.
func TestPingWriterRun(t *testing.T) {
	t.Parallel()
	target := listenUDP(t, func(c *net.UDPConn, from netip.AddrPort, b []byte) { c.WriteToUDPAddrPort(b, from) })
	full := errors.New("full")
	p := PingWriter{W: writerFunc(func([]byte) (int, error) { return 0, full }), Target: Target{"", target}}
	if s, err := p.Run(t.Context(), pingEcho(t, 0, time.Millisecond, testkit.Patience)); err != full || s.Answered == 0 {
		t.Errorf("%+v, %v", s, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	var out strings.Builder
	p.W = writerFunc(func(b []byte) (int, error) { cancel(errors.ErrUnsupported); return out.Write(b) })
	if s, err := p.Run(ctx, pingEcho(t, 0, time.Millisecond, testkit.Patience)); err != errors.ErrUnsupported || s.Err != nil || !strings.Contains(out.String(), "sent, ") {
		t.Errorf("%+v, %v, %q", s, err, out.String())
	}
}

// A writerFunc is an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
