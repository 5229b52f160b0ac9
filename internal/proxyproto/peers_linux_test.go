package proxyproto

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// HAProxy and curl write headers that are read, and HAProxy reads ours.
func TestPeers(t *testing.T) {
	for _, program := range []string{"haproxy", "curl"} {
		testkit.Program(t, program, program)
	}
	if !testkit.InNamespaces(t) {
		return
	}
	headers := make(chan Header, 10)
	ln, err := net.Listen("tcp", "127.0.0.1:8000")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { // a web server behind a proxy
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			h, err := Receive(c, testkit.Patience)
			if err != nil {
				t.Error(err)
			}
			headers <- h
			_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	conf := testkit.TempFile(t, `
defaults
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen one
  bind 127.0.0.1:8001
  server s 127.0.0.1:8000 send-proxy
listen two
  bind 127.0.0.1:8002
  bind [::1]:8002
  server s 127.0.0.1:8000 send-proxy-v2 proxy-v2-options crc32c,unique-id
frontend echo
  mode http
  bind 127.0.0.1:8003 accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]"
`)
	cmd := exec.Command("haproxy", "-db", "-q", "-f", conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	testkit.Eventually(t, "haproxy listens", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:8003")
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})

	for _, addr := range []string{"127.0.0.1:8001", "127.0.0.1:8002", "[::1]:8002"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		testkit.WriteString(t, c, "GET / HTTP/1.0\r\n\r\n")
		want := Header{netip.MustParseAddrPort(c.LocalAddr().String()), netip.MustParseAddrPort(c.RemoteAddr().String())}
		if got := <-headers; got != want {
			t.Errorf("haproxy at %s sends %v, and not %v", addr, got, want)
		}
		_ = c.Close()
	}
	if out, err := exec.Command("curl", "-sS", "--max-time", "10", "--haproxy-protocol", "http://127.0.0.1:8000/").CombinedOutput(); err != nil || string(out) != "ok" {
		t.Errorf("curl: %s, %v", out, err)
	}
	if got := <-headers; got.Source.Addr() != netip.MustParseAddr("127.0.0.1") || got.Destination.Port() != 8000 {
		t.Errorf("curl sends %v", got)
	}

	for _, h := range []Header{header("192.0.2.1:56324", "10.0.0.1:443"), header("[2001:db8::1]:1", "[2001:db8::2]:2"), {}} {
		for version, b := range map[int][]byte{1: h.AppendVersion1(nil), 2: h.AppendVersion2(nil)} {
			c, err := net.Dial("tcp", "127.0.0.1:8003")
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(testkit.Patience))
			testkit.WriteString(t, c, string(b)+"GET / HTTP/1.0\r\n\r\n")
			shown := h
			if h == (Header{}) { // the addresses of the socket count
				shown = header(c.LocalAddr().String(), c.RemoteAddr().String())
			}
			want := fmt.Sprintf("%v %d %v %d", shown.Source.Addr(), shown.Source.Port(), shown.Destination.Addr(), shown.Destination.Port())
			if got := testkit.ReadAll(t, c); !strings.HasSuffix(got, "\r\n\r\n"+want) {
				t.Errorf("haproxy reads version %d as %q, and not %q", version, got, want)
			}
			_ = c.Close()
		}
	}
}
