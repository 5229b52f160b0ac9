package main

import (
	"io"
	"net"
	"testing"
	"time"

	"purr/internal/testkit"
)

// Under -L -w, a peer that takes bytes, however slowly, is not silent: what its
// system acknowledges is activity.
func TestTunnelSlowReader(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	answer := testkit.Noise(6 << 20)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}
	}()
	p := startPurr(t, opts{}, "-l", "-w", "1", "-L", ln.Addr().String(), "127.0.0.1", "0")
	c := dialTest(t, "tcp", p.addr()).(*net.TCPConn)
	_ = c.SetReadBuffer(256 << 10)
	_ = c.CloseWrite()
	if got := readSlowly(t, c); got != answer {
		t.Error("another answer:", testkit.Brief(got))
	}
	p.ends(0)
}

// The same of --echo: replies that are taken slowly, during the last write and
// after it.
func TestEchoSlowReader(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "-l", "-w", "1", "--echo", "127.0.0.1", "0")
	c := dialTest(t, "tcp", p.addr()).(*net.TCPConn)
	_ = c.SetReadBuffer(256 << 10)
	question := testkit.Noise(6 << 20)
	go func() { _, _ = io.WriteString(c, question); _ = c.CloseWrite() }()
	if got := readSlowly(t, c); got != question {
		t.Error("another answer:", testkit.Brief(got))
	}
	p.ends(0)
}

// readSlowly returns all that arrives, of which it takes little for three
// seconds.
func readSlowly(t *testing.T, c net.Conn) string {
	t.Helper()
	got, b := "", make([]byte, 128<<10)
	for begun := time.Now(); time.Since(begun) < 3*time.Second; time.Sleep(100 * time.Millisecond) {
		n, err := c.Read(b)
		if got += string(b[:n]); err != nil {
			t.Fatal(err)
		}
	}
	return got + testkit.ReadAll(t, c)
}
