//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// Accepted and rejected peers, and the messages at both ends. Each failure also
// asserts that no payload passed, in either direction.

var (
	encryptedNow = pattern(`(?m)^purr: .*: encrypted, and the other end holds our key \(TLS 1\.3, X25519MLKEM768, TLS_`)
	otherKey     = `(?m)^purr: handshake with 127\.0\.0\.1 port \d+: the other end does not hold our key$`
)

// goesOn is no status: the process still runs.
const goesOn = -1

// Every pairing of a right key, a wrong one, and none.
func TestHandshakePairs(t *testing.T) {
	t.Parallel()
	a, b := tlsconn.NewKey(), tlsconn.NewKey()
	keys := map[string][]string{"a": keyed(a), "b": keyed(b), "none": nil}
	for _, test := range []struct {
		listener, dialer             string
		listenerStatus, dialerStatus int    // goesOn: a stranger does not end it
		listenerSays, dialerSays     string // regexps
		passes                       bool
	}{
		{"a", "a", 0, 0, "", "", true},
		{"none", "none", 0, 0, "", "", true},
		{"a", "b", goesOn, 7, otherKey, otherKey, false},
		{"a", "none", goesOn, 1, `handshake with .*: the other end sends clear text and we hold a key: nothing of it was taken`, `connection reset by peer|broken pipe`, false},
		{"none", "a", 1, 6, `connection reset by peer`, `handshake with .*: the other end does not speak TLS: no payload was sent to it; is its purr without a key\?`, false},
	} {
		for _, unix := range []bool{false, true} {
			name := test.listener + " " + test.dialer
			if unix {
				name += " unix"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				path := "127.0.0.1 0"
				if unix {
					path = "-U " + testkit.SocketDir(t) + "/s"
				}
				l := startPurr(t, opts{env: keys[test.listener], stdin: strings.NewReader("from the listener")}, words("-v -w 10 -l "+path)...)
				if unix {
					l.waitErr(listeningOn)
				} else {
					path = "127.0.0.1 " + l.port()
				}
				d := startPurr(t, opts{env: keys[test.dialer], stdin: strings.NewReader("from the dialer")}, words("-v -w 10 "+path)...)
				d.status()
				if test.listenerStatus != goesOn {
					l.status()
				}
				if unix && test.listener != test.dialer { // names and resets are TCP's
					if test.dialer == "a" || test.dialer == "b" {
						d.ends(test.dialerStatus)
					}
				} else {
					d.ends(test.dialerStatus)
					l.waitErr(regexp.MustCompile(test.listenerSays))
					d.waitErr(regexp.MustCompile(test.dialerSays))
				}
				if test.listenerStatus == goesOn {
					l.runs()
				} else if !unix {
					l.ends(test.listenerStatus)
				}
				if test.passes {
					l.printed("from the dialer")
					d.printed("from the listener")
					return
				}
				if strings.Contains(l.out.String(), "from") || strings.Contains(d.out.String(), "from") {
					t.Errorf("payload passed: %s, %s", testkit.Brief(l.out.String()), testkit.Brief(d.out.String()))
				}
				if test.dialer == "none" {
					d.printed("purr: this port expects an encrypted purr\n")
				}
			})
		}
	}
}

// sealTest does a raw TLS handshake as one side of a key, with the identity of
// another if own is given.
func sealTest(t testing.TB, c net.Conn, listener bool, k tlsconn.Key, own ...tlsconn.Key) (*tls.Conn, error) {
	t.Helper()
	config, err := k.Config(tlsconn.Stream, listener)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range own {
		other, err := k.Config(tlsconn.Stream, listener)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = other.Certificates
	}
	side := tls.Client
	if listener {
		side = tls.Server
	}
	s := side(c, config)
	return s, s.Handshake()
}

// sealStream is the other end of an encrypted conversation. The caller closes
// it.
func sealStream(t testing.TB, c net.Conn, listener bool, k tlsconn.Key) (*tlsconn.BytesConn, error) {
	t.Helper()
	config, err := k.Config(tlsconn.Stream, listener)
	if err != nil {
		t.Fatal(err)
	}
	h := &tlsconn.Handshaker{Config: config, Server: listener, Timeout: testkit.Patience}
	s, err := h.Do(t.Context(), c)
	if err != nil {
		return nil, err
	}
	return tlsconn.NewBytesConn(s), nil
}

// A dialer that knows the listener's identity and lacks its own: its part of
// the handshake succeeds, and the listener still refuses.
func TestListenerRefuses(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	for _, args := range []string{"-l", "-lk"} {
		l := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("from the listener")}, "-v", args, "127.0.0.1", "0")
		c := dialTest(t, "tcp", l.addr())
		s, err := sealTest(t, c, false, k, tlsconn.NewKey())
		if err != nil {
			t.Fatal(err)
		}
		writeAll(t, s, "from the dialer")
		b, err := io.ReadAll(s)
		if len(b) > 0 || err == nil || !strings.Contains(err.Error(), "bad certificate") {
			t.Errorf("read %q, %v", b, err)
		}
		l.waitErr(regexp.MustCompile(otherKey))
		d := startPurr(t, opts{env: keyed(k)}, "127.0.0.1", l.port())
		d.ends(0)
		d.printed("from the listener")
		if args == "-lk" {
			l.runs()
			continue
		}
		l.ends(0)
		l.printed("")
	}
}

// A listener that refuses the dialer only after the dialer's part is done: no
// payload byte has been sent, and the dialer knows.
func TestDialerIsRefused(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	ln := listenTest(t)
	d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("from the dialer")}, "127.0.0.1", portOf(t, ln.Addr()))
	config, err := k.Config(tlsconn.Stream, true)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := tlsconn.NewKey().Config(tlsconn.Stream, true)
	if err != nil {
		t.Fatal(err)
	}
	config.VerifyConnection = stranger.VerifyConnection
	s := tls.Server(acceptTest(t, ln), config)
	if err := s.Handshake(); err == nil {
		t.Error("the stranger's handshake succeeded")
	}
	_ = s.Close()
	d.ends(7)
	d.complains("handshake with 127.0.0.1 port", "the other end does not hold our key")
	d.printed("")
}

// A listener that never confirms gets no payload, and the dialer's time runs
// out.
func TestNoConfirmation(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	ln := listenTest(t)
	d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("from the dialer")}, "-w", "2", "127.0.0.1", portOf(t, ln.Addr()))
	s, err := sealTest(t, acceptTest(t, ln), true, k)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(s); len(b) > 0 {
		t.Errorf("got %q, %v", b, err)
	}
	d.ends(1)
	d.complains("handshake with 127.0.0.1 port", "not done within 2s")
}

// Clients other than purr: the answers that they get, and our messages. None of
// them ends the listener, which serves the client that holds the key.
func TestStrangers(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	clear := []string{"the other end sends clear text"}
	for name, test := range map[string]struct {
		client string // a shell command; PORT is the listener's
		says   []string
		out    string // or nothing, where nc does not read before it ends; empty: anything
	}{
		"nc with a line":   {"printf 'hello\\n' | nc -N 127.0.0.1 PORT", clear, "purr: this port expects an encrypted purr\n"},
		"nc with a lot":    {"head -c 5000000 /dev/zero | nc -N 127.0.0.1 PORT", clear, ""},
		"one letter":       {"printf h | nc -N 127.0.0.1 PORT", clear, "purr: this port expects an encrypted purr\n"},
		"ncat --ssl":       {"printf hello | ncat --ssl 127.0.0.1 PORT", []string{"does not hold our key"}, ""},
		"openssl, old TLS": {"printf hello | openssl s_client -tls1_2 -connect 127.0.0.1:PORT", []string{"does not hold our key", "unsupported versions"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(words(test.client[strings.LastIndex(test.client, "| ")+2:])[0]); err != nil {
				testkit.Missing(t, err.Error())
			}
			l := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("from the listener")}, "-l", "-w", "5", "127.0.0.1", "0")
			c := shell(t, opts{}, strings.ReplaceAll(test.client, "PORT", l.port()))
			c.status()
			l.waitErr(regexp.MustCompile("(?m)^purr: handshake with 127.0.0.1 port .*" + regexp.QuoteMeta(test.says[0])))
			d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("hello")}, "127.0.0.1", l.port())
			d.ends(0)
			d.printed("from the listener")
			l.ends(0)
			l.complains(test.says...)
			l.printed("hello")
			if out := c.out.String(); strings.Contains(out, "from the listener") || test.out != "" && out != "" && out != test.out {
				t.Errorf("the client got %s", testkit.Brief(out))
			}
		})
	}
	t.Run("a client that says little and stays", func(t *testing.T) {
		t.Parallel()
		l := startPurr(t, opts{env: keyed(k)}, "-l", "127.0.0.1", "0")
		c := dialTest(t, "tcp", l.addr())
		writeAll(t, c, "x")
		if got := testkit.ReadN(t, c, 42); got != "purr: this port expects an encrypted purr\n" {
			t.Errorf("got %q", got)
		}
		l.waitErr(regexp.MustCompile("the other end sends clear text"))
		l.runs()
	})
}

// Servers other than purr, and a dialer with a key.
func TestStrangeServers(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	for name, test := range map[string]struct {
		serve  func(c *net.TCPConn)
		status int
		says   string
	}{
		"speaks first": {func(c *net.TCPConn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); _, _ = io.Copy(io.Discard, c) }, 6, "does not speak TLS"},
		"says nothing": {func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, 6, "no answer within 1s: the other end does not speak TLS, or is busy"},
		"closes":       {func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1<<16)) }, 6, "does not speak TLS: it closed the connection"},
		"resets":       {func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1<<16)); _ = c.SetLinger(0) }, 1, "connection reset by peer"},
		"echoes":       {func(c *net.TCPConn) { _, _ = io.Copy(c, c) }, 7, "does not hold our key"},
		"dies":         {func(c *net.TCPConn) { _, _ = c.Write([]byte{22, 3, 3, 1}) }, 1, "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			wait := "5"
			if name == "says nothing" {
				wait = "1"
			}
			d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("from the dialer")}, "-w", wait, "127.0.0.1", portOf(t, ln.Addr()))
			c := acceptTest(t, ln)
			test.serve(c)
			if name == "dies" {
				_ = c.CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			}
			_ = c.Close()
			d.ends(test.status)
			d.complains("handshake with 127.0.0.1 port", test.says)
			d.printed("")
		})
	}
}

// A client that sends nothing, whether it closes or stays, neither ends a
// listener nor blocks other clients.
func TestSilentClients(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	for _, args := range []string{"-l", "-lk"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			l := startPurr(t, opts{env: keyed(k)}, args, "127.0.0.1", "0")
			startPurr(t, opts{}, "-z", "127.0.0.1", l.port()).ends(0)
			for range 5 {
				_ = dialTest(t, "tcp", l.addr()).Close()
			}
			testkit.Reset(t, dialTest(t, "tcp", l.addr()))
			var stays []net.Conn
			for range 5 {
				stays = append(stays, dialTest(t, "tcp", l.addr()))
			}
			d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("hello")}, "127.0.0.1", l.port())
			d.endsWithin(0, tlsconn.DefaultTimeout-time.Second) // the time of each client that stays
			l.waitOut("^hello$")
			if args == "-l" {
				l.ends(0)
				l.quiet()
				for _, c := range stays {
					if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
						t.Errorf("a silent client got %d bytes, %v", n, err)
					}
				}
			}
		})
	}
}

// A silent client is let go when its time is over: -w, or ten seconds.
func TestHandshakeTime(t *testing.T) {
	t.Parallel()
	l := startPurr(t, opts{env: keyed(tlsconn.NewKey())}, "-lk", "-w", "1", "127.0.0.1", "0")
	begun := time.Now()
	c := dialTest(t, "tcp", l.addr())
	writeAll(t, c, "\x16\x03\x01")
	_, _ = io.Copy(io.Discard, c)
	if took := time.Since(begun); took < time.Second || testkit.Since(begun) > tlsconn.DefaultTimeout/2 {
		t.Errorf("let go after %v", took)
	}
	l.waitErr(regexp.MustCompile(`(?m)^purr: handshake with 127\.0\.0\.1 port \d+: not done within 1s$`))
	l.runs()
}

// --accept-timeout is for a client that holds the key; one whose handshake is
// under way then is still served.
func TestAcceptTimeoutWithKey(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	left := startPurr(t, opts{env: keyed(k)}, "-l", "--accept-timeout", "2", "127.0.0.1", "0")
	_ = dialTest(t, "tcp", left.addr()).Close()

	l := startPurr(t, opts{env: keyed(k)}, "-l", "--accept-timeout", "2", "127.0.0.1", "0")
	c := dialTest(t, "tcp", l.addr())
	gone := make(chan struct{})
	go func() { // until the listener's socket is gone
		defer close(gone)
		for {
			probe, err := net.Dial("tcp", l.addr())
			if err != nil {
				return
			}
			_ = probe.Close()
			time.Sleep(20 * time.Millisecond)
		}
	}()
	select {
	case <-time.After(2500 * time.Millisecond): // the socket may stay open; its time is over
	case <-gone:
	}
	s, err := sealStream(t, c, false, k)
	if err != nil {
		t.Fatal(err)
	}
	writeAll(t, s, "hello")
	_ = s.Close()
	l.ends(0)
	l.printed("hello")
	<-gone
	left.ends(1)
	left.complains("nobody connected within 2s")
}

// A signal ends a listener and a dialer in the middle of a handshake.
func TestHandshakeInterrupted(t *testing.T) {
	testkit.NoLeaks(t)
	k := tlsconn.NewKey()
	for _, args := range []string{"-l 127.0.0.1 0", "-lk 127.0.0.1 0"} {
		t.Setenv(keyVariable, k.String())
		p, ctx := testRun(t, nil, nil, words(args)...)
		result := make(chan error, 1)
		go func() { result <- p.listener.listen(ctx, p.talk.handler()) }()
		m := p.log.out.(*testkit.Output).Wait(regexp.MustCompile(`Listening on (\S+) (\d+)`))
		c := dialTest(t, "tcp", net.JoinHostPort(m[1], m[2]))
		writeAll(t, c, "\x16")
		p.stop(context.Canceled)
		_ = ends(t, result)
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
}

// -k goes on after every kind of stranger.
func TestKeepAfterStrangers(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	l := startPurr(t, opts{env: keyed(k)}, "-lk", "--echo", "127.0.0.1", "0")
	for i, env := range [][]string{keyed(tlsconn.NewKey()), nil} {
		d := startPurr(t, opts{env: env, stdin: strings.NewReader("hello")}, "127.0.0.1", l.port())
		d.ends([]int{7, 1}[i])
	}
	d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("hello")}, "127.0.0.1", l.port())
	d.ends(0)
	d.printed("hello")
	l.runs()
	if said := l.err.String(); strings.Count(said, "handshake with") != 2 {
		t.Errorf("said %s", strconv.Quote(said))
	}
}
