package tlsconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/sock"
	"purr/internal/testkit"
)

// certFiles are what OpenSSL reads: the certificate of "localhost" with its
// key, and the authority's.
type certFiles struct {
	own, ca string
	certs   *tls.Certificate
	pool    *x509.CertPool
}

func newCertFiles(t *testing.T) certFiles {
	t.Helper()
	ca := newAuthority(t, "ours")
	own := ca.issue(t, &x509.Certificate{DNSNames: []string{"localhost"}})
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return certFiles{
		own:   pemFile(t, &pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}, &pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		ca:    pemFile(t, &pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}),
		certs: own, pool: ca.pool(),
	}
}

// startServer runs a server on a free port that listens soon.
func startServer(t *testing.T, argv ...string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	_ = ln.Close()
	for i := range argv {
		argv[i] = strings.ReplaceAll(argv[i], "ADDR", addr)
		argv[i] = strings.ReplaceAll(argv[i], "PORT", addr[strings.LastIndex(addr, ":")+1:])
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	stdin, err := cmd.StdinPipe() // s_server ends with its stdin
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	testkit.Eventually(t, argv[0]+" listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return addr
}

// dialCerts does our handshake with a listener.
func dialCerts(t *testing.T, addr string, certs Certs) (*Conn, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	h := &Handshaker{Config: certs.Config(false), Certs: true, Timeout: testkit.Patience}
	s, err := h.Do(t.Context(), c)
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
		_ = s.SetDeadline(time.Now().Add(testkit.Patience))
	}
	return s, err
}

// OpenSSL's server, of each version of TLS.
func TestOpenSSLServer(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "openssl", "openssl")
	files := newCertFiles(t)
	pin := PinOf(files.certs.Leaf)
	server := func(more ...string) string {
		return startServer(t, append([]string{"openssl", "s_server", "-quiet", "-rev", "-accept", "ADDR", "-cert", files.own, "-key", files.own}, more...)...)
	}
	good := Certs{Roots: files.pool, ServerName: "localhost"}
	for _, test := range []struct {
		name    string
		addr    string
		certs   Certs
		version uint16
		kind    error
	}{
		{"TLS 1.3", server("-tls1_3"), good, tls.VersionTLS13, nil},
		{"TLS 1.2", server("-tls1_2"), good, tls.VersionTLS12, nil},
		{"pinned", server(), Certs{Pin: &pin}, tls.VersionTLS13, nil},
		{"TLS 1.1", server("-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"), good, 0, ErrNoAgreement},
		{"wrong name", server(), Certs{Roots: files.pool, ServerName: "other"}, 0, ErrCert},
		{"system's roots", server(), Certs{ServerName: "localhost"}, 0, ErrCert},
		{"demands a certificate, TLS 1.2", server("-Verify", "1", "-verify_return_error", "-CAfile", files.ca, "-tls1_2"), good, 0, ErrOwnCert},
		{"demands a certificate, TLS 1.3", server("-Verify", "1", "-verify_return_error", "-CAfile", files.ca, "-tls1_3"), good, 0, ErrOwnCert},
		{"has our certificate", server("-Verify", "1", "-verify_return_error", "-CAfile", files.ca),
			Certs{Roots: files.pool, ServerName: "localhost", Own: files.certs}, tls.VersionTLS13, nil},
	} {
		c, err := dialCerts(t, test.addr, test.certs)
		if err == nil && test.kind != nil { // in TLS 1.3, the server's no comes later
			_, err = c.Read(make([]byte, 1))
		}
		failed, _ := errors.AsType[*HandshakeError](err)
		if test.kind != nil || err != nil {
			if failed == nil || failed.Kind != test.kind {
				t.Errorf("%s: %v, and not %v", test.name, err, test.kind)
			}
			t.Logf("%s: %v", test.name, err)
			continue
		}
		testkit.WriteString(t, c, "olleh\n")
		if got := testkit.ReadN(t, c, 6); got != "hello\n" || c.ConnectionState().Version != test.version || c.EndsAlone() != (test.version == tls.VersionTLS13) {
			t.Errorf("%s: %q, version %x", test.name, got, c.ConnectionState().Version)
		}
		// OpenSSL's end is close_notify, too.
		if err := c.CloseWrite(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("%s: at the end %q, %v", test.name, rest, err)
		}
	}
}

// serveCerts is our listener: it sends back what each client sends, up to its
// end. rejected has what became of the others.
func serveCerts(t *testing.T, certs *Certs) (addr string, rejected chan error) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &Handshaker{Config: certs.Config(true), Certs: true, Server: true, Timeout: testkit.Patience}
	rejected = make(chan error, 100)
	ctx, stop := context.WithCancel(context.Background())
	ln := h.Listener(ctx, tcp, func(_ net.Conn, err error) { rejected <- err })
	ended := make(chan struct{})
	t.Cleanup(func() { stop(); _ = ln.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = c.SetDeadline(time.Now().Add(testkit.Patience))
				_, err := io.Copy(c, c)
				_ = sock.HalfClose(c)
				_ = c.Close()
				if err != nil {
					rejected <- err
				}
			}()
		}
	}()
	return tcp.Addr().String(), rejected
}

// Clients of OpenSSL, curl, Ncat and socat.
func TestClients(t *testing.T) {
	t.Parallel()
	for program, pkg := range map[string]string{"openssl": "openssl", "ncat": "ncat", "socat": "socat", "curl": "curl"} {
		testkit.Program(t, program, pkg)
	}
	files := newCertFiles(t)
	pin := PinOf(files.certs.Leaf)
	curlPin := "sha256//" + strings.TrimPrefix(pin.String(), "sha256:")
	run := func(certs Certs, line string) (out string, rejected chan error) {
		addr, rejected := serveCerts(t, &certs)
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Env = append(os.Environ(), "DIR="+t.TempDir(), "CA="+files.ca, "OWN="+files.own, "PIN="+curlPin, "PORT="+addr[strings.LastIndex(addr, ":")+1:])
		b, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			t.Errorf("%s: %v", line, err)
		}
		return string(b), rejected
	}
	open, closed := Certs{Own: files.certs}, Certs{Own: files.certs, ClientCA: files.pool}
	// openssl s_client ends at the end of its stdin, which comes after the answer.
	const echoHello = "GOT=$(mktemp -p $DIR); (echo hello; n=0; until [ -s $GOT ] || [ $n = 1000 ]; do n=$((n+1)); sleep 0.01; done) | "
	for line, certs := range map[string]Certs{
		echoHello + "openssl s_client -quiet -no_ign_eof -verify_return_error -CAfile $CA -connect 127.0.0.1:$PORT 2>/dev/null | tee $GOT":         open,
		echoHello + "openssl s_client -quiet -no_ign_eof -tls1_2 -verify_return_error -CAfile $CA -connect 127.0.0.1:$PORT 2>/dev/null | tee $GOT": open,
		"echo hello | ncat --ssl-verify --ssl-trustfile $CA localhost $PORT":                                                                       open,
		"echo hello | socat -t5 - OPENSSL:127.0.0.1:$PORT,cafile=$CA,commonname=localhost":                                                         open,
		"echo hello | ncat --ssl-verify --ssl-trustfile $CA --ssl-cert $OWN --ssl-key $OWN localhost $PORT":                                        closed,
		"curl -sS --max-time 9 --cacert $CA --pinnedpubkey $PIN https://localhost:$PORT/ 2>&1 | grep -c 'HTTP/0.9' | sed s/1/hello/":               open, // not allowed, and a page all the same
	} {
		if out, _ := run(certs, line); out != "hello\n" {
			t.Errorf("%s: %q", line, out)
		}
	}
	for line, test := range map[string]struct {
		certs Certs
		kind  error
	}{
		"curl -sS --max-time 9 https://localhost:$PORT/":                                             {open, ErrOwnCert},
		"echo hello | openssl s_client -tls1_1 -cipher DEFAULT:@SECLEVEL=0 -connect 127.0.0.1:$PORT": {open, ErrNoAgreement},
		"echo hello | ncat --ssl localhost $PORT":                                                    {closed, ErrCert},
		"echo hello | ncat localhost $PORT":                                                          {open, ErrClearText},
		"ncat -z localhost $PORT":                                                                    {open, ErrNoHandshake},
	} {
		out, rejected := run(test.certs, line)
		if err := <-rejected; !errors.Is(err, test.kind) || strings.Contains(out, "hello") {
			t.Errorf("%s: %v, and not %v; it prints %q", line, err, test.kind, out)
		}
	}
}

// An end without close_notify is a cut, at both versions, and an orderly end
// is not; what was sent before arrives.
func TestCertsCut(t *testing.T) {
	t.Parallel()
	own, pin, err := NewCert()
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, cut := range []bool{false, true} {
			a, b := testkit.TcpPair(t)
			go func() {
				config := (&Certs{Own: own}).Config(true)
				config.MaxVersion = version
				s := tls.Server(b, config)
				_, _ = io.WriteString(s, "before")
				if cut {
					_ = b.CloseWrite()
				} else {
					_ = s.CloseWrite()
				}
			}()
			h := &Handshaker{Config: (&Certs{Pin: &pin}).Config(false), Certs: true, Timeout: testkit.Patience}
			c, err := h.Do(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(testkit.Patience))
			got, err := io.ReadAll(c)
			if string(got) != "before" || errors.Is(err, ErrCut) != cut || err != nil != cut {
				t.Errorf("TLS %x, cut %v: %q, %v", version, cut, got, err)
			}
			_ = c.Close()
		}
	}
}

// Handshakes that never finish hold up neither others nor the listener.
func TestManyHandshakes(t *testing.T) {
	t.Parallel()
	own, pin, err := NewCert()
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serveCerts(t, &Certs{Own: own})
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			_ = c.Close()
		}
	}()
	for i := range 50 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
		if i%2 == 0 {
			_, _ = io.WriteString(c, "\x16\x03\x01")
		}
		s, err := dialCerts(t, addr, Certs{Pin: &pin})
		if err != nil {
			t.Fatal(err)
		}
		testkit.WriteString(t, s, fmt.Sprint(i))
		_ = s.CloseWrite()
		if got := testkit.ReadAll(t, s); got != fmt.Sprint(i) {
			t.Error(i, got)
		}
	}
}

// A peer that ends with close_notify and closes its socket at once, as most do,
// resets the connection at our close_notify. Nothing was lost, and it is no
// error; a peer that has closed one direction gets close_notify.
func TestPeerClosesFirst(t *testing.T) {
	t.Parallel()
	own, pin, err := NewCert()
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []bool{true, false} {
		a, b := testkit.TcpPair(t)
		h := &Handshaker{Config: (&Certs{Own: own}).Config(true), Certs: true, Server: true, Timeout: testkit.Patience}
		answered := make(chan error, 1)
		go func() {
			s := tls.Client(b, (&Certs{Pin: &pin}).Config(false))
			_, _ = io.WriteString(s, "question")
			_ = s.CloseWrite()
			if gone {
				_, err := s.Read(make([]byte, 6))
				_ = s.Close()
				answered <- err
				return
			}
			_ = b.CloseWrite()
			answer, err := io.ReadAll(s)
			if string(answer) != "answer" {
				err = fmt.Errorf("%q, %w", answer, err)
			}
			answered <- err
		}()
		c, err := h.Do(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		if got := testkit.ReadAll(t, c); got != "question" {
			t.Error(got)
		}
		testkit.WriteString(t, c, "answer")
		testkit.Eventually(t, "the peer's FIN", func() bool { return sock.PeerClosed(c.Conn) })
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		if err := <-answered; err != nil {
			t.Errorf("gone %v: the peer has %v", gone, err)
		}
		if gone {
			testkit.Eventually(t, "the reset", func() bool { _, err := sock.Unacked(c.Conn); return err != nil })
		}
		if err := sock.AwaitAck(c, func(int) error { return nil }); err != nil || !c.Delivered() {
			t.Errorf("gone %v: %v", gone, err)
		}
		_ = c.Close()
	}
}

// A peer that closes its socket while our close_notify is in its buffer, or on
// the way, resets the connection. Nothing was lost if the payload is
// acknowledged and the peer has sent close_notify, and only then.
func TestPeerClosesBesideOurEnd(t *testing.T) {
	t.Parallel()
	own, pin, err := NewCert()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		ends, takes bool // whether the peer sends close_notify, and has room for the payload
		lost        bool
	}{
		"in order":              {ends: true, takes: true},
		"without close_notify":  {takes: true, lost: true},
		"payload in our socket": {ends: true, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := testkit.TcpPair(t)
			h := &Handshaker{Config: (&Certs{Own: own}).Config(true), Certs: true, Server: true, Timeout: testkit.Patience}
			s := tls.Client(b, (&Certs{Pin: &pin}).Config(false))
			shaken := make(chan error, 1)
			go func() { shaken <- s.Handshake() }()
			c, err := h.Do(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := <-shaken; err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(testkit.Patience))
			size := 100
			if !test.takes {
				size = 300_000
				_ = a.SetWriteBuffer(4 * size)
				_ = b.SetReadBuffer(4096)
			}
			testkit.WriteString(t, c, testkit.Noise(size))
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if test.takes {
				testkit.Eventually(t, "the acknowledgement", func() bool { return sock.Unsent(a) == 0 })
			}
			if test.ends {
				_ = s.CloseWrite()
				if got := testkit.ReadAll(t, c); got != "" {
					t.Errorf("%q", got)
				}
			}
			if c.Delivered() {
				t.Error("delivered before the reset")
			}
			_ = b.Close() // with unread bytes: a reset
			testkit.Eventually(t, "the reset", func() bool { return sock.Broken(a) })
			if err := sock.AwaitBroken(c); errors.Is(err, syscall.ECONNRESET) != test.lost {
				t.Errorf("AwaitBroken: %v", err)
			}
			if err := sock.AwaitAck(c, func(int) error { return nil }); err != nil && !test.lost || c.Delivered() == test.lost {
				t.Errorf("AwaitAck: %v, delivered %v", err, c.Delivered())
			}
		})
	}
}
