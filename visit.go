package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/sock"
)

// A visit is one connection of a client's.
type visit struct {
	*contact
	web      *web
	name     string
	exchange atomic.Pointer[exchange] // nil unless the client is a purr

	requestsMu sync.Mutex
	requests   sync.WaitGroup           // those beside the exchange
	over       bool                     // no more of them
	under      map[*contact]int         // how many of them are under way on each connection
	uploads    map[string]chan struct{} // those of files, by path; closed at the end
}

// turn waits until no other upload of path is under way on this connection, and
// returns what ends its own. A sender that has given a file up sends it once
// more at once, while what came of it before may still be on its way to the disk.
func (v *visit) turn(path string) (end func()) {
	v.requestsMu.Lock()
	defer v.requestsMu.Unlock()
	for earlier := v.uploads[path]; earlier != nil; earlier = v.uploads[path] {
		v.requestsMu.Unlock()
		<-earlier
		v.requestsMu.Lock()
	}
	if v.uploads == nil {
		v.uploads = make(map[string]chan struct{})
	}
	own := make(chan struct{})
	v.uploads[path] = own
	return func() {
		v.requestsMu.Lock()
		defer v.requestsMu.Unlock()
		delete(v.uploads, path)
		close(own)
	}
}

// begin counts a request that came over a connection, the visit's own or a
// lane, unless the exchange that it belongs to is over. The caller calls end
// with the same connection if it is not.
func (v *visit) begin(over *contact) bool {
	v.requestsMu.Lock()
	defer v.requestsMu.Unlock()
	if v.over {
		return false
	}
	if v.under == nil {
		v.under = make(map[*contact]int)
	}
	v.under[over]++
	v.requests.Add(1)
	v.sayBusy(over, contactBusy)
	return true
}

func (v *visit) end(over *contact) {
	v.requestsMu.Lock()
	defer v.requestsMu.Unlock()
	if v.under[over]--; v.under[over] == 0 {
		delete(v.under, over)
		v.sayBusy(over, contactIdle)
	}
	v.requests.Done()
}

// sayBusy sets the state of a connection that requests come over, unless the
// exchange on it has the say.
func (v *visit) sayBusy(over *contact, state contactState) {
	if over != v.contact || v.exchange.Load() == nil {
		over.becomes(state)
	}
}

// cutLanes breaks off the requests that did not come over the visit's own
// connection: they do not notice that it has ended.
func (v *visit) cutLanes() {
	v.requestsMu.Lock()
	defer v.requestsMu.Unlock()
	for over := range v.under {
		if over != v.contact {
			_ = over.Close()
		}
	}
}

// finish waits for the requests under way, and allows no more.
func (v *visit) finish() {
	v.requestsMu.Lock()
	v.over = true
	v.requestsMu.Unlock()
	v.requests.Wait()
}

// accept takes connections until the listener is closed. Each is looked at in
// a goroutine of its own, so that one which says nothing keeps nobody waiting.
func (w *web) accept(ctx context.Context, ln net.Listener) error {
	slots := make(chan struct{}, w.p.clientLimit())
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		conn, err := w.p.listener.accept(ctx, ln)
		if err != nil {
			return err
		}
		_ = ln.(deadliner).SetDeadline(time.Time{}) // --accept-timeout is for the first
		w.guests.Add(1)
		go w.welcome(ctx, conn, func() {
			<-slots
			w.guests.Done()
		})
	}
}

// welcome finds out what a client speaks, and hands it to the HTTP server if
// it is that. gone is called when the client has gone.
func (w *web) welcome(ctx context.Context, conn net.Conn, gone func()) {
	w.p.listener.logAccept(ctx, conn)
	w.p.meet("accept", conn)
	secured, ok := w.secure(ctx, conn)
	if !ok {
		_ = conn.Close()
		w.p.part()
		gone()
		return
	}
	v := &visit{contact: w.p.newContact(secured), web: w, name: connName(secured)}
	v.contact.closed = func() {
		if ctx.Err() != nil && context.Cause(ctx) != errServed {
			v.interrupt()
		}
		w.p.sayParting(v.parting())
		if v.of.Load() == nil {
			w.p.part()
		}
		gone()
	}
	stop := context.AfterFunc(ctx, func() { _ = v.Close() })
	context.AfterFunc(v.contact.ctx, func() { stop() })
	first, err := w.sniff(v)
	switch {
	case ctx.Err() != nil: // it may have had more to say
	case errors.Is(err, os.ErrDeadlineExceeded) && first == "":
		// A netcat that waits for a file must not take an orderly end for an empty one.
		w.p.log.notef(1, "%s said nothing", v.name)
		w.dismiss(v, false)
	case err != nil && first == "":
		w.p.log.notef(1, "%s said nothing", v.name)
	case speaksHTTP(first):
		select {
		case w.conns <- v:
			return
		case <-ctx.Done():
		}
	default:
		w.turnAway(v, first)
	}
	_ = v.Close()
}

// sniff reads the beginning of what a client says. It stays to be read.
func (w *web) sniff(v *visit) (string, error) {
	_ = v.Conn.SetReadDeadline(time.Now().Add(w.p.cfg.push.helloTimeout))
	defer v.Conn.SetReadDeadline(time.Time{})
	b := make([]byte, 16)
	n := 0
	for n < len(b) && isPrefix(b[:n]) {
		m, err := v.Read(b[n:])
		n += m
		if err != nil {
			v.replay = b[:n]
			return string(b[:n]), err
		}
	}
	v.replay = b[:n]
	return string(b[:n]), nil
}

// isPrefix reports whether more bytes are needed to tell whether b begins a
// request: a method, and then a space (RFC 9112, section 3).
func isPrefix(b []byte) bool {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

func speaksHTTP(first string) bool {
	method, rest, ok := strings.Cut(first, " ")
	return ok && len(method) >= 3 && isPrefix([]byte(method)) && (rest == "" || rest[0] == '/' || rest[0] == '*' || rest[0] == 'h')
}

// turnAway ends a client that speaks something else, and says what it was taken
// for.
func (w *web) turnAway(v *visit, first string) {
	err := fmt.Errorf("%s is not a purr %s: nothing stored; for a plain netcat use --recv-file FILE", v.name, w.site.role().other())
	if w.site.role() == roleSender {
		err = fmt.Errorf("%s is not a purr receiver: nothing sent; for a plain netcat use --send-file FILE", v.name)
	}
	if strings.HasPrefix(first, "\x16\x03") {
		err = fmt.Errorf("%s speaks TLS: if it is a purr with a key, give this end the same key (--key-file or PURR_KEY)", v.name)
	}
	w.dismiss(v, true)
	w.finish(v, statusError{6, err})
}

// dismiss tells a client what this port is for, in a way that nc shows and a
// program understands, and resets the connection. A client that is sending, says
// talking, shall see the answer, but not take its bytes for received: those get a
// moment to leave first.
func (w *web) dismiss(v *visit, talking bool) {
	answer := "not a purr sender, curl or browser: nothing was stored; at this end, for a plain netcat: purr -l PORT --recv-file FILE"
	if w.site.role() == roleSender {
		answer = "not a purr receiver, curl or browser: nothing is sent; at this end, for a plain netcat: purr -l PORT --send-file FILE"
	}
	_ = v.Conn.SetDeadline(time.Now().Add(w.p.cfg.push.helloTimeout))
	_, _ = fmt.Fprintf(v.Conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request: %s\n", answer)
	if talking {
		_ = sock.HalfClose(v.Conn)
		_ = v.Conn.SetReadDeadline(time.Now().Add(turnAwayTime))
		_, _ = io.Copy(io.Discard, v.Conn)
	}
	_ = v.settle()
	sock.Reset(v.Conn)
	v.becomes(contactBusy)
	_ = v.Close()
}

// turnAwayTime is how long a client that speaks something else may go on.
const turnAwayTime = time.Second
