package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"purr/internal/push"
	"purr/internal/sock"
)

// serveHTTP is the entry for every request of net/http. It sets the deadlines,
// rejects requests for other hosts and from pages of other sites, and passes
// the rest to package push or to the handler of the server.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	defer s.requests.Done()
	c := clientOf(r)
	if r.ProtoMajor == 1 {
		c.answers.Store(true)
		defer func() {
			c.giveHead()
			c.answers.Store(false)
		}()
	}
	w = limitTimes(w, r, s.o.Silence)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	anonymous := r.Host == "" && !r.ProtoAtLeast(1, 1) // HTTP/1.0 has no Host field, and no browser speaks it
	if !anonymous && !s.isOwnName(r.Host, c.LocalAddr()) {
		refuse(w, http.StatusMisdirectedRequest, fmt.Sprintf("this machine does not know itself as %q: use its address, or its name as it has it", r.Host))
		return
	}
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	if err := s.origins.Check(r); err != nil || isForeign(r) {
		refuse(w, http.StatusForbidden, "a page of another site may not do this")
		return
	}
	if push.IsHello(r) {
		s.transfer(w, r, c)
		return
	}
	c.begin()
	defer c.end()
	s.handler.serve(w, r, c)
}

// isForeign reports whether the page of another site has made a browser send
// this GET or HEAD, which could end a server without Keep. A followed link is
// not foreign, since the user has chosen it. Browsers send Sec-Fetch fields to
// encrypted and local addresses only; elsewhere Referer names the site, unless
// the page suppresses it.
func isForeign(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false // http.CrossOriginProtection has checked it
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "cross-site", "same-site":
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
	case "":
		page, err := url.Parse(r.Header.Get("Referer"))
		return err == nil && page.Host != "" && !strings.EqualFold(page.Host, r.Host) &&
			r.Header.Get("Upgrade-Insecure-Requests") != "1" // which browsers send when they navigate
	}
	return false
}

// refuse answers with the status code and one line of text. The policy keeps
// pages of other sites from showing it in a frame.
func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text)
}

// errBusy rejects a purr while another client owns a server without Keep, or
// once the server has served.
var errBusy = errors.New(busy)

// isOwnName reports whether field, the Host of a request, names this machine:
// by any IP address, its host name, localhost, or one of Options.Hosts or of
// the certificate's names. local is the address that the client has connected
// to; on a Unix socket every name is accepted.
func (s *Server) isOwnName(field string, local net.Addr) bool {
	host, _, err := net.SplitHostPort(field)
	if err != nil {
		host = field
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil || local.Network() == "unix" {
		return true
	}
	host = strings.TrimSuffix(host, ".")
	name := machineName()
	short, _, _ := strings.Cut(name, ".")
	names := append([]string{"localhost", name, short, short + ".local"}, s.o.Hosts...)
	if s.o.TLS != nil {
		names = append(names, s.o.TLS.Names...)
	}
	for _, own := range names {
		if own != "" && strings.EqualFold(host, own) {
			return true
		}
	}
	return false
}

// machineName returns the host name of this machine; localhost if that is not
// known.
func machineName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// lateEvents stands for the events of a transfer, which are only created once
// its hello is accepted.
type lateEvents struct{ push.Events }

// transfer upgrades the request r of a purr to the protocol of package push,
// and moves files over its connection c until the end of the transfer. It
// reports the outcome, and ends a server without Keep.
func (s *Server) transfer(w http.ResponseWriter, r *http.Request, c *client) {
	events := &lateEvents{}
	admitted := false
	defer func() {
		if admitted {
			s.memory.give(c.host, transferMemory)
			s.leave()
		}
	}()
	c.upgraded.Store(true)
	conn, err := push.Upgrade(w, r, s.role, push.Options{
		Silence: s.o.Silence, HelloTimeout: s.o.HelloTimeout, Rate: s.o.Rate, NoResume: s.o.NoResume,
		Events: events, Streams: s.o.Streams,
		Admit: func() error {
			if !s.memory.take(c.host, transferMemory) {
				return errFull
			}
			if admitted = s.acquire(c, c.host); !admitted {
				s.memory.give(c.host, transferMemory)
				return errBusy
			}
			return nil
		},
		Closed: func(conn net.Conn, err error) {
			of := conn.(*client)
			of.transferred(err, of != c)
		},
	})
	if err != nil {
		s.notUpgraded(c, err)
		return
	}
	defer conn.Close()
	t := s.o.Events.Transfer(c.name)
	events.Events = t
	sum, err := s.move(r.Context(), conn)
	failure := t.End(sum, err)
	if err == nil || errors.As(err, new(*push.Error)) { // else the context has ended
		s.finish(c, failure)
	}
}

// notUpgraded handles the error of push.Upgrade, which has answered the client
// already. After ErrJoined the connection belongs to another transfer. A purr
// of the same role or of an old version ends a server without Keep. After any
// other error the server stays open to the next client.
func (s *Server) notUpgraded(c *client, err error) {
	var e *push.Error
	switch {
	case errors.Is(err, push.ErrJoined):
		c.join()
		return
	case errors.As(err, &e) && (e.Kind == push.SameRole || e.Kind == push.OldVersion):
		s.finish(c, &ClientError{c.name, e})
	default:
		s.release(c)
	}
	c.upgraded.Store(false)
}

// welcome takes a new connection through Prepare and sniff. If the client
// speaks HTTP and there is room, it hands the connection to net/http; otherwise
// it rejects and closes it. gone is called once, when the connection has ended.
// The end of ctx closes the connection, unless package push owns it.
func (s *Server) welcome(ctx context.Context, conn net.Conn, gone func()) {
	prepared, err := s.o.Prepare(ctx, conn)
	if prepared == nil {
		if err != nil {
			s.finish(nil, err)
		}
		gone()
		return
	}
	var c *client
	c = newClient(s, prepared, func() {
		if ctx.Err() != nil && context.Cause(ctx) != http.ErrServerClosed {
			c.ended(errInterrupted)
		}
		s.o.Events.Closed(c.Conn, c.ending())
		gone()
	})
	stop := context.AfterFunc(ctx, func() {
		if !c.upgraded.Load() { // package push ends its transfers by itself
			_ = c.Close()
		}
	})
	context.AfterFunc(c.ctx, func() { stop() })
	first, err := s.sniff(c)
	switch {
	case ctx.Err() != nil: // more may be coming
	case err != nil && first == "":
		s.o.Events.Silent(c.name)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// A netcat that waits must not take an orderly end for an empty file.
			s.reject(c, "400 Bad Request", s.notHTTP(), false)
		}
	case speaksHTTP(first) && !c.admit(first):
		s.reject(c, "503 Service Unavailable", full, true)
	case speaksHTTP(first):
		select {
		case s.conns <- c:
			return
		case <-ctx.Done():
		}
	default:
		s.rejectProtocol(c, first)
	}
	_ = c.Close()
}

// sniff reads up to 16 bytes, enough to distinguish HTTP, within
// Options.HelloTimeout. It returns them with the error of the read, and keeps
// them for client.Read to return again.
func (s *Server) sniff(c *client) (first string, err error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(s.o.HelloTimeout))
	defer c.Conn.SetReadDeadline(time.Time{})
	b := make([]byte, 16)
	n := 0
	for n < len(b) && isMethod(b[:n]) && err == nil {
		var got int
		got, err = c.Read(b[n:])
		n += got
	}
	c.replay = b[:n]
	return string(b[:n]), err
}

// rejectProtocol rejects a client whose first bytes, first, are not HTTP, and
// counts that as a failure of the client: ErrTLS or ErrNotHTTP.
func (s *Server) rejectProtocol(c *client, first string) {
	err := &ClientError{c.name, ErrNotHTTP}
	if strings.HasPrefix(first, "\x16\x03") { // a TLS handshake: RFC 8446, section 5.1
		err.Err = ErrTLS
	}
	s.reject(c, "400 Bad Request", s.notHTTP(), true)
	s.finish(c, err)
}

// notHTTP returns the text that rejects a client that does not speak HTTP. It
// names the command that serves a plain netcat.
func (s *Server) notHTTP() string {
	if s.role == push.Sender {
		return "not a purr receiver, curl or browser: nothing is sent; at this end, for a plain netcat: purr -l PORT --send-file FILE"
	}
	return "not a purr sender, curl or browser: nothing was stored; at this end, for a plain netcat: purr -l PORT --recv-file FILE"
}

// reject answers with an HTTP status and a line of text, which netcat shows,
// and resets the connection. If sending is true, the client may be in the
// middle of sending, and its bytes are read for rejectTime first: a reset
// behind unread bytes would overtake the answer. An orderly close would look as
// if the bytes had been received.
func (s *Server) reject(c *client, status, text string, sending bool) {
	_ = c.Conn.SetDeadline(time.Now().Add(s.o.HelloTimeout))
	_, _ = fmt.Fprintf(c.Conn, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n%s: %s\n", status, status, text)
	if sending {
		_ = sock.HalfClose(c.Conn)
		_ = c.Conn.SetReadDeadline(time.Now().Add(rejectTime))
		_, _ = io.Copy(io.Discard, c.Conn)
	}
	_ = c.awaitAck()
	sock.Reset(c.Conn)
	c.fail()
	_ = c.Close()
}
