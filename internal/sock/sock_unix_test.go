//go:build unix

package sock

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// A wrapper is a connection on top of another.
type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }

func TestUnder(t *testing.T) {
	t.Parallel()
	a, _ := testkit.TcpPair(t)
	if Under(a) != a || Under(wrapper{wrapper{a}}) != a {
		t.Error("the socket is not under its wrappers")
	}
	if _, ok := RawStream(wrapper{a}); ok {
		t.Error("a wrapper has the bytes of its socket")
	}
	if _, ok := RawStream(a); !ok {
		t.Error("no raw connection of a socket")
	}
}

// A half-close ends one direction only, and is no error after a reset.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	ours, theirs := testkit.TcpPair(t)
	if err := HalfClose(ours); err != nil {
		t.Fatal(err)
	}
	testkit.ReadAll(t, theirs)
	testkit.WriteString(t, theirs, "still open")
	if got := testkit.ReadN(t, ours, 10); got != "still open" {
		t.Errorf("got %q", got)
	}
	ours, theirs = testkit.TcpPair(t)
	testkit.Reset(t, theirs)
	_, _ = io.Copy(io.Discard, ours)
	if err := HalfClose(ours); err != nil {
		t.Errorf("after a reset: %v", err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := HalfClose(a); err != nil {
		t.Errorf("of a connection that cannot: %v", err)
	}
}

// A reset is no orderly end, also through a wrapper.
func TestReset(t *testing.T) {
	t.Parallel()
	for _, wrap := range []func(net.Conn) net.Conn{func(c net.Conn) net.Conn { return c }, func(c net.Conn) net.Conn { return wrapper{c} }} {
		ours, theirs := testkit.TcpPair(t)
		Reset(wrap(ours))
		if _, err := io.Copy(io.Discard, theirs); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v", err)
		}
	}
}

// AwaitAck returns once the peer's system has everything, and can be given up;
// a reset meanwhile is its error.
func TestAwaitAck(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		testkit.NotHere(t, "a count of acknowledged bytes, which is Linux's")
	}
	ours, theirs := testkit.TcpPair(t)
	testkit.WriteString(t, ours, "small")
	if err := AwaitAck(ours, func(int) error { return nil }); err != nil {
		t.Error(err)
	}
	// The peer's window is full, so nothing more is acknowledged.
	chunk := []byte(testkit.Noise(1 << 20)) // which takes longer than the deadline
	for n := 1; n > 0; {
		_ = ours.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		var err error
		if n, err = ours.Write(chunk); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	gaveUp := errors.New("given up")
	err := AwaitAck(ours, func(unacked int) error {
		if unacked <= 0 {
			t.Errorf("%d bytes unacknowledged", unacked)
		}
		return gaveUp
	})
	if err != gaveUp {
		t.Errorf("got %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { testkit.Reset(t, theirs) })
	if err := AwaitAck(ours, func(int) error { return nil }); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after a reset: %v", err)
	}
}

func TestPeerClosed(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		testkit.NotHere(t, "the state of a TCP connection, which Linux tells")
	}
	ours, theirs := testkit.TcpPair(t)
	if PeerClosed(ours) {
		t.Error("closed from the beginning")
	}
	testkit.WriteString(t, theirs, "unread")
	_ = theirs.CloseWrite()
	testkit.Eventually(t, "the FIN arrives", func() bool { return PeerClosed(ours) })
}

// A Reader returns each read whole and gives its buffer back; an error of
// handle is not one of the connection.
func TestReader(t *testing.T) {
	t.Parallel()
	for _, wrap := range []func(net.Conn) net.Conn{func(c net.Conn) net.Conn { return c }, func(c net.Conn) net.Conn { return wrapper{c} }} {
		ours, theirs := testkit.TcpPair(t)
		r, err := NewReader(wrap(ours))
		if err != nil {
			t.Fatal(err)
		}
		var got string
		keep := func(b []byte) error { got += string(b); return nil }
		testkit.WriteString(t, theirs, "one")
		if n, err := r.Next(keep); n != 3 || err != nil || got != "one" || r.buf != nil {
			t.Errorf("%d bytes, %v, %q", n, err, got)
		}
		testkit.WriteString(t, theirs, "two")
		refused := errors.New("refused")
		if n, err := r.Next(func([]byte) error { return refused }); n != 3 || err != refused || r.Waiting {
			t.Errorf("%d bytes, %v, waiting %v", n, err, r.Waiting)
		}
		_ = ours.SetReadDeadline(time.Now().Add(-time.Second))
		if _, err := r.Next(keep); !errors.Is(err, os.ErrDeadlineExceeded) || !r.Waiting {
			t.Errorf("%v, waiting %v", err, r.Waiting)
		}
		_ = ours.SetReadDeadline(time.Time{})
		_ = theirs.Close()
		if n, err := r.Next(keep); n != 0 || err != io.EOF || !r.Waiting {
			t.Errorf("%d bytes, %v, waiting %v", n, err, r.Waiting)
		}
	}
}

// Options are set before the socket is connected.
func TestOptions(t *testing.T) {
	t.Parallel()
	tos := 0x10
	o := &Options{ReceiveBuf: 32 << 10, TTL: 7, TOS: &tos, ReuseAddr: true}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var ttl, gotTOS, reuse int
	d := net.Dialer{Control: func(network, addr string, raw syscall.RawConn) error {
		if err := o.Control(network, addr, raw); err != nil {
			return err
		}
		return raw.Control(func(fd uintptr) {
			ttl, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TTL)
			gotTOS, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TOS)
			reuse, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR)
		})
	}}
	c, err := d.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if ttl != 7 || gotTOS != tos || reuse == 0 {
		t.Errorf("TTL %d, TOS %#x, SO_REUSEADDR %d", ttl, gotTOS, reuse)
	}
	if _, err := (&net.Dialer{Control: (&Options{TTL: 1000}).Control}).Dial("tcp4", ln.Addr().String()); err == nil || !strings.Contains(err.Error(), "IP_TTL") {
		t.Errorf("an impossible TTL: %v", err)
	}
}
