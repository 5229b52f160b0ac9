// Package web serves checked files over HTTP to curl, wget, browsers and other
// clients: a receiver stores what they upload, an offer lets them download. A
// client that is a purr itself asks for an upgrade (RFC 9110, section 7.8), and
// is handed to package push; all of them share one port.
//
// A file is stored by PUT, by PATCH from an offset on (IETF
// draft-ietf-httpbis-resumable-upload), or by the form of a page. It is offered
// by GET with ranges (RFC 9110, section 14), a directory as a tar archive.
// Digests are those of RFC 9530. HTTP/1.1 is spoken, and HTTP/2 with prior
// knowledge (RFC 9113, section 3.3).
package web

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"purr/internal/offer"
	"purr/internal/push"
	"purr/internal/rate"
	"purr/internal/store"
)

// Options are the same for both kinds of servers. The zero value works.
type Options struct {
	// Keep serves any number of clients until the context of Serve ends. Without
	// it Serve returns after the transfer of one purr, the uploads of one client,
	// or when one client has had every byte of a file, once no other is in the
	// middle.
	Keep bool

	// HelloTimeout is how long a client may take to send the head of a request.
	// Zero: 5 s.
	HelloTimeout time.Duration

	// Silence is how long a client may send nothing of an upload. Of a download,
	// it may accept nothing for four times as long. Zero: 30 s.
	Silence time.Duration

	// Rate limits what is sent to all clients together; nil: no limit.
	Rate *rate.Limiter

	// MaxConns is how many connections are open at once; further ones wait in the
	// listener's backlog. Zero: no limit.
	MaxConns int

	// NoResume makes an offer send every file to a purr from its first byte. A
	// receiver's store has an option of its own.
	NoResume bool

	// Streams lets a purr open further connections for its transfer; nil: each
	// has one.
	Streams *push.Streams

	// Hosts are names of this machine, beside its own and its addresses, that a
	// Host field may hold. A request for another name is rejected, for it may
	// come from the page of another site (DNS rebinding).
	Hosts []string

	// TLS is set if the connections from Prepare were encrypted by it; it is shown
	// on the pages.
	TLS *TLS

	// Prepare is called for each accepted connection, in a goroutine of its own,
	// and returns the connection to serve, which may be encrypted or counted. If
	// that is nil, Prepare has closed the connection; an error is then a
	// failure of the client, see Serve. Nil: the connection is served as it is.
	Prepare func(context.Context, net.Conn) (net.Conn, error)

	// Events receives clients and files; nil: there are no events.
	Events Events
}

// TLS is what the pages show of the encryption.
type TLS struct {
	Names  []string // of the certificate: the server has them, too
	Issuer string   // of the certificate; empty: it was made by this end itself
	Pin    string   // of its key, as sha256:BASE64
	Mutual bool     // whether clients have to show a certificate, too
}

// A Server serves the files of one directory, or of one offer, on one listener.
type Server struct {
	o       Options
	role    push.Role
	handler handler
	move    func(context.Context, *push.Conn) (push.Summary, error) // Send or Receive

	memory   *budget // of all clients in the process
	origins  *http.CrossOriginProtection
	conns    chan net.Conn // of clients that speak HTTP
	finished chan struct{} // full once a server without Keep has served
	requests sync.WaitGroup
	clients  sync.WaitGroup // accept, and connections that are open

	mu       sync.Mutex
	owner    *client     // the only one that may upload to a server without Keep now
	visit    string      // by which the owner may use another connection
	pause    *time.Timer // ends the owner's visit; nil while it uploads
	underWay int         // uploads, downloads and transfers of a server without Keep
	served   bool        // a server without Keep ends when nothing is under way
	errs     []error     // of clients, in a server without Keep
}

// A handler answers the requests of clients that are no purr: an uploadHandler
// or a downloadHandler. serveHTTP has checked Host and Origin. c is the
// connection of r.
type handler interface {
	serve(w http.ResponseWriter, r *http.Request, c *client)
}

const (
	defaultHelloTimeout = 5 * time.Second
	defaultSilence      = 30 * time.Second
)

// NewReceiver returns a server that stores uploads in s, which the caller
// closes after Serve has returned.
func NewReceiver(s *store.Store, o Options) *Server {
	srv := newServer(push.Receiver, o)
	srv.handler = newUploadHandler(srv, s)
	srv.move = func(ctx context.Context, c *push.Conn) (push.Summary, error) { return c.Receive(ctx, s) }
	return srv
}

// NewOffer returns a server that sends the files of s, which the caller closes
// after Serve has returned.
func NewOffer(s *offer.Set, o Options) *Server {
	srv := newServer(push.Sender, o)
	srv.handler = &downloadHandler{s: srv, set: s}
	srv.move = func(ctx context.Context, c *push.Conn) (push.Summary, error) { return c.Send(ctx, s) }
	return srv
}

// newServer returns a server with the defaults of Options filled in. The caller
// sets handler and move.
func newServer(role push.Role, o Options) *Server {
	if o.HelloTimeout <= 0 {
		o.HelloTimeout = defaultHelloTimeout
	}
	if o.Silence <= 0 {
		o.Silence = defaultSilence
	}
	if o.Events == nil {
		o.Events = noEvents{}
	}
	if o.Prepare == nil {
		o.Prepare = func(_ context.Context, c net.Conn) (net.Conn, error) { return c, nil }
	}
	return &Server{
		o: o, role: role,
		memory:   clientBudget,
		origins:  http.NewCrossOriginProtection(),
		conns:    make(chan net.Conn),
		finished: make(chan struct{}, 1),
	}
}

// Serve accepts clients from ln, which it closes, and returns when every
// connection is closed. It is called once. The error is that of ln.Accept, or
// the cause of ctx if that has ended. A server without Keep returns nil after
// it has served, or the failures of its clients, joined by errors.Join: each is
// a *ClientError, or an error of Prepare. With Keep failures go to Events.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	base, cut := context.WithCancelCause(ctx) // of requests
	hs := s.httpServer(base)
	conns, leave := context.WithCancelCause(ctx)
	go func() { _ = hs.Serve(&connListener{s.conns, ln, make(chan struct{})}) }()
	failed := make(chan error, 1)
	s.clients.Go(func() { failed <- s.accept(conns, ln) })
	var err error
	select {
	case <-s.finished:
		stop(hs, s.o.Silence)
	case err = <-failed:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	_ = hs.Close() // cuts the requests under way, which decide what stays on the disk
	cut(http.ErrServerClosed)
	s.requests.Wait()
	leave(http.ErrServerClosed)
	_ = ln.Close()
	s.clients.Wait()
	if err != nil {
		return err
	}
	return errors.Join(s.errs...)
}

// stop closes the listener of hs, and waits until its requests have ended, for
// limit at most.
func stop(hs *http.Server, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_ = hs.Shutdown(ctx)
}

// httpServer returns the configured server of net/http: HTTP/1 and unencrypted
// HTTP/2 (Prepare has removed TLS). ctx is the context of its requests.
func (s *Server) httpServer(ctx context.Context) *http.Server {
	hs := &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: s.o.HelloTimeout,
		IdleTimeout:       s.o.Silence,
		MaxHeaderBytes:    maxHead,
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          20, // with those below, http2Memory
			MaxReadFrameSize:              256 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     1 << 20,
			SendPingTimeout:               s.o.Silence / 3,
			PingTimeout:                   s.o.Silence - s.o.Silence/3,
		},
		ErrorLog:    log.New(noteWriter{s.o.Events}, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, clientKey{}, c.(*client))
		},
	}
	hs.Protocols.SetHTTP1(true)
	hs.Protocols.SetUnencryptedHTTP2(true)
	return hs
}

// noteWriter is the log of net/http: each line about a connection becomes
// Events.Note.
type noteWriter struct{ events Events }

// Write reports one line.
func (n noteWriter) Write(b []byte) (int, error) {
	n.events.Note(strings.TrimSpace(string(b)))
	return len(b), nil
}

// A connListener is the net.Listener of net/http. It returns only connections
// that sniff has found to speak HTTP.
type connListener struct {
	conns  chan net.Conn
	socket net.Listener
	closed chan struct{}
}

// Accept returns the next connection from conns.
func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close also closes the socket: further clients are refused at once, rather
// than left in the backlog of a server that ends.
func (l *connListener) Close() error {
	close(l.closed)
	return l.socket.Close()
}

// Addr returns the address of the socket.
func (l *connListener) Addr() net.Addr { return l.socket.Addr() }

// accept accepts connections until ln fails or ctx ends, and returns the cause.
// At most Options.MaxConns are open at once. Each is served in its own
// goroutine, so that a silent client delays no other.
func (s *Server) accept(ctx context.Context, ln net.Listener) error {
	most := int64(s.o.MaxConns)
	if most <= 0 {
		most = 1 << 62
	}
	slots := semaphore.NewWeighted(most)
	for {
		if slots.Acquire(ctx, 1) != nil {
			return context.Cause(ctx)
		}
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		s.clients.Add(1)
		go s.welcome(ctx, conn, func() {
			slots.Release(1)
			s.clients.Done()
		})
	}
}
