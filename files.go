package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"purr/internal/display"
	"purr/internal/offer"
	"purr/internal/progress"
	"purr/internal/push"
	"purr/internal/sock"
	"purr/internal/store"
	"purr/internal/sys"
)

// This file is --push and --pull between two purrs: options in, events out. What
// they move, and how, is in internal/push, internal/offer and internal/store.

const (
	defaultHello   = 5 * time.Second
	defaultSilence = 30 * time.Second
)

// openOffer opens what --push names. The caller closes the set.
func (p *purr) openOffer() (*offer.Set, error) { return offer.Open(p.cfg.push.paths, p.cfg.push.live) }

// openStore opens the directory of --pull. The caller closes the store.
func (p *purr) openStore() (*store.Store, error) {
	c := p.cfg.push
	s, err := store.Open(c.dir, store.Options{
		Force:    p.cfg.file.force,
		Rename:   c.rename,
		NoResume: c.noResume,
		Hidden:   p.cfg.key.given(), // whoever holds the key may send what would be hidden
		MaxSize:  c.maxSize,
	})
	if err != nil {
		return nil, fmt.Errorf("pull into %s: %w", c.dir, err)
	}
	return s, nil
}

// pushTo sends what --push offers to a receiver that listens, and returns nil
// once all of it is stored there and checked.
func (p *purr) pushTo(ctx context.Context, conn net.Conn) error {
	defer p.holdExit()()
	set, err := p.openOffer()
	if err != nil {
		return err
	}
	defer set.Close()
	t := p.newTransfer(push.Sender, connName(conn))
	c, err := push.Dial(ctx, p.countConn(conn), push.Sender, t.dialOptions(conn))
	if err != nil {
		return t.refused(err)
	}
	defer c.Close()
	t.bar = p.track(p.offerName(), p.offerSize(set))
	defer t.bar.End()
	return t.ended(c.Send(ctx, set))
}

// pullFrom fetches all that a sender which listens offers, and returns nil
// once all of it is stored here and checked.
func (p *purr) pullFrom(ctx context.Context, conn net.Conn) error {
	defer p.holdExit()()
	dir, err := p.openStore()
	if err != nil {
		return err
	}
	defer dir.Close()
	t := p.newTransfer(push.Receiver, connName(conn))
	c, err := push.Dial(ctx, p.countConn(conn), push.Receiver, t.dialOptions(conn))
	if err != nil {
		return t.refused(err)
	}
	defer c.Close()
	t.bar = p.track("from "+t.peer, 0)
	defer t.bar.End()
	return t.ended(c.Receive(ctx, dir))
}

// offerName is what is pushed, for the bar.
func (p *purr) offerName() string {
	if paths := p.cfg.push.paths; len(paths) > 1 {
		return fmt.Sprintf("%s and %d more", display.Quote(paths[0]), len(paths)-1)
	}
	return display.Quote(p.cfg.push.paths[0])
}

// offerSize returns how many bytes all offered files have together, -1 if no
// share of it is shown: it takes a walk.
func (p *purr) offerSize(set *offer.Set) (bytes int64) {
	if p.progressStyle(false) == progress.Hidden {
		return -1
	}
	_, _ = set.Walk(offer.Files, func(e offer.Entry, skipped error) error {
		if skipped == nil {
			bytes += e.Size
		}
		return nil
	})
	return bytes
}

// A fileTransfer words the transfer with one purr. It implements push.Events.
type fileTransfer struct {
	p    *purr
	role push.Role
	peer string             // as messages name it
	bar  *progress.Transfer // nil: nothing is shown
	cut  atomic.Bool        // a message has named the end of the connection
}

func (p *purr) newTransfer(role push.Role, peer string) *fileTransfer {
	return &fileTransfer{p: p, role: role, peer: peer}
}

// options are those of either end.
func (t *fileTransfer) options() push.Options {
	c := t.p.cfg.push
	return push.Options{Silence: c.silence, HelloTimeout: c.helloTimeout, Rate: t.p.limit, NoResume: c.noResume, Events: t}
}

// dialOptions are those of the end that dialled conn.
func (t *fileTransfer) dialOptions(conn net.Conn) push.Options {
	o := t.options()
	o.Closed = t.closed
	if t.p.cfg.sourcePort == 0 { // else there can be one connection only
		o.Dial = func(ctx context.Context) (net.Conn, error) { return t.p.dialAgain(ctx, sock.Under(conn)) }
	}
	return o
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
	if err == nil {
		again, err = p.secure(ctx, again)
	}
	if err != nil {
		return nil, err
	}
	p.sayConnected("dial", again.RemoteAddr(), again.LocalAddr())
	return p.countConn(again), nil
}

// A countedConn counts what a connection moves, for the run and for its last
// line.
type countedConn struct {
	net.Conn
	traffic        *traffic
	begun          time.Time
	sent, received atomic.Int64 // bytes
	joined         atomic.Bool  // whether it is a further one of a transfer
}

func (p *purr) countConn(c net.Conn) *countedConn {
	return &countedConn{Conn: c, traffic: &p.traffic, begun: time.Now()}
}

// NetConn returns the connection underneath, as a tls.Conn does.
func (c *countedConn) NetConn() net.Conn { return c.Conn }

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	c.traffic.received.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	c.traffic.sent.Add(int64(n))
	return n, err
}

// closed says the last line of a connection that this end dialled.
func (t *fileTransfer) closed(conn net.Conn, err error) {
	t.p.log.logDisconnect(conn.(*countedConn).stats(transferEnd(err)))
}

// stats are those of the last line of the connection, which has ended so.
func (c *countedConn) stats(reason string) connStats {
	sent, received := c.sent.Load(), c.received.Load()
	return connStats{peer: connName(c), reason: reason, sent: sent, received: received, begun: c.begun,
		moved: fmt.Sprintf("sent %d bytes, received %d bytes", sent, received)}
}

// transferEnd names how a connection of a transfer has ended.
func transferEnd(err error) string {
	switch {
	case err == nil:
		return bothFinished
	case errors.As(err, new(*push.Error)):
		return "failed"
	}
	return interrupted
}

// kindStatus is the exit status that a failure of a kind makes.
func kindStatus(k push.Kind) exitStatus {
	switch k {
	case push.OK:
		return statusOK
	case push.Cut, push.Unsynced:
		return statusUnknown
	case push.Abandoned, push.Failed, push.Refused:
		return statusRefused
	case push.Damaged:
		return statusMismatch
	}
	return statusNotPurr
}

// ended says what a transfer comes to, and returns its end as the run's.
func (t *fileTransfer) ended(sum push.Summary, err error) error {
	var e *push.Error
	switch {
	case err == nil:
		how := "stored and verified"
		if t.role == push.Receiver && t.p.cfg.listen {
			how = "stored"
		}
		t.p.sayTotal(how, sum)
		return failure(kindStatus(sum.Worst))
	case !errors.As(err, &e):
		return err // this end's own, which has its own words
	case e.Kind == push.Violation:
		return statusError{statusNotPurr, fmt.Errorf("%s: %s", t.peer, e.Text)}
	}
	what := "not confirmed"
	if t.role == push.Receiver {
		what = "transfer cut"
	}
	err = fmt.Errorf("%s: %s: %s", t.peer, what, e.Text)
	if t.cut.Load() { // only the status is left: the outcome is not known
		err = saidError{err}
	}
	return statusError{kindStatus(e.Kind), err}
}

// refused words why there is no transfer with a peer that was dialled.
func (t *fileTransfer) refused(err error) error {
	var e *push.Error
	nothing, instead := "no file data was sent", "use --send-file"
	if t.role == push.Receiver {
		nothing, instead = "nothing was fetched", "use --recv-file"
	}
	switch {
	case !errors.As(err, &e), errors.As(err, new(statusError)): // this end's own, or the key's
		return err
	case e.Kind == push.Refused:
		return statusError{statusRefused, fmt.Errorf("%s: refused by the other end: %s", t.peer, e.Text)}
	case e.Kind == push.SameRole:
		return statusError{statusNotPurr, fmt.Errorf("%s is a %s, too: one end says --push, the other --pull", t.peer, t.role)}
	case e.Kind == push.NotHTTP:
		err = errors.New("accepted the connection but does not speak HTTP: a plain netcat? " + nothing + "; " + instead)
	case e.Kind == push.NotPurr:
		err = errors.New("speaks HTTP but is no purr: " + nothing + "; use curl(1)")
	case e.Kind == push.NeedsKey:
		err = errors.New("expects a key: give this end the same one (--key-file or PURR_KEY); " + nothing)
	case e.Kind == push.Mute:
		err = errors.New("closed the connection without a word: no purr? " + nothing)
	default:
		return statusError{statusNotPurr, fmt.Errorf("%s: %s", t.peer, e.Text)}
	}
	return statusError{statusNotPurr, fmt.Errorf("%s %w", t.peer, err)}
}

// Stored, Failed and the others implement push.Events.
func (t *fileTransfer) Stored(e push.FileEvent) {
	f := &store.Stored{Path: e.As, Size: e.Size, Digest: e.Digest, Identical: e.Identical}
	if t.role == push.Sender {
		t.p.sayStored(e.Path, f, e.Offset, e.Begun)
	} else {
		t.p.sayReceived(e.Path, f, e.Offset, e.Begun)
	}
}

func (t *fileTransfer) Failed(e push.FileEvent) {
	if t.role == push.Sender {
		t.notSent(e)
	} else {
		t.notStored(e)
	}
}

// notSent says, at the sender, why a file is not where it should be.
func (t *fileTransfer) notSent(e push.FileEvent) {
	name := display.Quote(e.Path)
	switch e.Kind {
	case push.Cut:
		t.p.sayFailed(e.Path, "unconfirmed", e.Reason, "%s: not confirmed", name)
	case push.Abandoned:
		t.p.sayFailed(e.Path, "failed", e.Reason, "%s: %s: not stored", name, e.Reason)
	case push.Damaged:
		t.p.sayFailed(e.Path, "damaged", e.Reason, "%s: %s", name, e.Reason)
	default:
		t.p.sayFailed(e.Path, "refused", e.Reason, "%s: refused by the other end: %s", name, e.Reason)
	}
}

// notStored says, at the receiver, why a file is not where it should be.
func (t *fileTransfer) notStored(e push.FileEvent) {
	name := strconv.Quote(e.Path)
	switch {
	case e.Path == "": // names of directories and links
		t.p.log.warnf("%s: %s", t.p.cfg.push.dir, e.Reason)
	case e.Kind == push.Cut:
		t.cut.Store(true)
		t.p.sayCut(e.Path, e.Reason, e.Partial, e.Kept, e.Size)
	case e.Kind == push.Abandoned:
		why := "the sender gave up"
		if e.Reason != "" {
			why += ": " + e.Reason
		}
		t.p.sayFailed(e.Path, "failed", why, "%s: %s; nothing stored", name, why)
	case e.Kind == push.Failed:
		t.p.sayFailed(e.Path, "failed", e.Reason, "%s not stored: %s", name, e.Reason)
	default:
		t.p.sayFailed(e.Path, "refused", e.Reason, "%s refused: %s", name, e.Reason)
	}
}

func (t *fileTransfer) Resuming(path string, at, size int64) {
	name := display.Quote(path)
	if t.role == push.Receiver {
		name = strconv.Quote(path)
	}
	t.p.sayResuming(name, at, size)
}

func (t *fileTransfer) Expected(n int64) { t.bar.Grow(n) }

func (t *fileTransfer) Moved(n int) { t.bar.Add(n) }

func (t *fileTransfer) Single(err error) {
	t.p.log.notef(2, "%s: no further connection: %v", t.peer, sys.Cause(err))
}
