package sock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// vmListenTest listens on a free port of this machine. It skips the test if the
// machine cannot connect to itself (module vsock_loopback).
func vmListenTest(t *testing.T) (ln net.Listener, name string) {
	t.Helper()
	for {
		port := 1<<20 + rand.Uint32N(1<<30)
		ln, err := (*Inherited)(nil).Listen(t.Context(), net.ListenConfig{}, "vsock", fmt.Sprintf("vsock:any:%d", port))
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			testkit.NotHere(t, fmt.Sprintf("sockets of virtual machines (AF_VSOCK: %v)", err))
		}
		t.Cleanup(func() { _ = ln.Close() })
		name := fmt.Sprintf("vsock:local:%d", port)
		c, err := DialVM(t.Context(), net.Dialer{Timeout: time.Second}, name)
		if err != nil {
			testkit.NotHere(t, fmt.Sprintf("a VM socket to this machine (module vsock_loopback: %v)", err))
		}
		theirs, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		_ = theirs.Close()
		return ln, name
	}
}

// Machines talk both ways, with half-closes.
func TestVMSockets(t *testing.T) {
	t.Parallel()
	ln, name := vmListenTest(t)
	called := ""
	c, err := DialVM(t.Context(), net.Dialer{Control: func(network, _ string, _ syscall.RawConn) error { called = network; return nil }}, name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	theirs, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	from, there := c.LocalAddr().(*VMAddr), theirs.RemoteAddr().(*VMAddr)
	if called != "vsock" || from.Port != there.Port || there.CID != 1 { // from.CID may be any
		t.Errorf("from %v, which is %v there; options of %q", from, there, called)
	}
	for _, pair := range [][2]net.Conn{{c, theirs}, {theirs, c}} {
		from, to := pair[0], pair[1]
		_ = to.SetReadDeadline(time.Now().Add(testkit.Patience))
		noise := testkit.Noise(1 << 20)
		go func() { _, _ = from.Write([]byte(noise)); _ = HalfClose(from) }()
		if got := testkit.ReadAll(t, to); got != noise {
			t.Errorf("%s", testkit.Brief(got))
		}
	}
	_ = ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now())
	if _, err := ln.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	_ = ln.Close()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener: %v", err)
	}
	if _, err := DialVM(t.Context(), net.Dialer{}, name); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("nothing listens: %v", err)
	}
}

// An attempt ends with its time or its context.
func TestVMDialEnds(t *testing.T) {
	t.Parallel()
	if _, err := DialVM(t.Context(), net.Dialer{}, "vsock:any:1"); err == nil {
		t.Error("it connects to every CID")
	}
	cause := errors.New("enough")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(cause)
	// The machine that has this CID, if any, does not answer port 1.
	_, err := DialVM(ctx, net.Dialer{Timeout: time.Second}, "vsock:local:1")
	if err == nil {
		t.Error("it has connected")
	}
}
