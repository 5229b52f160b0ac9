package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/sock"
	"purr/internal/sys"
)

// Between two purrs a large file has a lane: a further connection to the same
// port, with HTTP/1.1, where a body goes from the block that is hashed to the
// socket and from the socket into such a block. HTTP/2 copies it three times
// more and accounts for its windows. A request on a lane names the exchange
// that it belongs to; where no lane can be had, it goes beside the exchange.

// mostLanes is how many large files are under way at once.
const mostLanes = pushMemory / largeCost

// lanes are those of one exchange, at the end that dialled.
type lanes struct {
	name      string // what names the exchange
	transport *http.Transport
	ctx       context.Context // of the requests: ends with the exchange's own connection, or soon after

	mu     sync.Mutex
	full   bool // no more of them
	over   bool // whether close was called
	opened []*contact
}

// newLanes prepares lanes for an exchange that the listener calls name; nil if
// that is empty, or if this end may have one connection only. None is opened
// before it is needed.
//
// When the exchange's own connection ends, what is to be sent has nowhere to go.
// A receiver still takes in what has come over its lanes, for a resume: they
// end by themselves, or by the silence.
func (pr *peer) newLanes(ctx context.Context, as role, name string) *lanes {
	if name == "" || pr.p.cfg.sourcePort != 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(pr.contact.ctx, func() {
		if as == roleReceiver {
			time.AfterFunc(pr.contact.silence, cancel)
		} else {
			cancel()
		}
	})
	l := &lanes{name: name, ctx: ctx}
	l.transport = &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx, pr) },
		MaxConnsPerHost:        mostLanes,
		MaxIdleConnsPerHost:    mostLanes,
		IdleConnTimeout:        pr.p.cfg.push.silence / 2, // before the listener's
		DisableCompression:     true,
		ExpectContinueTimeout:  24 * time.Hour, // the other end may have to hash what it has
		MaxResponseHeaderBytes: 64 << 10,
	}
	return l
}

// errNoLane is why a request goes beside the exchange.
var errNoLane = errors.New("no further connection")

// dial opens a lane; errNoLane if the listener does not take it for one in good
// time, or did not the last time: something between the two ends may let so many
// connections through only, or the listener's clients be too many.
func (l *lanes) dial(ctx context.Context, pr *peer) (net.Conn, error) {
	l.mu.Lock()
	full := l.full
	l.mu.Unlock()
	if full {
		return nil, errNoLane
	}
	ctx, cancel := context.WithTimeout(ctx, pr.p.cfg.push.helloTimeout)
	defer cancel()
	lane, err := l.open(ctx, pr)
	if err == nil {
		return lane, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full = true; l.ctx.Err() == nil {
		pr.p.log.notef(2, "%s: %v: %v", pr.name, errNoLane, err)
	}
	return nil, errNoLane
}

// open connects, and asks the listener to take the connection as a lane.
func (l *lanes) open(ctx context.Context, pr *peer) (*contact, error) {
	p := pr.p
	conn, err := p.dialAgain(ctx, sock.Under(pr.contact.Conn))
	if err != nil {
		return nil, err
	}
	lane := p.newContact(conn)
	lane.of.Store(pr.contact)
	lane.closed = func() { p.sayParting(lane.parting()) }
	p.sayConnected("dial", conn.RemoteAddr(), conn.LocalAddr())
	if !l.keep(lane) {
		_ = lane.Close()
		return nil, errNoLane
	}
	stop := context.AfterFunc(ctx, func() { _ = lane.Close() })
	err = l.enter(lane, pr.request(ctx, http.MethodHead, "", nil, 0))
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = lane.Close()
		return nil, err
	}
	return lane, nil
}

// keep remembers a lane for close, and reports whether that is still to come.
func (l *lanes) keep(lane *contact) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = append(l.opened, lane)
	return !l.over
}

// enter sends the first request over a lane, which only asks whether it is one.
func (l *lanes) enter(lane *contact, req *http.Request) error {
	req.Header.Set(headerLane, l.name)
	if err := req.Write(lane); err != nil {
		return sys.Cause(err)
	}
	answer := bufio.NewReader(io.LimitReader(lane, 64<<10))
	resp, err := http.ReadResponse(answer, req)
	if err != nil {
		return err
	}
	drop(resp)
	if resp.StatusCode != http.StatusOK || answer.Buffered() > 0 {
		return errors.New(resp.Status)
	}
	return nil
}

// close closes the lanes that are still open, or being opened.
func (l *lanes) close() {
	if l == nil {
		return
	}
	l.transport.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	for _, lane := range l.opened {
		_ = lane.Close()
	}
}

// dialAgain opens another connection to where conn leads, from the same
// address, with the key if there is one. The caller closes it.
func (p *purr) dialAgain(ctx context.Context, conn net.Conn) (net.Conn, error) {
	var again net.Conn
	var err error
	if p.cfg.unix {
		again, err = p.dialer.connectUnix(ctx, 0)
	} else {
		var local netip.AddrPort
		if p.cfg.source != "" {
			local = netip.AddrPortFrom(sock.AddrPort(conn.LocalAddr()).Addr().Unmap(), 0)
		}
		remote := sock.AddrPort(conn.RemoteAddr())
		again, err = p.dialer.connect(ctx, local, netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()))
	}
	if err != nil {
		return nil, err
	}
	return p.secure(ctx, again)
}

// ask sends a request about a large file, over a lane if one can be had. It
// returns the connection that it went over, too; the exchange's own where the
// request failed before it had one. After an answer with a body the caller says
// when a lane is idle again.
func (pr *peer) ask(req *http.Request) (*http.Response, *contact, error) {
	over := pr.contact
	if pr.lanes == nil {
		resp, err := pr.client.RoundTrip(req)
		return resp, over, err
	}
	body, _ := req.Body.(*fileBody)
	quiet := newQuietWatch(pr.contact.silence)
	defer quiet.end()
	trace := quiet.trace()
	trace.GotConn = func(got httptrace.GotConnInfo) {
		over = got.Conn.(*contact)
		over.uses(1)
		quiet.over.Store(over)
		if body != nil {
			body.lane = over
		}
	}
	inLane := req.Clone(httptrace.WithClientTrace(pr.lanes.ctx, trace))
	inLane.Trailer = req.Trailer // which is filled in at the end of the body
	inLane.Header.Set(headerLane, pr.lanes.name)
	if body != nil {
		inLane.Body = unclosed{body}
	}
	resp, err := pr.lanes.transport.RoundTrip(inLane)
	if errors.Is(err, errNoLane) {
		resp, err = pr.client.RoundTrip(req)
		return resp, over, err
	}
	if err == nil && req.Method != http.MethodGet {
		pr.idle(over)
	}
	return resp, over, err
}

// A quietWatch closes a lane on which an answer is awaited and nothing comes for
// as long as a peer may be silent. There are no PINGs on a lane; whoever needs
// time for an answer says so (visit.working).
type quietWatch struct {
	limit time.Duration
	over  atomic.Pointer[contact] // nil until the request has a lane
	ended atomic.Bool
	timer *time.Timer
}

func newQuietWatch(limit time.Duration) *quietWatch {
	q := &quietWatch{limit: limit}
	q.timer = time.AfterFunc(limit, func() {
		if over := q.over.Load(); over != nil && !q.ended.Load() {
			over.fellSilent()
			_ = over.Close()
		}
	})
	q.timer.Stop()
	return q
}

// trace has the hooks of HTTP that a watch needs.
func (q *quietWatch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		WroteHeaders:   q.begin,
		Got100Continue: q.pause, // the receiver sees to it that a body comes
		WroteRequest:   func(httptrace.WroteRequestInfo) { q.begin() },
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			if code != http.StatusContinue {
				q.begin()
			}
			return nil
		},
	}
}

// begin allows for another silence, pause for any, and end ends the watch. HTTP
// may call begin after that.
func (q *quietWatch) begin() {
	if !q.ended.Load() {
		q.timer.Reset(q.limit)
	}
}
func (q *quietWatch) pause() { q.timer.Stop() }
func (q *quietWatch) end() {
	q.ended.Store(true)
	q.timer.Stop()
}

// working tells the end that dialled a lane, now and then until done is called,
// that an answer is being worked on: 102 Processing (RFC 2518, section 10.1).
// Meanwhile nothing else is read of the request or written of the answer.
func (v *visit) working(w http.ResponseWriter, r *http.Request) (done func()) {
	if v.exchange.Load() == nil || contactOf(r) == v.contact {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		pause := time.NewTicker(v.silence / 3)
		defer pause.Stop()
		for {
			select {
			case <-pause.C:
				w.WriteHeader(http.StatusProcessing)
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// An unclosed body is closed by whoever made it: HTTP also closes those that it
// has sent nothing of.
type unclosed struct{ *fileBody }

func (unclosed) Close() error { return nil }

// idle says that a request is done with its lane.
func (pr *peer) idle(over *contact) {
	if over != pr.contact {
		over.uses(-1)
	}
}

// openLane gives an exchange a name that nobody can guess, by which its lanes
// are known until it is closed; none where there is no room for a lane, or where
// it would count as one of so many clients.
func (w *web) openLane(v *visit) (name string, close func()) {
	if w.p.cfg.maxConns > 0 || w.p.clientLimit() <= mostLanes {
		return "", nil
	}
	name = rand.Text()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lanes[name] = v
	return name, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.lanes, name)
	}
}

// laneOf is the visit whose exchange has the name; nil if there is none.
func (w *web) laneOf(name string) *visit {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lanes[name]
}

// contactOf is the connection that a request came over.
func contactOf(r *http.Request) *contact { return r.Context().Value(visitKey{}).(*visit).contact }
