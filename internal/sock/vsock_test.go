package sock

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

func TestParseVM(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"vsock:2:22": "vsock:2:22", "vsock:host:22": "vsock:2:22", "vsock:local:4294967294": "vsock:1:4294967294", "vsock:hypervisor:1": "vsock:0:1",
		"vsock:4294967294:1": "vsock:4294967294:1", "vsock:any:1": "listen vsock:any:1",
		"": "", "vsock:": "", "vsock:2": "", "2:22": "", "vsock:2:": "", "vsock::22": "", "vsock:2:0": "", "vsock:2:4294967295": "", "vsock:4294967295:1": "",
		"vsock:-1:1": "", "vsock:2:22:3": "", "vsock:x:1": "", "vsock:2:+1": "", "vsock:2:ssh": "",
	} {
		for _, listen := range []bool{false, true} {
			want, listens := strings.CutPrefix(want, "listen ")
			got, err := ParseVM(text, listen)
			if listens && !listen || want == "" {
				if err == nil {
					t.Errorf("%q: %v", text, got)
				}
			} else if err != nil || got.String() != want || got.Network() != "vsock" {
				t.Errorf("%q: %v, %v", text, got, err)
			}
		}
	}
}

// vmPair is a vmConn over a Unix socket, which has the same system calls, and
// its other end.
func vmPair(t *testing.T) (*vmConn, net.Conn) {
	t.Helper()
	ours, theirs := testkit.UnixPair(t)
	f, err := ours.File()
	if err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	c := &vmConn{file: f, local: &VMAddr{CID: 3, Port: 1024}, remote: &VMAddr{CID: 2, Port: 22}}
	t.Cleanup(func() { _ = c.Close() })
	return c, theirs
}

// A vmConn passes bytes and half-closes both ways, has deadlines, and its
// errors are those of package net.
func TestVMConn(t *testing.T) {
	t.Parallel()
	if !HasVM {
		testkit.NotHere(t, "sockets of virtual machines")
	}
	c, theirs := vmPair(t)
	if PeerName(c.RemoteAddr()) != "vsock:2:22" || c.LocalAddr().String() != "vsock:3:1024" || AddrPort(c.RemoteAddr()).IsValid() {
		t.Errorf("from %v to %v", c.LocalAddr(), c.RemoteAddr())
	}
	_ = c.SetReadDeadline(time.Now().Add(-time.Second))
	_, err := c.Read(make([]byte, 1))
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err) // net/http asks in this way
	}
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	testkit.WriteString(t, c, "question")
	if err := HalfClose(c); err != nil {
		t.Error(err)
	}
	if got := testkit.ReadAll(t, theirs); got != "question" {
		t.Errorf("the peer has %q", got)
	}
	testkit.WriteString(t, theirs, "answer")
	_ = theirs.Close()
	if got := testkit.ReadAll(t, c); got != "answer" {
		t.Errorf("we have %q", got)
	}
	raw, ok := RawStream(c)
	if !ok {
		t.Fatal("it is no socket")
	}
	Reset(c)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed one: %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed one: %v", err)
	}
	for _, err := range []error{c.Close(), raw.Read(func(uintptr) bool { return true }), raw.Write(func(uintptr) bool { return true }), raw.Control(func(uintptr) {})} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed one: %v", err)
		}
	}
	if err := HalfClose(c); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed one: %v", err)
	}
}
