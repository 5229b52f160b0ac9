package main

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"time"
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
	attempt   sync.Once
	usable    bool // whether the attempt has succeeded

	mu     sync.Mutex
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

// dial opens a lane.
func (l *lanes) dial(ctx context.Context, pr *peer) (net.Conn, error) {
	p := pr.p
	conn, err := p.dialAgain(ctx, socketOf(pr.contact.Conn))
	if err != nil {
		return nil, err
	}
	lane := p.newContact(conn)
	lane.of.Store(pr.contact)
	lane.closed = func() {
		p.sayParting(lane.parting())
		p.part()
	}
	p.meet("dial", conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = append(l.opened, lane)
	return lane, nil
}

// close closes the lanes that are still open.
func (l *lanes) close() {
	if l == nil {
		return
	}
	l.transport.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
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
		again, err = p.connectUnix(ctx, 0)
	} else {
		var local netip.AddrPort
		if p.cfg.source != "" {
			local = netip.AddrPortFrom(addrPort(conn.LocalAddr()).Addr().Unmap(), 0)
		}
		remote := addrPort(conn.RemoteAddr())
		again, err = p.connect(ctx, local, netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()))
	}
	if err != nil {
		return nil, err
	}
	return p.secure(ctx, again)
}

// ask sends a request about a large file. It returns the connection that it
// went over, too; the exchange's own where the request failed before it had one.
// After an answer with a body the caller says when a lane is idle again.
func (pr *peer) ask(req *http.Request) (*http.Response, *contact, error) {
	over := pr.contact
	if pr.lanes == nil || !pr.lanes.open(pr) {
		resp, err := pr.client.RoundTrip(req)
		return resp, over, err
	}
	trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		over = got.Conn.(*contact)
		over.becomes(contactBusy)
		if body, ok := req.Body.(*fileBody); ok {
			body.lane = over
		}
	}}
	req.Header.Set(headerLane, pr.lanes.name)
	resp, err := pr.lanes.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(pr.lanes.ctx, trace)))
	if err == nil && req.Method != http.MethodGet {
		pr.idle(over)
	}
	return resp, over, err
}

// idle says that nothing is under way on a lane.
func (pr *peer) idle(over *contact) {
	if over != pr.contact {
		over.becomes(contactIdle)
	}
}

// open tries once whether there can be a lane: something between the two ends
// may let one connection through only, or the listener's clients be too many.
func (l *lanes) open(pr *peer) bool {
	l.attempt.Do(func() {
		ctx, cancel := context.WithTimeout(l.ctx, pr.p.cfg.push.helloTimeout)
		defer cancel()
		req := pr.request(ctx, http.MethodHead, "", nil, 0)
		req.Header.Set(headerLane, l.name)
		resp, err := l.transport.RoundTrip(req)
		if err != nil {
			pr.p.log.notef(2, "%s: no second connection: %v", pr.name, err)
			return
		}
		drop(resp)
		l.usable = resp.StatusCode == http.StatusOK
	})
	return l.usable
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
