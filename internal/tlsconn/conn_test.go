package tlsconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"purr/internal/sock"
	"purr/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.AtOnce(8)
	m.Run()
}

// Bytes arrive in both directions, and each direction ends on its own.
func TestConversation(t *testing.T) {
	t.Parallel()
	a, b := testkit.TcpPair(t)
	client, server := pair(t, a, b)
	defer client.Close()
	defer server.Close()
	question, answer := testkit.Noise(3_000_000), testkit.Noise(2_000_001)[1:]
	go func() {
		testkit.WriteString(t, client, question)
		if err := client.CloseWrite(); err != nil {
			t.Error(err)
		}
	}()
	if got := testkit.ReadAll(t, server); got != question {
		t.Errorf("the question came as %s", testkit.Brief(got))
	}
	go func() {
		testkit.WriteString(t, server, answer)
		_ = server.Close()
	}()
	if got := testkit.ReadAll(t, client); got != answer {
		t.Errorf("the answer came as %s", testkit.Brief(got))
	}
	if client.NetConn() != a || sock.Under(client) != a {
		t.Error("NetConn is not the socket")
	}
	if v := client.ConnectionState().NegotiatedProtocol; v != "purr/2-stream" {
		t.Errorf("protocol %q", v)
	}
}

// An end without close_notify is an error, also between two records.
func TestCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		client, server := pair(t, a, b)
		go func() {
			testkit.WriteString(t, client, "some of it")
			_ = a.Close()
		}()
		got, err := io.ReadAll(server)
		if string(got) != "some of it" || err != ErrCut || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read %q, %v", got, err)
		}
		_ = server.Close()
	})
}

// A record that was changed in transit is an error at both ends, and nothing of
// it is read.
func TestDamaged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		m := &meddler{Conn: a}
		client, server := pair(t, m, b)
		m.damage.Store(true)
		go func() {
			testkit.WriteString(t, client, "payload")
			if got, err := io.ReadAll(client); len(got) > 0 || err == nil || err.Error() != "the other end gave up: tls: bad record MAC" {
				t.Errorf("the sender read %q, %v", got, err)
			}
		}()
		if got, err := io.ReadAll(server); len(got) > 0 || !errors.Is(err, ErrDamaged) {
			t.Errorf("read %q, %v", got, err)
		}
		_ = server.Close()
		_ = client.Close()
	})
}

// A peer that reads slowly gets all the time it needs for close_notify, for
// which crypto/tls by itself allows five seconds.
func TestSlowPeerTakesTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		client, server := pair(t, a, b)
		ended := make(chan error, 1)
		go func() { ended <- client.CloseWrite() }()
		time.Sleep(time.Minute)
		select {
		case err := <-ended:
			t.Fatalf("ended while nobody read: %v", err)
		default:
		}
		if n, err := server.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read %d bytes, %v", n, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = a.Close()
		_ = b.Close()
	})
}

// Close waits for the peer's end, and not longer than its time.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	for _, answers := range []time.Duration{100 * time.Millisecond, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			client, server := pair(t, a, b)
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				_, _ = server.Read(make([]byte, 1))
				time.Sleep(answers)
				_ = server.Close()
			}()
			begun := time.Now()
			_ = client.Close()
			if took := time.Since(begun); took != min(answers, closeTimeout) {
				t.Errorf("the peer closes after %v: took %v", answers, took)
			}
			<-closed
		})
	}
}

// While CloseWrite waits for room in the window, Close and Reset end it.
func TestCloseWhileTheEndWaits(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Conn){"Close": func(c *Conn) { _ = c.Close() }, "Reset": func(c *Conn) { sock.Reset(c) }} {
		a, b := testkit.TcpPair(t)
		client, _ := pair(t, a, b)
		fillWindow(t, a)
		waiting := make(chan error, 1)
		go func() { waiting <- client.CloseWrite() }()
		select {
		case err := <-waiting:
			t.Fatalf("%s: there was room for the end: %v", name, err)
		case <-time.After(100 * time.Millisecond):
		}
		begun := time.Now()
		end(client)
		select {
		case err := <-waiting:
			if err == nil {
				t.Errorf("%s: the end went out", name)
			}
		case <-time.After(testkit.Patience):
			t.Fatalf("%s: CloseWrite still waits", name)
		}
		if took := testkit.Since(begun); took > 2*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

// fillWindow writes past TLS until the socket takes nothing more, also not a
// while later, when the peer's system has made room.
func fillWindow(t testing.TB, c *net.TCPConn) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for full := 0; full < 2; {
		_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.Write(buf)
		switch {
		case n > 0:
			full = 0
		case errors.Is(err, os.ErrDeadlineExceeded):
			full++
		default:
			t.Fatal(err)
		}
	}
	_ = c.SetWriteDeadline(time.Time{})
}

// Clients that are silent or have another key do not block others.
func TestListener(t *testing.T) {
	t.Parallel()
	k := NewKey()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newHandshaker(t, k, true)
	greeted := make(chan net.Addr, 10)
	h.OnAccept = func(_ context.Context, c net.Conn) { greeted <- c.RemoteAddr() }
	rejected := make(chan error, 10)
	ln := h.Listener(t.Context(), tcp, func(c net.Conn, err error) {
		if _, writeErr := c.Write([]byte("x")); writeErr == nil {
			t.Error("the connection of a rejected client is open")
		}
		rejected <- err
	})
	dial := func() net.Conn {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		return c
	}
	silent := dial()
	_ = dial().Close()
	if err := <-rejected; !errors.Is(err, ErrNoHandshake) {
		t.Errorf("a port scan is rejected as %v", err)
	}
	testkit.Reset(t, dial())
	if err := <-rejected; !errors.Is(err, ErrNoHandshake) {
		t.Errorf("a reset is rejected as %v", err)
	}
	if _, err := newHandshaker(t, NewKey(), false).Do(t.Context(), dial()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("a client with another key got %v", err)
	}
	if err := <-rejected; !errors.Is(err, ErrWrongKey) {
		t.Errorf("a client with another key is rejected as %v", err)
	}
	clients := make(chan *Conn, 1)
	go func() {
		c, err := newHandshaker(t, k, false).Do(t.Context(), dial())
		if err != nil {
			t.Error(err)
		}
		clients <- c
	}()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client := <-clients
	go testkit.WriteString(t, server, "hello")
	testkit.ReadN(t, client, 5)
	if len(greeted) != 5 {
		t.Errorf("%d clients were announced, want 5", len(greeted))
	}
	_ = ln.Close()
	if _, err := ln.Accept(); err == nil {
		t.Error("accepted after Close")
	}
	if n, err := silent.Read(make([]byte, 1)); n > 0 || err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the silent client got %d bytes, %v", n, err)
	}
	_ = client.Close()
	_ = server.Close()
}

// A client whose handshake is under way when accepting fails is still accepted.
func TestListenerFailsLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := NewKey()
		a, b := net.Pipe()
		failure := errors.New("the time is over")
		ln := newHandshaker(t, k, true).Listener(t.Context(), &oneClient{clients: []net.Conn{a}, err: failure}, func(_ net.Conn, err error) { t.Error(err) })
		go func() {
			time.Sleep(time.Second)
			s, err := newHandshaker(t, k, false).Do(t.Context(), b)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, s)
			_ = s.Close()
		}()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ln.Accept(); err != failure {
			t.Errorf("then %v", err)
		}
		_ = c.Close()
		_ = ln.Close()
	})
}

// A crowd of clients without the key does not keep out those with it: silent
// ones leave at once, those that stall in the middle have 3 s. Clients that
// hold the key and wait for Accept are not given up.
func TestListenerCrowd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		stranger string // its bytes
		holders  int    // that wait for Accept already
		most     time.Duration
	}{
		"silent":              {"", 0, time.Second},
		"stalled":             {"\x16\x03\x01", 0, 2*crowdTimeout + time.Second},
		"silent, and holders": {"", 2, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := NewKey()
				conns := make(chan net.Conn, 100)
				h := newHandshaker(t, k, true)
				h.Pending = 4
				var rejected []error
				var mu sync.Mutex
				ln := h.Listener(t.Context(), chanListener(conns), func(_ net.Conn, err error) {
					mu.Lock()
					defer mu.Unlock()
					rejected = append(rejected, err)
				})
				arrive := func() net.Conn {
					a, b := net.Pipe()
					conns <- a
					return b
				}
				hold := func() {
					s, err := newHandshaker(t, k, false).Do(t.Context(), arrive())
					if err != nil {
						t.Error(err)
						return
					}
					_ = s.NetConn().Close()
				}
				for range test.holders {
					go hold()
				}
				synctest.Wait()
				strangers := 8 - test.holders
				for range strangers {
					c := arrive()
					go func() { _, _ = io.WriteString(c, test.stranger) }()
				}
				go hold()
				begun := time.Now()
				for range test.holders + 1 {
					c, err := ln.Accept()
					if err != nil {
						t.Fatal(err)
					}
					_ = c.(*Conn).NetConn().Close()
				}
				if took := time.Since(begun); took > test.most {
					t.Errorf("served after %v", took)
				}
				time.Sleep(2 * DefaultTimeout) // the last strangers'
				mu.Lock()
				defer mu.Unlock()
				crowded := 0
				for _, err := range rejected {
					if errors.Is(err, ErrCrowded) {
						crowded++
					}
				}
				if len(rejected) != strangers || crowded < strangers-3 {
					t.Errorf("rejected %v", rejected)
				}
				_ = ln.Close()
			})
		})
	}
}

// A chanListener accepts the connections of a channel, until it is closed.
type chanListener chan net.Conn

func (l chanListener) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l chanListener) Addr() net.Addr { return nil }
func (l chanListener) Close() error   { close(l); return nil }

// A oneClient is a listener that fails after its clients.
type oneClient struct {
	clients []net.Conn
	err     error
}

func (o *oneClient) Accept() (net.Conn, error) {
	if len(o.clients) == 0 {
		return nil, o.err
	}
	c := o.clients[0]
	o.clients = o.clients[1:]
	return c, nil
}
func (o *oneClient) Addr() net.Addr { return nil }
func (o *oneClient) Close() error   { return nil }

// Records that are written between cork and uncork leave together, and nothing
// after a failed write.
func TestRecordBufferWrites(t *testing.T) {
	t.Parallel()
	var w writes
	r := &recordBuffer{Conn: &w}
	_, _ = r.Write([]byte("one "))
	r.cork()
	_, _ = r.Write([]byte("two "))
	_, _ = r.Write([]byte("three "))
	if w.calls != 1 {
		t.Errorf("%d writes while corked", w.calls)
	}
	if err := r.uncork(); err != nil || w.calls != 2 || w.String() != "one two three " {
		t.Errorf("%d writes: %q, %v", w.calls, w.String(), err)
	}
	r.cork()
	_, _ = r.Write(make([]byte, blockSize))
	if w.calls != 3 {
		t.Errorf("a full block was kept")
	}
	w.err = errors.New("broken")
	_, first := r.Write(make([]byte, blockSize))
	w.err = nil
	_, second := r.Write([]byte("x"))
	if err := r.uncork(); first == nil || second != first || err != first || w.calls != 4 {
		t.Errorf("%d writes: %v, %v, %v", w.calls, first, second, err)
	}
}

// A writes collects the bytes written to it and counts the calls.
type writes struct {
	net.Conn
	bytes.Buffer
	calls int
	err   error
}

func (w *writes) Write(b []byte) (int, error) {
	w.calls++
	if w.err != nil {
		return 0, w.err
	}
	return w.Buffer.Write(b)
}
func (w *writes) Read(b []byte) (int, error) { return w.Buffer.Read(b) }
func (w *writes) Close() error               { return nil }

// However the bytes arrive and are read, they are the same and in order, and
// their end is ErrCut.
func FuzzRecordBuffer(f *testing.F) {
	f.Add([]byte("\x16 handshake"), []byte{5, 1, 200}, []byte{3, 3})
	f.Add([]byte("GET /"), []byte{1}, []byte{1})
	f.Add(append([]byte{recordAlert}, make([]byte, 3000)...), []byte{0, 3, 2}, []byte{1, 7})
	f.Fuzz(func(t *testing.T, sent, pieces, reads []byte) {
		r := &recordBuffer{Conn: &pieceReader{rest: sent, sizes: pieces}}
		var got []byte
		for i := 0; ; i++ {
			size := 5
			if len(reads) > 0 {
				size = 1 + int(reads[i%len(reads)])<<6
			}
			b := make([]byte, size)
			n, err := r.Read(b)
			got = append(got, b[:n]...)
			if err == errClear {
				if len(got) == 0 || got[0] == recordHandshake || got[0] == recordAlert {
					t.Errorf("%q is not TLS", got)
				}
				return
			}
			if err == ErrCut {
				break
			}
			if err != nil || n == 0 {
				t.Fatalf("read %d bytes, %v", n, err)
			}
		}
		if !bytes.Equal(got, sent) {
			t.Errorf("got %q, want %q", got, sent)
		}
	})
}

// A pieceReader returns its bytes in pieces of the sizes, again and again.
type pieceReader struct {
	net.Conn
	rest, sizes []byte
	n           int
}

func (p *pieceReader) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	size := len(p.rest)
	if len(p.sizes) > 0 {
		size = 1 + int(p.sizes[p.n%len(p.sizes)])<<8
		p.n++
	}
	n := copy(b, p.rest[:min(size, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

// A meddler changes a bit in each record that is written.
type meddler struct {
	net.Conn
	damage atomic.Bool
}

func (m *meddler) Write(b []byte) (int, error) {
	if m.damage.Load() {
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
	}
	return m.Conn.Write(b)
}
