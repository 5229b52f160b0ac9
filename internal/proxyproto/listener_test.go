package proxyproto

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"purr/internal/sock"
	"purr/internal/testkit"
)

// A rejection is a call of Options.Rejected.
type rejection struct {
	client net.Conn
	err    error
}

// listenTest returns a listener of o on the loopback address, which the test
// closes, and what it rejects.
func listenTest(t *testing.T, o Options) (net.Listener, chan rejection) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rejected := make(chan rejection, 1000)
	o.Rejected = func(c net.Conn, err error) { rejected <- rejection{c, err} }
	l := Listen(context.Background(), ln, o)
	t.Cleanup(func() { _ = l.Close() })
	return l, rejected
}

// dialTest connects to l and sends text.
func dialTest(t *testing.T, l net.Listener, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	testkit.WriteString(t, c, text)
	return c
}

// acceptTest accepts a client.
func acceptTest(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	select {
	case c := <-accepted:
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		return c
	case <-time.After(testkit.Patience):
		t.Fatal("no client is accepted")
	}
	return nil
}

// A client is accepted once its header is there, in front of those that are
// silent; the connection is the socket itself, its first byte the payload's,
// and the address the header's, or its own where the header has none.
func TestListener(t *testing.T) {
	t.Parallel()
	l, rejected := listenTest(t, Options{Timeout: testkit.Patience})
	for _, begin := range []string{"", "P", "PROXY TCP4 192.0.2.1"} {
		dialTest(t, l, begin)
	}
	want := header("192.0.2.1:56324", "10.0.0.1:443")
	for _, head := range []string{string(want.AppendVersion1(nil)), string(want.AppendVersion2(nil)), "PROXY UNKNOWN\r\n", signature2 + "\x20\x00\x00\x00"} {
		theirs := dialTest(t, l, head+"payload")
		_ = theirs.(*net.TCPConn).CloseWrite()
		c := acceptTest(t, l)
		if _, bare := c.(*net.TCPConn); !bare {
			t.Errorf("%q: a %T", head, c)
		}
		remote, local := want.Source, want.Destination
		if strings.Contains(head, "UNKNOWN") || strings.HasSuffix(head, "\x20\x00\x00\x00") {
			remote, local = sock.AddrPort(theirs.LocalAddr()), sock.AddrPort(theirs.RemoteAddr())
		}
		if gotRemote, gotLocal := sock.Ends(c); gotRemote != remote || gotLocal != local {
			t.Errorf("%q: from %v to %v", head, gotRemote, gotLocal)
		}
		if got := testkit.ReadAll(t, c); got != "payload" {
			t.Errorf("%q: the payload is %q", head, got)
		}
		_ = c.Close()
		testkit.ReadAll(t, theirs)
	}
	if n := len(rejected); n > 0 {
		t.Errorf("%d clients are rejected", n)
	}
}

// A client without a header is reset, and the next one is served.
func TestListenerRejects(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, sends string
		closes      bool
		want        error
	}{
		{"silent", "", false, ErrLate},
		{"half a header", "PROXY TCP4 192", false, ErrLate},
		{"closes", "", true, io.EOF},
		{"cut", signature2, true, ErrCut},
		{"another protocol", "GET / HTTP/1.0\r\n\r\n", false, ErrNoHeader},
		{"malformed", "PROXY TCP4 1 2 3 4\r\n", false, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, rejected := listenTest(t, Options{Timeout: 200 * time.Millisecond})
			c := dialTest(t, l, test.sends)
			if test.closes {
				_ = c.(*net.TCPConn).CloseWrite()
			}
			r := <-rejected
			if test.want != nil && !errors.Is(r.err, test.want) || r.err == nil {
				t.Errorf("rejected because of: %v", r.err)
			}
			if sock.AddrPort(r.client.RemoteAddr()) != sock.AddrPort(c.LocalAddr()) {
				t.Errorf("%v is rejected", r.client.RemoteAddr())
			}
			if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
				t.Errorf("its connection has %q and ends with %v, not with a reset", b, err)
			}
			testkit.WriteString(t, dialTest(t, l, "PROXY UNKNOWN\r\n"), "hi")
			if got := testkit.ReadN(t, acceptTest(t, l), 2); got != "hi" {
				t.Errorf("the next one sends %q", got)
			}
		})
	}
}

// In a crowd the oldest clients without a header make room, and those with one
// are served, however many others there are.
func TestListenerCrowd(t *testing.T) {
	t.Parallel()
	l, rejected := listenTest(t, Options{Timeout: testkit.Patience, Pending: 4})
	for range 12 {
		dialTest(t, l, "PROXY ")
	}
	testkit.WriteString(t, dialTest(t, l, "PROXY UNKNOWN\r\n"), "hi")
	if got := testkit.ReadN(t, acceptTest(t, l), 2); got != "hi" {
		t.Errorf("it sends %q", got)
	}
	for range 9 {
		if r := <-rejected; !errors.Is(r.err, ErrCrowded) {
			t.Errorf("rejected because of: %v", r.err)
		}
	}

	// Those whose header is there wait for Accept, and none is lost.
	done := make(chan bool)
	go func() {
		defer close(done)
		for range 12 {
			testkit.WriteString(t, dialTest(t, l, "PROXY UNKNOWN\r\n"), "hi")
		}
	}()
	for range 12 {
		if got := testkit.ReadN(t, acceptTest(t, l), 2); got != "hi" {
			t.Errorf("it sends %q", got)
		}
	}
	<-done
}

// The end of the listener resets the clients that were not accepted, whether
// their header is there or not, and leaves those that were.
func TestListenerCloses(t *testing.T) {
	testkit.NoLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Listen(context.Background(), ln, Options{Timeout: testkit.Patience, Rejected: func(_ net.Conn, err error) {
		if err != ErrCrowded {
			t.Errorf("rejected: %v", err)
		}
	}})
	ours := dialTest(t, l, "PROXY UNKNOWN\r\n")
	c := acceptTest(t, l)
	var waiting []net.Conn
	for _, begin := range []string{"", "PROXY", "PROXY UNKNOWN\r\n"} {
		for range 70 {
			waiting = append(waiting, dialTest(t, l, begin))
		}
	}
	_ = l.Close()
	for _, c := range waiting {
		if _, err := io.ReadAll(c); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a waiting client ends with %v", err)
		}
	}
	testkit.WriteString(t, c, "hi")
	if got := testkit.ReadN(t, ours, 2); got != "hi" {
		t.Errorf("the accepted client got %q", got)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
}

// What Send writes is a header with the addresses of the connection, or of a
// client and the address that it came to.
func TestSend(t *testing.T) {
	t.Parallel()
	client, _ := testkit.TcpPair(t)
	sock.SetEnds(client, netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"))
	ours, theirs := testkit.TcpPair(t)
	for _, version := range []int{1, 2} {
		for _, test := range []struct {
			client net.Conn
			want   Header
		}{
			{nil, Header{sock.AddrPort(ours.LocalAddr()), sock.AddrPort(ours.RemoteAddr())}},
			{client, header("192.0.2.1:1", "192.0.2.2:2")},
		} {
			if err := Send(ours, test.client, version); err != nil {
				t.Fatal(err)
			}
			if got, err := Receive(theirs, testkit.Patience); err != nil || got != test.want {
				t.Errorf("version %d: %v, %v, and not %v", version, got, err, test.want)
			}
		}
	}
}
