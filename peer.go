package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"purr/internal/sock"
	"purr/internal/sys"
)

// A peer is the purr that was dialled, as an exchange sees it: one HTTP/2
// connection, without TLS of its own (the key's is underneath), and lanes for
// large files.
type peer struct {
	p       *purr
	contact *contact
	client  *http.ClientConn
	host    string // for the Host field
	name    string // as messages name it
	lanes   *lanes // nil if there are none
}

// errLost ends an exchange whose connection is gone. It is said once, by
// whoever ends the exchange.
var errLost = errors.New("connection lost")

// http2Settings are those of both ends: frames and windows large enough for a
// fast link, small enough for 64 MB, and PINGs that find a dead peer within
// the silence.
func http2Settings(silence time.Duration) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReadFrameSize:              256 << 10,
		MaxReceiveBufferPerConnection: 4<<20 - 1,
		MaxReceiveBufferPerStream:     4<<20 - 1,
		SendPingTimeout:               silence / 3,
		PingTimeout:                   silence - silence/3,
	}
}

// maxStreams is how many requests may be under way at once on one connection.
// Two purrs need few: small files go in none.
const maxStreams = 100

// newPeer begins HTTP/2 on a connection, which it takes over.
func (p *purr) newPeer(ctx context.Context, conn net.Conn) (*peer, error) {
	pr := &peer{p: p, contact: p.newContact(conn), host: "localhost", name: connName(conn)}
	if remote := sock.AddrPort(conn.RemoteAddr()); remote.IsValid() {
		// The address, not the name that was typed: the other end may not know
		// itself by it.
		pr.host = netip.AddrPortFrom(remote.Addr().Unmap().WithZone(""), remote.Port()).String()
	}
	transport := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return pr.contact, nil },
		Protocols:              new(http.Protocols),
		HTTP2:                  http2Settings(p.cfg.push.silence),
		DisableCompression:     true,
		ExpectContinueTimeout:  24 * time.Hour, // the other end may have to hash what it has; PINGs watch over it
		MaxResponseHeaderBytes: 64 << 10,
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	address := pr.host
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, "80")
	}
	pr.contact.becomes(contactBusy)
	var err error
	if pr.client, err = transport.NewClientConn(ctx, "http", address); err == nil {
		return pr, nil
	}
	_ = pr.contact.Close()
	p.sayParting(pr.contact.parting())
	if pr.contact.lost() {
		return nil, pr.contact.lostError(pr.name + ": nothing was moved")
	}
	return nil, fmt.Errorf("%s: %w", pr.name, sys.Cause(err))
}

// close ends the exchange and says the end of each connection.
func (pr *peer) close() {
	pr.lanes.close()
	_ = pr.client.Close()
	pr.p.sayParting(pr.contact.parting())
}

// work is the context of everything that is asked of the peer. When the run is
// stopped the contact is cut first: what ends because of that must not look as
// if the other end had given it up. The cause of a failed push or pull is
// errLost, or what stopped the run.
func (pr *peer) work(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		pr.contact.cut()
		cancel(context.Cause(ctx))
	})
	context.AfterFunc(work, func() { stop() })
	return work, cancel
}

// request prepares a request about a path; "" is the root. A body of an
// unknown length has size -1.
func (pr *peer) request(ctx context.Context, method, path string, body io.ReadCloser, size int64) *http.Request {
	r := &http.Request{
		Method:        method,
		URL:           &url.URL{Scheme: "http", Host: pr.host, Path: "/" + path},
		Header:        make(http.Header),
		Body:          body,
		ContentLength: size,
		Host:          pr.host,
		ProtoMajor:    1, // without it net/http does not wait for 100 Continue
		ProtoMinor:    1,
	}
	return r.WithContext(ctx)
}

// lost says how contact with the other end was lost: status 3, as the outcome
// is not known.
func (pr *peer) lost() error {
	return pr.contact.lostError(pr.name + ": not confirmed")
}

// begin opens the exchange: it returns when the other end has shown that it is
// a purr that does the other half. Until then not a byte of a file is sent.
// The caller ends the exchange by closing it and then the returned writer.
func (pr *peer) begin(ctx context.Context, as role) (*exchange, io.WriteCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { _ = w.CloseWithError(errLost) })
	req := pr.request(ctx, http.MethodPost, "", r, -1)
	req.Header.Set(headerRole, string(as))
	req.Header.Set("Content-Type", typeLines)
	hello := time.AfterFunc(pr.p.cfg.push.helloTimeout, cancel)
	resp, err := pr.client.RoundTrip(req)
	if !hello.Stop() || err != nil {
		cancel()
		return nil, nil, pr.stranger(as, err)
	}
	if answers := role(resp.Header.Get(headerRole)); resp.StatusCode != http.StatusOK || answers != as.other() {
		defer cancel()
		defer time.AfterFunc(pr.p.cfg.push.helloTimeout, cancel).Stop() // for what it says of it
		return nil, nil, pr.refusal(resp, as, answers)
	}
	pr.lanes = pr.newLanes(ctx, as, resp.Header.Get(headerLane))
	return pr.p.newExchange(w, nil, resp.Body), w, nil
}

// stranger says that the other end did not answer as a purr does.
func (pr *peer) stranger(as role, err error) error {
	first := pr.contact.beginning()
	nothing, instead := "no file data was sent", "use --send-file"
	if as == roleReceiver {
		nothing, instead = "nothing was fetched", "use --recv-file"
	}
	why := "accepted the connection but does not speak HTTP: a plain netcat? " + nothing + "; " + instead
	switch {
	case strings.HasPrefix(first, "purr: this port"):
		why = "expects a key: give this end the same one (--key-file or PURR_KEY); " + nothing
	case strings.HasPrefix(first, "HTTP/1"), isHTML(first): // HTTP/2's preface makes some leave their head out
		why = "speaks HTTP but is no purr: " + nothing + "; use curl(1)"
	case errors.As(err, new(statusError)): // the key's
		return err
	case first == "" && pr.contact.lost():
		return statusError{6, fmt.Errorf("%s closed the connection without a word: no purr? %s", pr.name, nothing)}
	}
	return statusError{6, fmt.Errorf("%s %s", pr.name, why)}
}

// isHTML reports whether a text begins as a page does.
func isHTML(text string) bool {
	text = strings.ToLower(text)
	return strings.HasPrefix(text, "<!doctype html") || strings.HasPrefix(text, "<html")
}

// refusal words an answer that is no welcome.
func (pr *peer) refusal(resp *http.Response, as, answers role) error {
	switch {
	case answers == as:
		return statusError{6, fmt.Errorf("%s is a %s, too: one end says --push, the other --pull", pr.name, as)}
	case answers == as.other():
		return statusError{4, fmt.Errorf("%s: refused by the other end: %s", pr.name, bodyLine(resp))}
	}
	return statusError{6, fmt.Errorf("%s speaks HTTP but is no purr: no file data was sent; use curl(1)", pr.name)}
}

// bodyLine is the line of text that an answer carries: why it is a refusal.
func bodyLine(resp *http.Response) string {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if line == "" {
		return resp.Status
	}
	return line
}

// drop ends an answer whose body nobody wants.
func drop(resp *http.Response) { _ = resp.Body.Close() }
