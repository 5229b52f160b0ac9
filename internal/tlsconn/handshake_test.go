package tlsconn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

const reply = "this port expects TLS\n"

func newHandshaker(t testing.TB, k Key, server bool) *Handshaker {
	t.Helper()
	config, err := k.Config(Stream, server)
	if err != nil {
		t.Fatal(err)
	}
	return &Handshaker{Config: config, Server: server, ClearTextReply: reply}
}

// pair returns both ends of an encrypted connection over the two ends of a bare
// one.
func pair(t testing.TB, dialled, accepted net.Conn) (client, server *Conn) {
	t.Helper()
	k := NewKey()
	done := make(chan error, 1)
	go func() {
		var err error
		server, err = newHandshaker(t, k, true).Do(context.Background(), accepted)
		done <- err
	}()
	client, err := newHandshaker(t, k, false).Do(context.Background(), dialled)
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// A peer that is no purr with our key: the kind of the error, its cause, the
// time that the handshake took, and the bytes that the peer received after
// TLS's own.
func TestHandshakeErrors(t *testing.T) {
	t.Parallel()
	ours := NewKey()
	silent := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	closes := func(c net.Conn) { _ = c.Close() }
	readsAndCloses := func(c net.Conn) { _, _ = c.Read(make([]byte, 64<<10)); _ = c.Close() }
	writes := func(s string) func(net.Conn) {
		return func(c net.Conn) {
			go func() { _, _ = io.WriteString(c, s) }()
			_, _ = io.Copy(io.Discard, c)
		}
	}
	echoes := func(c net.Conn) {
		b := make([]byte, 64<<10)
		n, _ := c.Read(b)
		go func() { _, _ = c.Write(b[:n]) }()
		_, _ = io.Copy(io.Discard, c)
	}
	speaks := func(k Key, server bool) func(net.Conn) {
		return func(c net.Conn) {
			s, err := newHandshaker(t, k, server).Do(context.Background(), c)
			if err == nil {
				_ = s.Close()
			}
		}
	}
	for name, test := range map[string]struct {
		server bool // whether we are
		peer   func(net.Conn)
		kind   error
		cause  error // nil: none
		most   time.Duration
	}{
		"a listener that is silent":            {false, silent, ErrNotTLS, os.ErrDeadlineExceeded, DefaultTimeout},
		"a listener that closes":               {false, readsAndCloses, ErrNotTLS, io.ErrUnexpectedEOF, 0},
		"a listener in clear text":             {false, writes("SSH-2.0-x\r\n"), ErrNotTLS, nil, 0},
		"a listener with another key":          {false, speaks(NewKey(), true), ErrWrongKey, nil, closeTimeout},
		"a listener that echoes":               {false, echoes, ErrWrongKey, errors.New("tls: received unexpected handshake message of type *tls.clientHelloMsg when waiting for *tls.serverHelloMsg"), closeTimeout},
		"a listener that stops in a record":    {false, writes("\x16\x03\x03\x01"), nil, os.ErrDeadlineExceeded, DefaultTimeout},
		"a client that is silent":              {true, silent, nil, os.ErrDeadlineExceeded, DefaultTimeout},
		"a client that closes":                 {true, closes, ErrNoHandshake, nil, 0},
		"a client in clear text":               {true, writes("GET / HTTP/1.1\r\n"), ErrClearText, nil, time.Second},
		"a client that sends one letter":       {true, writes("h"), ErrClearText, nil, time.Second},
		"a client with another key":            {true, speaks(NewKey(), false), ErrWrongKey, nil, closeTimeout},
		"a client that stops in a record":      {true, writes("\x16\x03\x01"), nil, os.ErrDeadlineExceeded, DefaultTimeout},
		"a client that closes within a record": {true, func(c net.Conn) { _, _ = c.Write([]byte("\x16\x03\x01")); _ = c.Close() }, nil, io.ErrUnexpectedEOF, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				go test.peer(b)
				begun := time.Now()
				s, err := newHandshaker(t, ours, test.server).Do(t.Context(), a)
				var failed *HandshakeError
				if !errors.As(err, &failed) {
					t.Fatalf("got %v, %v", s, err)
				}
				if failed.Kind != test.kind || !errors.Is(failed.Err, test.cause) && (test.cause == nil || failed.Err == nil || failed.Err.Error() != test.cause.Error()) {
					t.Errorf("kind %v, cause %v; want %v, %v", failed.Kind, failed.Err, test.kind, test.cause)
				}
				if test.kind != nil && !errors.Is(err, test.kind) {
					t.Errorf("%v is not %v", err, test.kind)
				}
				if took := time.Since(begun); took > test.most || test.cause == os.ErrDeadlineExceeded && took != DefaultTimeout {
					t.Errorf("took %v", took)
				}
				if _, err := a.Write([]byte("x")); err == nil {
					t.Error("the connection is open")
				}
				_ = b.Close()
			})
		})
	}
}

// A client in clear text gets the reply; a dialer sends none.
func TestClearTextReply(t *testing.T) {
	t.Parallel()
	for _, server := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			go func() { _, _ = newHandshaker(t, NewKey(), server).Do(t.Context(), a) }()
			if !server {
				_, _ = b.Read(make([]byte, 64<<10))
			}
			_, _ = io.WriteString(b, "hello\n")
			got, _ := io.ReadAll(b)
			if want := map[bool]string{true: reply}[server]; string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A client whose identity is the right one for a dialer, but from another key,
// has finished its handshake before it is rejected: no payload may pass.
func TestListenerRejects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := NewKey()
		a, b := net.Pipe()
		rejected := make(chan error, 1)
		go func() {
			_, err := newHandshaker(t, k, true).Do(t.Context(), a)
			rejected <- err
		}()
		client := newHandshaker(t, k, false).Config
		client.Certificates = newHandshaker(t, NewKey(), false).Config.Certificates
		s := tls.Client(b, client)
		if err := s.Handshake(); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(s, "payload") }()
		if got, err := io.ReadAll(s); len(got) > 0 || err == nil {
			t.Errorf("read %q, %v", got, err)
		}
		if err := <-rejected; !errors.Is(err, ErrWrongKey) {
			t.Errorf("the listener ends with %v", err)
		}
		_ = b.Close()
	})
}

// A listener that finishes its handshake and never confirms: the dialer's time
// runs out.
func TestNoConfirmation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := NewKey()
		a, b := net.Pipe()
		go func() {
			s := tls.Server(b, newHandshaker(t, k, true).Config)
			_, _ = io.Copy(io.Discard, s)
		}()
		h := newHandshaker(t, k, false)
		h.Timeout = time.Minute
		begun := time.Now()
		_, err := h.Do(t.Context(), a)
		if took := time.Since(begun); !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ErrNotTLS) || took != time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
		_ = b.Close()
	})
}

func TestHandshakeCancelled(t *testing.T) {
	t.Parallel()
	for _, server := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, b) }()
			ctx, stop := context.WithCancelCause(t.Context())
			cause := errors.New("the user has left")
			time.AfterFunc(time.Second, func() { stop(cause) })
			begun := time.Now()
			_, err := newHandshaker(t, NewKey(), server).Do(ctx, a)
			if took := time.Since(begun); err != cause || took != time.Second {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
}

// No bytes that a peer without the key sends are a handshake, and none keeps it
// longer than its time.
func FuzzHandshake(f *testing.F) {
	f.Add(true, []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(false, []byte("\x15\x03\x03\x00\x02\x02\x28"))
	f.Add(true, []byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"))
	k := NewKey()
	servers, clients := newHandshaker(f, k, true), newHandshaker(f, k, false)
	f.Add(true, firstFlight(clients))
	f.Fuzz(func(t *testing.T, server bool, sent []byte) {
		synctest.Test(t, func(t *testing.T) {
			h := clients
			if server {
				h = servers
			}
			a, b := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, b) }()
			go func() {
				_, _ = b.Write(sent)
				_ = b.Close()
			}()
			begun := time.Now()
			_, err := h.Do(t.Context(), a)
			if failed := new(HandshakeError); !errors.As(err, &failed) || failed.Error() == "" {
				t.Errorf("%q: %v", sent, err)
			}
			if took := time.Since(begun); took > DefaultTimeout+time.Second {
				t.Errorf("%q: took %v", sent, took)
			}
		})
	})
}

// firstFlight returns a client's first bytes.
func firstFlight(h *Handshaker) []byte {
	a, b := net.Pipe()
	go func() { _ = tls.Client(a, h.Config).Handshake() }()
	hello := make([]byte, 64<<10)
	n, _ := b.Read(hello)
	_ = b.Close()
	return hello[:n]
}

// An end accepts its own class only, in either role, and no payload passes. An
// identity of the other class is another key, whatever ALPN has; a peer that
// leaves ALPN out is of no class.
func TestClasses(t *testing.T) {
	t.Parallel()
	k := NewKey()
	config := func(t *testing.T, class Class, server bool, protocols ...string) *tls.Config {
		c, err := k.Config(class, server)
		if err != nil {
			t.Fatal(err)
		}
		c.NextProtos = protocols
		return c
	}
	for name, test := range map[string]struct {
		identity     Class    // of the other end; ours is Files
		protocols    []string // that it offers or demands
		asked, asker error    // of the server, of the client, where that is ours
	}{
		"the same":          {Files, []string{"purr/2-files"}, nil, nil},
		"one of two":        {Files, []string{"h2", "purr/2-files"}, nil, nil},
		"a stream":          {Stream, []string{"purr/2-stream"}, ErrOtherProtocol, ErrOtherProtocol},
		"another version":   {Files, []string{"purr/1"}, ErrOtherProtocol, ErrOtherProtocol},
		"no ALPN":           {Files, nil, ErrOtherProtocol, ErrOtherProtocol},
		"only ALPN is ours": {Stream, []string{"purr/2-files"}, ErrWrongKey, ErrWrongKey},
	} {
		for _, server := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := net.Pipe()
					other := config(t, test.identity, !server, test.protocols...)
					other.VerifyConnection = nil // it has an interest in us
					h := &Handshaker{Config: config(t, Files, server, "purr/2-files"), Server: server}
					var got []byte
					read := make(chan struct{})
					go func() {
						defer close(read)
						side := tls.Client
						if !server {
							side = tls.Server
						}
						s := side(b, other)
						if s.Handshake() == nil && !server {
							_, _ = s.Write([]byte{confirmation})
						}
						got, _ = io.ReadAll(s)
						_ = b.Close()
					}()
					want := test.asker
					if server {
						want = test.asked
					}
					s, err := h.Do(t.Context(), a)
					if (err == nil) != (want == nil) || !errors.Is(err, want) {
						t.Errorf("server %v: %v, want %v", server, err, want)
					}
					if err == nil {
						_ = a.Close()
					}
					<-read
					if len(got) > 0 && (s == nil || len(got) > 1) {
						t.Errorf("the other end got %q", got)
					}
				})
			})
		}
	}
}
