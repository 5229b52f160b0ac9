package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"

	"purr/internal/proxy"
	"purr/internal/sock"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// Through a proxy, messages, events and the environment of a command name the
// target as it was given, and never the proxy.
func TestProxiedNames(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	cert, err := tls.LoadX509KeyPair(a.file("own", x509.Certificate{}), a.file("own", x509.Certificate{}))
	if err != nil {
		t.Fatal(err)
	}
	shows := func(c net.Conn) { _ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake() }
	clear := func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); _, _ = io.Copy(io.Discard, c) }
	silent := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	resets := func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 8)); sock.Reset(c) }
	wrongKey := func(c net.Conn) {
		secret := tlsconn.NewKey()
		config, _ := secret.Config(tlsconn.Stream, true)
		_, _ = (&tlsconn.Handshaker{Config: config, Server: true}).Do(t.Context(), c)
	}
	file := testkit.TempFile(t, "question")
	for name, test := range map[string]struct {
		options string
		key     bool
		peer    func(net.Conn)
		status  int
		words   string // % is the target
	}{
		"certificate":      {"--ssl", false, shows, 7, "handshake with %: its certificate is not accepted"},
		"no TLS":           {"--ssl", false, clear, 6, "handshake with %: the other end does not speak TLS"},
		"no answer":        {"--ssl --connect-timeout 0.2", false, silent, 6, "handshake with %: no answer within 200ms"},
		"--ssl-insecure":   {"--ssl-insecure -N", false, shows, 1, "%: the certificate is not checked"},
		"-v --ssl":         {"--ssl-trustfile CA -N -v --ssl-servername localhost", false, shows, 1, "%: encrypted (TLS 1.3"},
		"-z --ssl":         {"--ssl -z", false, clear, 6, "handshake with %: the other end does not speak TLS"},
		"no key":           {"-v", true, clear, 6, "handshake with %: "},
		"no key, its end":  {"-v", true, clear, 6, "%: failed; nothing moved"},
		"another key":      {"", true, wrongKey, 7, "handshake with %: "},
		"reset":            {"-v", false, resets, 1, "receive from %: connection reset by peer"},
		"reset, its end":   {"-v", false, resets, 1, "%: failed; sent 8 bytes"},
		"connect":          {"--json", false, resets, 1, `"event":"connect","role":"dial","network":"tcp","address":"behind.test","port":443,"local_address":"127.0.0.1"`},
		"disconnect":       {"--json", false, resets, 1, `"event":"disconnect","peer":"%","how":"failed","sent":8`},
		"--push":           {"--push FILE", false, clear, 6, "% accepted the connection but does not speak HTTP"},
		"--push, JSON":     {"--push FILE --json", false, clear, 6, `"address":"behind.test","port":443`},
		"--push, no key":   {"--push FILE", true, clear, 6, "handshake with %: "},
		"--pull":           {"--pull DIR", false, clear, 6, "% accepted the connection but does not speak HTTP"},
		"--send-file":      {"--send-file FILE", false, resets, 1, "%: connection reset by peer"},
		"--send-file, all": {"--send-file FILE", false, silent, 0, "%: sent 8 bytes; the proxy's system acknowledged all of them and closed"},
		"-L tls:":          {"-l -L tls:behind.test:443", false, shows, 7, "handshake with %: its certificate is not accepted"},
		"-L tls:, no TLS":  {"-l -L tls:behind.test:443", false, clear, 6, "handshake with %: the other end does not speak TLS"},
		"--exec":           {"--sh-exec false --json", false, resets, 1, `"address":"behind.test","port":443`},
		"--echo, its end":  {"--echo -v", false, func(c net.Conn) {}, 0, "%: the peer finished; echoed 0 bytes"},
		"--send-proxy":     {"--send-proxy --ssl", false, clear, 6, "handshake with %: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go func() { defer c.Close(); test.peer(c) }()
				}
			}()
			proxyAddr, _ := proxyTest(t, false, &proxy.Server{Dial: func(ctx context.Context, _ string, _ int) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
			}})
			o := opts{stdin: strings.NewReader("question"), dir: t.TempDir()}
			if test.key {
				o.env = keyed(tlsconn.NewKey())
			}
			args, listens := []string{"-x", proxyAddr, "behind.test", "443"}, strings.HasPrefix(test.options, "-l ")
			if listens {
				args = []string{"-x", proxyAddr, "127.0.0.1", "0"}
			}
			args = append(args, strings.Fields(strings.NewReplacer("FILE", file, "DIR", o.dir, "CA", a.ca).Replace(test.options))...)
			p := startPurr(t, o, args...)
			if listens {
				testkit.WriteString(t, dialTest(t, "tcp", p.addr()), "question")
			}
			p.ends(test.status)
			_, proxyPort, _ := net.SplitHostPort(proxyAddr)
			if said := p.said(); strings.Contains(said, proxyPort) || !strings.Contains(said, strings.ReplaceAll(test.words, "%", "behind.test port 443")) {
				t.Errorf("said %q", said)
			}
		})
	}
}
