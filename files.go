package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/display"
	"purr/internal/offer"
	"purr/internal/progress"
	"purr/internal/push"
	"purr/internal/rate"
	"purr/internal/sock"
	"purr/internal/store"
	"purr/internal/sys"
	"purr/internal/tlsconn"
)

// This file is --push and --pull between two purrs: options in, events out. The
// stream is in internal/push, the files in internal/offer and internal/store.

const (
	defaultHello   = 5 * time.Second
	defaultSilence = 30 * time.Second
)

// A mover is the part of a run behind --push and --pull.
type mover struct {
	pushConfig
	*netOptions
	force       bool
	listen      bool
	keep        bool
	maxConns    int           // --max-conns; 0: no limit
	clientLimit int           // as descriptors allow
	limit       *rate.Limiter // --rate; nil: none
	log         *logger
	meter       *meter
	dialer      *dialer
	listener    *listener
	encryption  *encryption
	atExit      func(func())
}

// openStore opens the directory of --pull. The caller closes the store.
func (m *mover) openStore() (*store.Store, error) {
	s, err := store.Open(m.dir, store.Options{
		Force:    m.force,
		Rename:   m.rename,
		NoResume: m.noResume,
		Hidden:   m.encryption.provesPeers(), // which are trusted with hidden names
		MaxSize:  m.maxSize,
		Word:     wordRefusal,
		TimeLost: m.timeLost(),
	})
	if err != nil {
		return nil, fmt.Errorf("pull into %s: %w", m.dir, err)
	}
	return s, nil
}

// wordRefusal returns the text of a store's error, with the option, or the key
// at both ends, that would permit the file.
func wordRefusal(e *store.Error) string {
	switch e.Way {
	case store.ByLimit:
		return fmt.Sprintf("over --max-size %d: %d bytes left", e.Limit, e.Left)
	case store.ByHidden:
		return e.Text + " needs a key at both ends"
	case store.ByForce:
		return e.Text + ": only with --force"
	case store.ByRemovedLink:
		return e.Text + ": --force replaces files only"
	}
	return e.Text
}

// timeLost returns a function that warns of the first file or directory whose
// time the file system does not permit.
func (m *mover) timeLost() func(path string, err error) {
	var first sync.Once
	return func(path string, err error) {
		first.Do(func() {
			m.log.warnf("%s: stored without its time: %v; further ones are not named", display.Quote(path), err)
		})
	}
}

// pushTo sends the files of --push to the receiver, which listens. It returns
// nil once all of them are stored there and checked.
func (m *mover) pushTo(ctx context.Context, conn net.Conn) error {
	defer m.holdExit()()
	set, err := offer.Open(m.paths, m.live)
	if err != nil {
		return err
	}
	defer set.Close()
	t := &fileTransfer{mover: m, role: push.Sender, peer: connName(conn)}
	c, err := push.Dial(ctx, m.countConn(conn), push.Sender, t.dialOptions(conn))
	if err != nil {
		return t.refused(err)
	}
	defer c.Close()
	t.bar = m.meter.track(m.offerName(), 0, false)
	defer t.bar.End()
	return t.ended(c.Send(ctx, set))
}

// pullFrom fetches everything that the sender, which listens, offers. It
// returns nil once all of it is stored here and checked.
func (m *mover) pullFrom(ctx context.Context, conn net.Conn) error {
	defer m.holdExit()()
	dir, err := m.openStore()
	if err != nil {
		return err
	}
	defer dir.Close()
	t := &fileTransfer{mover: m, role: push.Receiver, peer: connName(conn)}
	c, err := push.Dial(ctx, m.countConn(conn), push.Receiver, t.dialOptions(conn))
	if err != nil {
		return t.refused(err)
	}
	defer c.Close()
	t.bar = m.meter.track("from "+t.peer, 0, false)
	defer t.bar.End()
	return t.ended(c.Receive(ctx, dir))
}

// offerName returns the name of the pushed files for the bar.
func (m *mover) offerName() string {
	if paths := m.paths; len(paths) > 1 {
		return fmt.Sprintf("%s and %d more", display.Quote(paths[0]), len(paths)-1)
	}
	return display.Quote(m.paths[0])
}

// A fileTransfer words the transfer with one purr. It implements push.Events.
type fileTransfer struct {
	*mover
	role push.Role
	peer string             // as messages name it
	bar  *progress.Transfer // nil: nothing is shown
	cut  atomic.Bool        // a message has named the end of the connection
}

// dialOptions are those of the end that dialled conn.
func (t *fileTransfer) dialOptions(conn net.Conn) push.Options {
	o := push.Options{Silence: t.silence, HelloTimeout: t.helloTimeout, Rate: t.limit, NoResume: t.noResume, Events: t, Closed: t.closed}
	if t.sourcePort == 0 { // else there can be one connection only
		o.Dial = func(ctx context.Context) (net.Conn, error) { return t.dialAgain(ctx, sock.Under(conn)) }
	}
	return o
}

// dialAgain opens a further connection to the peer of conn: under -s from the
// same local address, and encrypted if there is a key or --ssl. The caller
// closes it.
func (m *mover) dialAgain(ctx context.Context, conn net.Conn) (net.Conn, error) {
	var again net.Conn
	var err error
	if m.unix {
		again, err = m.dialer.connectUnix(ctx, 0)
	} else if m.dialer.proxied != nil {
		again, err = m.dialer.dialProxied(ctx, m.ports[0])
	} else {
		var local netip.AddrPort
		if m.source != "" {
			local = netip.AddrPortFrom(sock.AddrPort(conn.LocalAddr()).Addr().Unmap(), 0)
		}
		remote := sock.AddrPort(conn.RemoteAddr())
		again, err = m.dialer.connect(ctx, local, netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()))
	}
	if err == nil && !m.unix {
		err = m.dialer.announce(again)
	}
	if err == nil {
		again, err = m.encryption.secure(ctx, again)
	}
	if err != nil {
		return nil, err
	}
	m.meter.logConnect("dial", sock.RemoteAddr(again), again.LocalAddr())
	return m.countConn(again), nil
}

// countConn returns c with counters of its own, which also count for the run.
func (m *mover) countConn(c net.Conn) *sock.Counted {
	return &sock.Counted{Conn: c, TotalSent: &m.meter.Sent, TotalReceived: &m.meter.Received, Begun: time.Now()}
}

// closed logs the end of a connection that this end dialled.
func (t *fileTransfer) closed(conn net.Conn, err error) {
	t.log.logDisconnect(countedStats(conn.(*sock.Counted), transferEnd(err)))
}

// countedStats returns the figures for the last line of a connection. reason is
// how it has ended.
func countedStats(c *sock.Counted, reason string) connStats {
	sent, received := c.Sent.Load(), c.Received.Load()
	return connStats{peer: connName(c), reason: reason, sent: sent, received: received, begun: c.Begun}
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

// kindStatus returns the exit status for a failure of a kind.
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

// filesError returns nil for statusOK, else an error with the status. It has no
// line of its own: each file that failed has one already.
func filesError(status exitStatus) error {
	if status == statusOK {
		return nil
	}
	return statusError{status, reportedError{errors.New("not everything was stored")}}
}

// ended returns the error of the run for a transfer that has ended with err. If
// err is nil, it logs the totals and returns the status of the files as an
// error.
func (t *fileTransfer) ended(sum push.Summary, err error) error {
	var e *push.Error
	switch {
	case err == nil:
		how := "stored and verified"
		if t.role == push.Receiver && t.listen {
			how = "stored"
		}
		t.log.logTotal(t.role, how, sum)
		return filesError(kindStatus(sum.Worst))
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
		err = reportedError{err}
	}
	return statusError{kindStatus(e.Kind), err}
}

// refused words why a transfer has not begun, and adds the exit status. It
// returns errors of this end and of the handshake unchanged.
func (t *fileTransfer) refused(err error) error {
	var e *push.Error
	nothing, instead := "no file data was sent", "use --send-file"
	if t.role == push.Receiver {
		nothing, instead = "nothing was fetched", "use --recv-file"
	}
	switch {
	case !errors.As(err, &e), errors.As(err, new(statusError)), errors.As(err, new(*tlsconn.HandshakeError)): // this end's own, or the handshake's
		return err
	case e.Kind == push.Refused:
		return statusError{statusRefused, fmt.Errorf("%s: refused by the other end: %s", t.peer, e.Text)}
	case e.Kind == push.Cut:
		return statusError{statusUnknown, fmt.Errorf("%s: %s before its first answer: %s; try again, if it is a purr", t.peer, e.Text, nothing)}
	case e.Kind == push.SameRole:
		return statusError{statusNotPurr, fmt.Errorf("%s is a %s, too: one end says --push, the other --pull", t.peer, t.role)}
	case e.Kind == push.NotHTTP:
		err = errors.New("accepted the connection but does not speak HTTP: a plain netcat? " + nothing + "; " + instead)
	case e.Kind == push.NotPurr:
		err = errors.New("speaks HTTP but is no purr: " + nothing + "; use curl(1)")
	case e.Kind == push.NeedsKey:
		err = errors.New("expects a key: give this end the same one (--key-file or PURR_KEY); " + nothing)
	default:
		return statusError{statusNotPurr, fmt.Errorf("%s: %s", t.peer, e.Text)}
	}
	return statusError{statusNotPurr, fmt.Errorf("%s %w", t.peer, err)}
}

// Stored logs a stored file. It and the methods below implement push.Events.
func (t *fileTransfer) Stored(e push.FileEvent) { t.log.logStored(t.role, e) }

// Failed implements push.Events: it reports a file that was not sent or stored.
// One that was cut off changes the last line, see ended.
func (t *fileTransfer) Failed(e push.FileEvent) {
	switch {
	case t.role == push.Sender:
		t.log.logNotSent(e)
	case e.Path == "": // the names of directories and links were not synced
		t.log.warnf("%s: %s", t.dir, e.Reason)
	default:
		if e.Kind == push.Cut {
			t.cut.Store(true)
		}
		t.log.logNotStored(e)
	}
}

func (t *fileTransfer) Resuming(path string, at, size int64) {
	of := ""
	if size >= 0 {
		of = fmt.Sprintf(" of %d", size)
	}
	t.log.informf("%s: resuming at %d%s bytes", fileName(t.role, path), at, of)
}

func (t *fileTransfer) Expected(n int64) { t.bar.Grow(n) }

func (t *fileTransfer) Begun(path string) { t.bar.Rename(display.Quote(path)) }

func (t *fileTransfer) Moved(n int) { t.bar.Add(n) }

// Single implements push.Events: no further connection could be opened.
func (t *fileTransfer) Single(err error) {
	t.log.messagef(veryVerbose, "%s: no further connection: %v", t.peer, sys.Cause(err))
}
