package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// An attacker on the path between two purrs that hold a key.

// A tap is an attacker between a dialer and a listener that sees TLS's records
// and may change or stop them.
type tap struct {
	addr string
	mu   sync.Mutex
	seen bytes.Buffer // both directions, as on the wire
	done chan struct{}
}

// newTap passes one connection on to the listener at addr. meddle gets each
// record and its number in its direction; its result is passed on, and nil cuts
// the connection in order, by FIN, behind the records before.
func newTap(t testing.TB, addr string, meddle func(fromDialer bool, n int, record []byte) []byte) *tap {
	t.Helper()
	ln := listenTest(t)
	p := &tap{addr: ln.Addr().String(), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		dialer, err := ln.AcceptTCP()
		if err != nil {
			return
		}
		defer dialer.Close()
		c, err := net.DialTimeout("tcp", addr, testkit.Patience)
		if err != nil {
			return
		}
		defer c.Close()
		listener := c.(*net.TCPConn)
		_ = dialer.SetDeadline(time.Now().Add(testkit.Patience))
		_ = listener.SetDeadline(time.Now().Add(testkit.Patience))
		var both sync.WaitGroup
		forward := func(to, from *net.TCPConn, fromDialer bool) {
			defer func() { _ = to.CloseWrite() }()
			for n := 0; ; n++ {
				head := make([]byte, 5)
				if _, err := io.ReadFull(from, head); err != nil {
					return
				}
				record := append(head, make([]byte, int(head[3])<<8|int(head[4]))...)
				if _, err := io.ReadFull(from, record[5:]); err != nil {
					return
				}
				p.mu.Lock()
				p.seen.Write(record)
				p.mu.Unlock()
				if meddle != nil {
					if record = meddle(fromDialer, n, record); record == nil {
						_ = dialer.CloseWrite()
						_ = listener.CloseWrite()
						_, _ = io.Copy(io.Discard, from)
						return
					}
				}
				if _, err := to.Write(record); err != nil {
					return
				}
			}
		}
		both.Go(func() { forward(listener, dialer, true) })
		both.Go(func() { forward(dialer, listener, false) })
		both.Wait()
	}()
	return p
}

func (p *tap) port(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// The wire shows nothing of the payload, and neither the key nor a trace of it.
func TestNothingInClear(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	question, answer := strings.Repeat("the question is secret. ", 4000), strings.Repeat("so is the answer. ", 4000)
	l := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader(answer)}, "-l", "127.0.0.1", "0")
	tap := newTap(t, l.addr(), nil)
	d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader(question)}, "127.0.0.1", tap.port(t))
	d.ends(0)
	l.ends(0)
	d.printed(answer)
	l.printed(question)
	<-tap.done
	wire := tap.seen.Bytes()
	if len(wire) < len(question)+len(answer) {
		t.Errorf("the wire carried %d bytes, fewer than the %d of the conversation", len(wire), len(question)+len(answer))
	}
	secret := []string{question, answer, k.String(), string(k[:])}
	for _, s := range secret {
		for at := 0; at+8 <= min(len(s), 64); at++ {
			if bytes.Contains(wire, []byte(s[at:at+8])) {
				t.Fatalf("the wire shows %q", s[at:at+8])
			}
		}
	}
}

// A connection that is cut is never an orderly end, also where it is cut
// between two records, which TLS itself would let pass.
func TestCut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		dialerSends bool
		at          int // records of the sending direction that still pass
	}{"to the listener": {true, 40}, "to the dialer": {false, 40}, "to the listener, at once": {true, 5}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := tlsconn.NewKey()
			payload := testkit.Noise(2_000_000)
			feeds, takes := opts{env: keyed(k), stdin: strings.NewReader(payload)}, opts{env: keyed(k)}
			lo, do := takes, feeds
			if !test.dialerSends {
				lo, do = feeds, takes
			}
			l := startPurr(t, lo, "-l", "127.0.0.1", "0")
			tap := newTap(t, l.addr(), func(fromDialer bool, n int, record []byte) []byte {
				if fromDialer == test.dialerSends && n >= test.at {
					return nil
				}
				return record
			})
			d := startPurr(t, do, "127.0.0.1", tap.port(t))
			from, to := d, l
			if !test.dialerSends {
				from, to = l, d
			}
			to.ends(1)
			to.complains("receive from 127.0.0.1 port", "the connection was cut: it ended without the mark of an orderly end")
			if test.dialerSends { // the other end had read all, and its system acknowledged every byte
				from.ends(1)
			}
			if got := to.out.String(); !strings.HasPrefix(payload, got) || len(got) == len(payload) {
				t.Errorf("%d bytes came, and are not a part of what was sent", len(got))
			}
		})
	}
}

// One bit that changes on the way is noticed, at once and by both ends, and
// nothing of that record reaches stdout.
func TestTampered(t *testing.T) {
	t.Parallel()
	for _, at := range []int{6, 20} {
		k := tlsconn.NewKey()
		payload := testkit.Noise(1_000_000)
		l := startPurr(t, opts{env: keyed(k)}, "-l", "127.0.0.1", "0")
		tap := newTap(t, l.addr(), func(fromDialer bool, n int, record []byte) []byte {
			if fromDialer && n == at {
				record[len(record)/2] ^= 1
			}
			return record
		})
		d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader(payload)}, "127.0.0.1", tap.port(t))
		l.ends(1)
		l.complains("receive from 127.0.0.1 port", "damaged or tampered with on the way", "bad record MAC")
		d.ends(1)
		if got := l.out.String(); !strings.HasPrefix(payload, got) {
			t.Errorf("%d bytes came, and are not a part of what was sent", len(got))
		}
	}
}

// A handshake that is changed in transit fails.
func TestTamperedHandshake(t *testing.T) {
	t.Parallel()
	for _, fromDialer := range []bool{true, false} {
		for n := range 4 {
			k := tlsconn.NewKey()
			l := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("from the listener")}, "-l", "-w", "10", "127.0.0.1", "0")
			tap := newTap(t, l.addr(), func(from bool, i int, record []byte) []byte {
				if from == fromDialer && i == n && record[0] != 20 { // a change of cipher spec means nothing in TLS 1.3
					record[len(record)-1] ^= 1
				}
				return record
			})
			d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("from the dialer")}, "-w", "10", "127.0.0.1", tap.port(t))
			if d.status() == 0 && n != 1 {
				t.Errorf("record %d of the dialer's (%v): the dialer ends with status 0", n, fromDialer)
			}
			if d.status() == 0 {
				l.ends(0)
				continue
			}
			d.printed("")
			l.kill()
			l.printed("")
		}
	}
}

// A record that is sent twice, or left out, is noticed.
func TestReplayed(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{true, false} {
		k := tlsconn.NewKey()
		l := startPurr(t, opts{env: keyed(k)}, "-l", "127.0.0.1", "0")
		tap := newTap(t, l.addr(), func(fromDialer bool, n int, record []byte) []byte {
			switch {
			case !fromDialer || n != 12:
				return record
			case again:
				return append(record, record...)
			}
			return []byte{}
		})
		d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader(testkit.Noise(1_000_000))}, "127.0.0.1", tap.port(t))
		l.ends(1)
		l.complains("damaged or tampered with on the way")
		d.ends(1)
	}
}
