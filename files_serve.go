package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"purr/internal/display"
	"purr/internal/offer"
	"purr/internal/proc"
	"purr/internal/push"
	"purr/internal/qr"
	"purr/internal/sock"
	"purr/internal/web"
)

// This file is the listener of --push and --pull, for purrs, browsers and other
// clients of HTTP: options in, events out. internal/web serves them.

// serveFiles is the listener of --push and --pull.
func (m *mover) serveFiles(ctx context.Context) error {
	defer m.holdExit()()
	s := &fileServer{mover: m, role: push.Receiver}
	var server *web.Server
	if m.pull {
		dir, err := m.openStore()
		if err != nil {
			return err
		}
		defer dir.Close()
		server = web.NewReceiver(dir, s.options())
	} else {
		set, err := offer.Open(m.paths, m.live)
		if err != nil {
			return err
		}
		defer set.Close()
		s.role, s.set = push.Sender, set
		server = web.NewOffer(set, s.options())
	}
	s.uploads = &fileTransfer{mover: m, role: s.role}
	ln, err := m.listener.open(ctx)
	if err != nil {
		return err
	}
	defer ln.Close()
	m.warnOfClearText(ln)
	m.showPage(ln)
	clients, err := m.listener.clients(ctx, ln)
	if err != nil {
		return err
	}
	return s.worst(server.Serve(ctx, clients))
}

// holdExit keeps a signal from ending the process before release is called, for
// up to 2 s: a receiver has to keep or remove partial files, and a sender to
// name the files that are not confirmed.
func (m *mover) holdExit() (release func()) {
	return proc.Hold(m.atExit, 2*time.Second)
}

// warnOfClearText warns if other machines can take part without a key or a
// certificate. Without TLS they can also listen in.
func (m *mover) warnOfClearText(ln net.Listener) {
	bound := sock.AddrPort(ln.Addr()).Addr().Unmap()
	if m.encryption.provesPeers() || m.unix || bound.IsLoopback() {
		return
	}
	where := "every interface"
	if !bound.IsUnspecified() {
		where = sock.InterfaceName(bound)
	}
	if m.encryption.ssl.on {
		m.log.warnf("on %s: whoever reaches this port can take part; --ssl-client-ca demands certificates of clients", where)
		return
	}
	m.log.warnf("clear text on %s: whoever reaches this port can take part, and others can listen in; --key-new makes a key", where)
}

// showPage prints the URLs for browsers if stderr is a terminal or --qr is
// given. --qr also draws the first of them. With a key, over a Unix socket and
// under --json it prints nothing.
func (m *mover) showPage(ln net.Listener) {
	if m.encryption.on || m.unix || m.log.json || !m.qr && !m.meter.bar {
		return
	}
	addrs := sock.Reachable(sock.AddrPort(ln.Addr()), m.ipv6)
	for _, addr := range addrs {
		m.log.informf("for a browser: %s://%s/", m.scheme(), addr)
	}
	if m.qr {
		m.log.write([]byte(qr.Draw(fmt.Sprintf("%s://%s/", m.scheme(), addrs[0]))), false)
	}
}

// A fileServer words the events of a listener. It implements web.Events.
type fileServer struct {
	*mover
	role    push.Role
	set     *offer.Set    // of a sender
	uploads *fileTransfer // words those of clients that are no purr
}

// options returns the options of the web server, all but what it serves.
func (s *fileServer) options() web.Options {
	o := web.Options{
		Keep: s.keep, HelloTimeout: s.helloTimeout, Silence: s.silence, Rate: s.limit,
		MaxConns: s.clientLimit, NoResume: s.noResume, Hosts: []string{s.host}, TLS: s.pageTLS(), Prepare: s.prepare, Events: s,
	}
	if s.maxConns == 0 && o.MaxConns > 2 { // else further connections could take the place of clients
		o.Streams = &push.Streams{}
	}
	return o
}

// prepare greets a client and counts its bytes.
func (s *fileServer) prepare(ctx context.Context, conn net.Conn) (net.Conn, error) {
	s.listener.greet(ctx, conn)
	return s.countConn(conn), nil
}

// worst returns the end of the run: of several failures the one with the
// highest status. The others are reported here.
func (s *fileServer) worst(err error) error {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var worst error
	for _, err := range several.Unwrap() {
		err = s.failure(err)
		if statusOf(err) > statusOf(worst) {
			err, worst = worst, err
		}
		if err != nil {
			s.log.fail(errors.Unwrap(err))
		}
	}
	return worst
}

// failure words a web.ClientError, as an error with an exit status. It returns
// any other error unchanged, for it is worded already.
func (s *fileServer) failure(err error) error {
	var client *web.ClientError
	var files *web.FilesError
	switch {
	case !errors.As(err, &client): // was worded by prepare, or by End of a transfer
		return err
	case errors.As(err, &files) && files.Download && files.Worst == push.Cut:
		return filesError(statusFailed)
	case errors.As(err, &files):
		return filesError(kindStatus(files.Worst))
	case errors.Is(err, web.ErrTLS):
		err = fmt.Errorf("%s speaks TLS: if it is a purr with a key, give this end the same key (--key-file or PURR_KEY); for HTTPS, say --ssl", client.Client)
	case !errors.Is(err, web.ErrNotHTTP):
		return (&fileTransfer{mover: s.mover, role: s.role, peer: client.Client}).refused(client.Err)
	case s.role == push.Sender:
		err = fmt.Errorf("%s is not a purr receiver: nothing sent; for a plain netcat use --send-file FILE", client.Client)
	default:
		err = fmt.Errorf("%s is not a purr sender: nothing stored; for a plain netcat use --recv-file FILE", client.Client)
	}
	return statusError{statusNotPurr, err}
}

// Began and the others implement web.Events.
func (s *fileServer) Began(path string, size int64) web.Progress {
	return s.meter.track(display.Quote(path), size, false)
}

func (s *fileServer) Resuming(path string, at, size int64) { s.uploads.Resuming(path, at, size) }
func (s *fileServer) Stored(e push.FileEvent)              { s.uploads.Stored(e) }
func (s *fileServer) Failed(e push.FileEvent)              { s.uploads.Failed(e) }

// FormCut implements web.Events: the rest of a form is malformed or did not
// come.
func (s *fileServer) FormCut(client string, err error) {
	s.log.warnf("%s: transfer cut: %v", client, err)
}

// Downloaded implements web.Events: a file was sent to a client that confirms
// nothing, or was not sent.
func (s *fileServer) Downloaded(d web.Download) {
	name := display.Quote(d.Path)
	if d.Err == nil {
		s.log.report(unlessQuiet, "file", []field{{"path", d.Path}, {"size", d.Size}, {"status", "sent"}},
			"%s: %d bytes sent to %s, not confirmed: its system has all of them, only another purr can tell that they are stored", name, d.Size, d.Client)
		return
	}
	status := "failed"
	if d.Refused {
		status = "refused"
	}
	s.log.logFileFailed(d.Path, status, d.Err.Error(), "%s: not sent to %s: %v", name, d.Client, d.Err)
}

// Transfer implements web.Events: it begins to show what is exchanged with
// another purr.
func (s *fileServer) Transfer(client string) web.Transfer {
	t := &fileTransfer{mover: s.mover, role: s.role, peer: client}
	if s.role == push.Sender {
		t.bar = s.meter.track(s.offerName(), 0, false)
	} else {
		t.bar = s.meter.track("from "+client, 0, false)
	}
	return servedTransfer{t}
}

// A servedTransfer is a transfer at the end that listens.
type servedTransfer struct{ *fileTransfer }

// End reports the outcome and returns the error of the transfer in words.
func (t servedTransfer) End(sum push.Summary, err error) error {
	defer t.bar.End()
	return t.ended(sum, err)
}

// Joined implements web.Events: conn has joined an earlier connection of the
// same transfer and is no client of its own.
func (s *fileServer) Joined(conn net.Conn) {
	conn.(*sock.Counted).Joined.Store(true)
	s.meter.ConnJoined()
}

func (s *fileServer) Silent(client string) { s.log.verbosef("%s said nothing", client) }

func (s *fileServer) Note(text string) { s.log.messagef(veryVerbose, "%s", text) }

func (s *fileServer) ClientFailed(err error) { s.log.fail(errors.Unwrap(s.failure(err))) }

// Closed implements web.Events: it logs the last line of a connection and ends
// its count in the meter. Joined has done that for a further connection of a
// transfer.
func (s *fileServer) Closed(conn net.Conn, end web.Ending) {
	c := conn.(*sock.Counted)
	s.log.logDisconnect(countedStats(c, endingNames[end]))
	if !c.Joined.Load() {
		s.meter.ConnClosed()
	}
}

var endingNames = [...]string{
	web.ClosedHere:  "closed at this end",
	web.ClosedThere: peerFinished,
	web.Finished:    bothFinished,
	web.Interrupted: interrupted,
	web.Broken:      "failed",
}
