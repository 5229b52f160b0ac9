package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"purr/internal/progress"
	"purr/internal/sock"
)

// A site is what a listener of --push or --pull shows over HTTP.
type site interface {
	// role is what this end does.
	role() role
	// serve answers one request. Paths and Host have been looked at.
	serve(w http.ResponseWriter, r *http.Request, v *visit)
	// track begins to count an exchange.
	track(v *visit) *progress.Transfer
	// converse holds an exchange with a purr that dialled, to its end. It
	// returns errLost if the connection ended before.
	converse(ctx context.Context, x *exchange, v *visit) error
	close() error
}

// A web serves a site to purrs, browsers and other clients on one listener.
type web struct {
	p        *purr
	site     site
	server   *http.Server
	conns    chan net.Conn // those that speak HTTP
	finished chan struct{} // full once a listener without -k has done what it was there for
	requests sync.WaitGroup
	guests   sync.WaitGroup // the accepting, and connections that are not closed
	origins  *http.CrossOriginProtection

	mu    sync.Mutex
	owner *visit            // whom a listener without -k serves
	lanes map[string]*visit // the visits of the exchanges under way, by what names them to lanes
	worst error             // what the run of one comes to: a statusError, or nil
}

type visitKey struct{}

// serveFiles is the listener of --push and --pull.
func (p *purr) serveFiles(ctx context.Context) error {
	defer p.holdExit()()
	s, err := p.newSite()
	if err != nil {
		return err
	}
	defer s.close()
	ln, err := p.listener.open(ctx)
	if err != nil {
		return err
	}
	defer ln.Close()
	p.warnOfClearText(ln)
	w := p.newWeb(ctx, s)
	guests, leave := context.WithCancelCause(ctx)
	go func() { _ = w.server.Serve(&webListener{w.conns, ln, make(chan struct{})}) }()
	if p.cfg.acceptTimeout > 0 {
		_ = ln.(deadliner).SetDeadline(time.Now().Add(p.cfg.acceptTimeout))
	}
	failed := make(chan error, 1)
	w.guests.Go(func() { failed <- w.accept(guests, ln) })
	select {
	case <-w.finished:
		w.stop(p.cfg.push.silence)
	case err = <-failed:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	_ = w.server.Close() // what is still under way is cut, and decides what stays on disk
	w.requests.Wait()
	leave(errServed)
	_ = ln.Close()
	w.guests.Wait()
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		err = w.worst
	}
	return err
}

// errServed is why connections are closed once a listener has done what it was
// there for.
var errServed = errors.New("done")

// holdExit keeps a signal from ending the process before the returned function
// is called: a receiver still has to decide what stays on disk, and a sender to
// name what was under way. Not for long.
func (p *purr) holdExit() (over func()) {
	done := make(chan struct{})
	p.atExit(func() {
		select {
		case <-done:
		case <-time.After(2 * time.Second):
		}
	})
	return func() { close(done) }
}

// newSite opens what the listener offers, or where it stores.
func (p *purr) newSite() (site, error) {
	if p.cfg.push.pull {
		return p.openInbox()
	}
	o, err := openOffer(p.cfg.push.paths, p.cfg.push.live)
	if err != nil {
		return nil, err
	}
	return &shelf{p, o}, nil
}

func (p *purr) newWeb(ctx context.Context, s site) *web {
	w := &web{
		p: p, site: s,
		conns:    make(chan net.Conn),
		finished: make(chan struct{}, 1),
		origins:  http.NewCrossOriginProtection(),
		lanes:    map[string]*visit{},
	}
	w.server = &http.Server{
		Handler:           w,
		ReadHeaderTimeout: p.cfg.push.helloTimeout,
		IdleTimeout:       p.cfg.push.silence,
		MaxHeaderBytes:    64 << 10,
		Protocols:         new(http.Protocols),
		HTTP2:             http2Settings(p.cfg.push.silence),
		ErrorLog:          log.New(noteWriter{p.log}, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, visitKey{}, c.(*visit))
		},
	}
	w.server.Protocols.SetHTTP1(true)
	w.server.Protocols.SetUnencryptedHTTP2(true)
	return w
}

// stop lets what is under way come to its end, unless that takes longer than
// the limit.
func (w *web) stop(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_ = w.server.Shutdown(ctx)
}

// noteWriter passes on what net/http says about single connections.
type noteWriter struct{ log *logger }

func (n noteWriter) Write(b []byte) (int, error) {
	n.log.notef(2, "%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// A webListener hands connections that were looked at to the HTTP server.
type webListener struct {
	conns  chan net.Conn
	socket net.Listener
	closed chan struct{}
}

func (l *webListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *webListener) Close() error {
	close(l.closed)
	return l.socket.Close()
}

func (l *webListener) Addr() net.Addr { return l.socket.Addr() }

// finish ends a listener without -k with an error, which is a statusError, or in
// order; under -k it says the error and goes on. What ends beside it or later
// still counts.
func (w *web) finish(v *visit, err error) {
	if w.p.cfg.keep {
		if err != nil {
			w.p.log.fail(errors.Unwrap(err))
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owner != nil && w.owner != v {
		if err != nil {
			w.p.log.fail(errors.Unwrap(err))
		}
		return
	}
	w.bookLocked(err)
	select {
	case w.finished <- struct{}{}:
	default:
	}
}

// book counts how something ended that is not all that a listener without -k is
// there for.
func (w *web) book(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bookLocked(err)
}

// bookLocked is book for those who hold mu. Of several errors the one with the
// highest status ends the run, and the others are said here.
func (w *web) bookLocked(err error) {
	if statedStatus(err) > statedStatus(w.worst) {
		err, w.worst = w.worst, err
	}
	if err != nil {
		w.p.log.fail(errors.Unwrap(err))
	}
}

// statedStatus is a statusError's status; 0 for nil.
func statedStatus(err error) int {
	var stated statusError
	_ = errors.As(err, &stated)
		return int(stated.status)
}

// claim makes a client the one whom a listener without -k serves, and reports
// whether it is. Until release nobody else is.
func (w *web) claim(v *visit) bool {
	if w.p.cfg.keep {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owner == nil {
		w.owner = v
	}
	return w.owner == v
}

func (w *web) release(v *visit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owner == v {
		w.owner = nil
	}
}

// busy is the answer to whoever cannot claim.
const busy = "busy with another client: listen with -k to serve several"

// ServeHTTP looks at what every request must fulfil, and lets the site or the
// exchange answer.
func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.requests.Add(1)
	defer w.requests.Done()
	v := r.Context().Value(visitKey{}).(*visit)
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	if !w.knows(r.Host) {
		// A page of another site whose name leads here must not be taken for
		// ours (DNS rebinding).
		refuse(rw, http.StatusMisdirectedRequest, fmt.Sprintf("this machine does not know itself as %q: use its address, or its name as it has it", r.Host))
		return
	}
	if err := w.origins.Check(r); err != nil {
		refuse(rw, http.StatusForbidden, "a page of another site may not do this")
		return
	}
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") == typeLines {
		w.exchange(rw, r, v)
		return
	}
	if lane := r.Header.Get(headerLane); lane != "" {
		v = w.laneOf(lane)
	}
	if v == nil || !v.begin(contactOf(r)) {
		refuse(rw, http.StatusBadRequest, "the exchange is over")
		return
	}
	defer v.end(contactOf(r))
	if lane := contactOf(r); lane != v.contact {
		if lane.of.CompareAndSwap(nil, v.contact) {
			w.p.joins()
		}
		if r.URL.Path == "/" {
			return // the lane is there: that was the question
		}
	}
	w.site.serve(rw, r, v)
}

// refuse answers with one line of text.
func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text)
}

// knows reports whether a Host field names this machine: an address, its own
// name, or the one that it was told to listen on.
func (w *web) knows(field string) bool {
	host, _, err := net.SplitHostPort(field)
	if err != nil {
		host = field
	}
	host = unbracketed(host)
	if _, err := netip.ParseAddr(host); err == nil || w.p.cfg.unix {
		return true
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	name := strings.ToLower(machineName())
	short, _, _ := strings.Cut(name, ".")
	for _, own := range []string{"localhost", name, short, short + ".local", strings.ToLower(w.p.cfg.host)} {
		if own != "" && host == own {
			return true
		}
	}
	return false
}

// warnOfClearText says who can read and send, if that is not this machine alone
// and there is no key.
func (p *purr) warnOfClearText(ln net.Listener) {
	bound := sock.AddrPort(ln.Addr()).Addr().Unmap()
	if p.cfg.key.given() || p.cfg.unix || bound.IsLoopback() {
		return
	}
	where := "every interface"
	if !bound.IsUnspecified() {
		where = interfaceName(bound)
	}
	p.log.warnf("clear text on %s: whoever reaches this port can take part, and others can listen in; --key-new makes a key", where)
}

// interfaceName is the interface that has the address, with it.
func interfaceName(addr netip.Addr) string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return addr.String()
	}
	for _, i := range interfaces {
		own, _ := i.Addrs()
		for _, a := range own {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == addr.WithZone("") {
				return fmt.Sprintf("%s (%s)", i.Name, addr)
			}
		}
	}
	return addr.String()
}

// machineName is what this machine calls itself.
func machineName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// exchange answers the request that lasts as long as a push or pull of a purr.
func (w *web) exchange(rw http.ResponseWriter, r *http.Request, v *visit) {
	rw.Header().Set(headerRole, string(w.site.role()))
	asked := role(r.Header.Get(headerRole))
	switch {
	case r.ProtoMajor != 2 || asked != roleSender && asked != roleReceiver || v.exchange.Load() != nil:
		refuse(rw, http.StatusBadRequest, "not an exchange between two purrs")
		return
	case !w.claim(v):
		refuse(rw, http.StatusServiceUnavailable, busy)
		return
	case asked == w.site.role():
		refuse(rw, http.StatusConflict, fmt.Sprintf("this end is a %s, too", asked))
		w.finish(v, statusError{6, fmt.Errorf("%s is a %s, too: one end says --push, the other --pull", v.name, asked)})
		return
	}
	rc := http.NewResponseController(rw)
	x := w.p.newExchange(rw, rc.Flush, &timedReader{r.Body, rc, 4 * beatPause})
	x.bar = w.site.track(v)
	defer x.bar.End()
	if !v.exchange.CompareAndSwap(nil, x) { // before the client can know, and send requests
		refuse(rw, http.StatusBadRequest, "not an exchange between two purrs")
		return
	}
	v.becomes(contactBusy)
	rw.Header().Set("Content-Type", typeLines)
	if lane, close := w.openLane(v); lane != "" {
		defer close()
		rw.Header().Set(headerLane, lane)
	}
	rw.WriteHeader(http.StatusOK)
	if rc.Flush() != nil { // it has gone before it began
		w.release(v)
		return
	}
	err := w.site.converse(r.Context(), x, v)
	if lost := x.close(); err == nil {
		err = lost
	}
	if err != nil && w.site.role() == roleSender { // a receiver takes in what has come, for a resume
		v.cutLanes()
	}
	v.finish()
	switch {
	case errors.Is(err, errLost):
		w.p.sayUnconfirmed(x, v.contact)
		if errors.As(context.Cause(r.Context()), new(signalError)) {
			return // our own end, which has its own words
		}
		what := ": transfer cut"
		if w.site.role() == roleSender {
			what = ": not confirmed"
		}
		err = v.lostError(v.name + what)
	case err == nil:
		v.becomes(contactFinished)
		err = failure(exitStatus(x.sum().Status))
	default: // it does not say what a purr says
		err = statusError{6, fmt.Errorf("%s: %w", v.name, err)}
	}
	w.finish(v, err)
}

// A timedReader gives each read so much time. It is what ends a client that is
// there but says nothing.
type timedReader struct {
	r     io.Reader
	rc    interface{ SetReadDeadline(time.Time) error }
	limit time.Duration
}

func (t *timedReader) Read(b []byte) (int, error) {
	_ = t.rc.SetReadDeadline(time.Now().Add(t.limit))
	n, err := t.r.Read(b)
	if err == io.EOF { // the connection may serve for more
		_ = t.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
