package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"purr/internal/push"
)

// serveHTTP checks what holds for every request, and passes it on.
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

// isForeign reports whether a page of another site has made a browser fetch
// something, which could end a server without Keep. To follow a link is the
// user's own deed. Browsers send Sec-Fetch fields to encrypted and local
// addresses only; elsewhere Referer has the site of the page, unless that hides
// it.
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

// refuse answers with one line of text, which no page of another site can frame.
func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text)
}

var errBusy = errors.New(busy)

// isOwnName reports whether a Host field names this machine: by an address, its
// own name, or one of Hosts. On a Unix socket every name does.
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
	for _, own := range append([]string{"localhost", name, short, short + ".local"}, s.o.Hosts...) {
		if own != "" && strings.EqualFold(host, own) {
			return true
		}
	}
	return false
}

// machineName is this machine's own name.
func machineName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// lateEvents are those of a transfer, once it is admitted.
type lateEvents struct{ push.Events }

// transfer moves files from or to a client that is a purr, on a connection that
// package push takes over.
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

// notUpgraded handles the error of a hello, which was answered.
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
