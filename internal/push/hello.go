package push

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"purr/internal/sock"
)

// The fields of a hello and its answer, beside Upgrade.
const (
	fieldRole    = "Purr"             // the end's own role
	fieldStream  = "Purr-Stream"      // names a transfer to its further connections
	fieldDigests = "Want-Repr-Digest" // the digests that the end can compute (RFC 9530, section 4)
	digests      = "sha-256=10"
)

// Streams are the transfers under way at one listener, by the names that
// further connections give. The zero value is ready for use.
type Streams struct {
	mu     sync.Mutex
	byName map[string]*Conn
}

// add gives a transfer a random name that cannot be guessed, by which further
// connections join it. On a nil Streams the transfer gets no name, and none can
// join.
func (s *Streams) add(c *Conn) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = make(map[string]*Conn)
	}
	c.name = rand.Text()
	s.byName[c.name] = c
}

// remove makes the name of a transfer unknown, so that no connection joins it
// any more.
func (s *Streams) remove(c *Conn) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byName, c.name)
}

// find returns the transfer of a name; nil if there is none.
func (s *Streams) find(name string) *Conn {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byName[name]
}

// ErrJoined is returned by Upgrade for a further connection that has joined its
// transfer. The transfer owns the connection from then on, and the handler only
// returns.
var ErrJoined = errors.New("the connection belongs to a transfer under way")

// ErrNotJoined is returned by Upgrade for a further connection whose transfer
// is over or has enough connections. The caller answers nothing.
var ErrNotJoined = errors.New("the transfer has no room for a further connection")

// IsHello reports whether a request is the hello of a purr, in any version:
// Upgrade answers it.
func IsHello(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/" && r.Header.Get(fieldRole) != "" &&
		(r.ProtoMajor == 2 || r.Header.Get("Upgrade") != "")
}

// Upgrade answers the hello of a purr that dialled, and takes the connection
// over from the HTTP server (http.Hijacker): the Conn closes it. After an error
// the caller answers nothing. The error is ErrJoined, ErrNotJoined, or an
// *Error of the kind SameRole (409), OldVersion (426), Refused (503, by
// Options.Admit), Violation (400 or 500) or Cut.
func Upgrade(w http.ResponseWriter, r *http.Request, as Role, o Options) (*Conn, error) {
	w.Header().Set(fieldRole, string(as))
	asked := Role(r.Header.Get(fieldRole))
	if !canUpgrade(r.ProtoMajor, r.ProtoMinor) || r.Header.Get("Upgrade") != Protocol || !canHash(r.Header) {
		w.Header().Set("Upgrade", Protocol)
		e := errorf(OldVersion, "another version of purr: this one speaks %s", Protocol)
		return nil, refuse(w, http.StatusUpgradeRequired, e)
	}
	switch {
	case asked == as:
		return nil, refuse(w, http.StatusConflict, errorf(SameRole, "this end is a %s, too", as))
	case asked != as.Other():
		return nil, refuse(w, http.StatusBadRequest, errorf(Violation, "a role that there is not"))
	}
	if name := r.Header.Get(fieldStream); name != "" {
		return nil, o.Streams.join(w, name, as)
	}
	if o.Admit != nil {
		if err := o.Admit(); err != nil {
			return nil, refuse(w, http.StatusServiceUnavailable, errorf(Refused, "%v", err))
		}
	}
	c := newConn(as, o)
	st, err := c.hijack(w)
	if err != nil {
		return nil, refuse(w, http.StatusInternalServerError, errorf(Violation, "%v", err))
	}
	st.first = true
	c.first, c.streams = st, []*stream{st} // before a further one can join
	o.Streams.add(c)
	if err := st.answer(as, c.name); err != nil {
		o.Streams.remove(c)
		c.report(st.conn, cut(err, as, c.o.Silence))
		_ = st.conn.Close()
		return nil, cut(err, as, c.o.Silence)
	}
	return c, nil
}

// canUpgrade reports whether a version of HTTP has the Upgrade field: 1.1 has,
// 1.0 must ignore it and 2 forbids it (RFC 9110, 7.8; RFC 9113, 8.2.2).
func canUpgrade(major, minor int) bool { return major == 1 && minor >= 1 }

// canHash reports whether the header h of a hello or its answer offers SHA-256,
// the only digest of the protocol.
func canHash(h http.Header) bool { return strings.Contains(h.Get(fieldDigests), "sha-256") }

// refuse answers a hello with the status code and the text of e as one line. It
// returns e.
func refuse(w http.ResponseWriter, code int, e *Error) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, e.Text)
	return e
}

// join adds the connection of a hello to the transfer called name, and answers
// the hello. It never returns nil: the error is ErrJoined if the connection was
// added, else ErrNotJoined.
func (s *Streams) join(w http.ResponseWriter, name string, as Role) error {
	c := s.find(name)
	if c == nil || c.role != as || !c.hasRoom() {
		_ = refuse(w, http.StatusConflict, errorf(Refused, "%v", ErrNotJoined))
		return ErrNotJoined
	}
	st, err := c.hijack(w)
	if err != nil {
		return ErrNotJoined
	}
	if !c.join(st, func() error { return st.answer(as, "") }) {
		_ = st.conn.Close()
		return ErrNotJoined
	}
	return ErrJoined
}

// Dial takes over conn and sends a hello on it. It returns once the other end
// has shown that it is a purr in the other role: until then no name and no byte
// of a file is sent. If it fails, it closes conn, and the error is an *Error or
// the context's cause.
func Dial(ctx context.Context, conn net.Conn, as Role, o Options) (*Conn, error) {
	c := newConn(as, o)
	c.peer = host(conn)
	st, name, err := c.hello(ctx, conn, "")
	if err != nil {
		c.cancel(err)
		c.report(conn, err)
		_ = conn.Close()
		return nil, err
	}
	c.name = name
	st.first = true
	c.first, c.streams = st, []*stream{st}
	return c, nil
}

// host returns the Host field of a hello on conn: the address and port, not the
// name that was typed, because the other end may not know itself by that name.
func host(conn net.Conn) string {
	remote := sock.AddrPort(conn.RemoteAddr())
	if !remote.IsValid() {
		return "localhost"
	}
	return netip.AddrPortFrom(remote.Addr().Unmap().WithZone(""), remote.Port()).String()
}

// firstLine returns the first line of an answer's body as the reason of a
// refusal, or the HTTP status if the body has none.
func firstLine(resp *http.Response) string {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.Status
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if line == "" {
		return resp.Status
	}
	return line
}

// isHTML reports whether a text begins as an HTML page does.
func isHTML(text string) bool {
	text = strings.ToLower(text)
	return strings.HasPrefix(text, "<!doctype html") || strings.HasPrefix(text, "<html")
}
