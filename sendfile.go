package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/sock"
	"purr/internal/sys"
)

// This file is --send-file: exactly the bytes of a file for any peer, and at
// the end what is known of them there.

// sendFile sends exactly the bytes of --send-file, opened anew so that every
// client gets it from the start, and receives to stdout meanwhile.
func (p *purr) sendFile(ctx context.Context, c net.Conn) error {
	f, err := openPatiently(ctx, p.cfg.sendFile)
	if err != nil {
		return fmt.Errorf("send to %s: %w", connName(c), err)
	}
	defer f.Close()
	s, err := p.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	s.inName, s.file = p.cfg.sendFile, p.cfg.sendFile
	in := fdio.New(f, s.alarm)
	s.in = in
	d := &delivery{session: s}
	if in.Kind() == fdio.Regular {
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("send to %s: %w", s.peer, err)
		}
		if info.Size() > 0 { // a file in /proc says 0 and has something to read all the same
			d.file = &exactFile{File: in, size: info.Size(), left: info.Size()}
			s.in = d.file
		}
	}
	if p.cfg.file.sum {
		s.sendBy = func(dst io.Writer, src io.Reader, filters ...copier.Filter) copier.Copier {
			w, sum := copier.NewHashing(dst, src, -1, filters...)
			d.digest = sum
			return w
		}
	}
	s.conclude = d.conclude
	if err := s.relay(ctx); err != nil {
		p.rawFailed(s.file, err, "", 0)
		return err
	}
	event := []field{{"path", s.file}, {"size", s.sent.Load()}, {"status", "sent"}}
	if d.digest != nil {
		event = append(event, field{"sha256", hex.EncodeToString(d.digest.SHA256)})
	}
	p.log.event("file", event...)
	p.log.informf("%s: %s", s.peer, d.said)
	return nil
}

// A delivery is what a --send-file comes to.
type delivery struct {
	*session
	file   *exactFile  // nil: a pipe, or another file of no size
	digest *copier.Sum // of --sum; nil: nobody asked
	said   string      // once it has succeeded: what is known of it
}

// conclude compares what the peer's system has acknowledged with what there
// was to send.
func (d *delivery) conclude(e *ending) error {
	size := d.sent.Load()
	if d.file != nil {
		size = d.file.size
	}
	acked, known := sock.Acked(d.conn, !d.p.cfg.listen, size)
	switch {
	case e.failed != nil && (e.stdioFailed || e.why == interrupted || !known):
		return e.failed
	case e.failed != nil:
		return fmt.Errorf("%w; peer acknowledged %d of %d bytes", e.failed, acked, size)
	case known && acked < size:
		return fmt.Errorf("send to %s: %s; peer acknowledged %d of %d bytes", d.peer, e.why, acked, size)
	case e.sendOpen: // a limit was reached in the middle of a pipe, or where nothing acknowledges
		return fmt.Errorf("send to %s: %s before the end of %s", d.peer, e.why, d.inName)
	}
	d.said = fmt.Sprintf("sent %d bytes", size)
	if d.digest != nil {
		d.said += ", sha256 " + hex.EncodeToString(d.digest.SHA256)
	}
	d.said += "; " + whatIsKnown(known, e.peerEnded)
	return nil
}

// whatIsKnown says how far the bytes of a plain peer can be followed.
func whatIsKnown(acknowledged, closed bool) string {
	switch {
	case acknowledged && closed:
		return "the other end's system acknowledged all of them and closed; a plain peer cannot confirm that it stored them"
	case acknowledged:
		return "the other end's system acknowledged all of them, but had not closed when this end did; a plain peer cannot confirm that it stored them"
	case closed:
		return "the other end closed in order; nothing acknowledges bytes here, and a plain peer cannot confirm that it read or stored them"
	}
	return "the other end had not closed when this end did; nothing acknowledges bytes here, and a plain peer cannot confirm that it read or stored them"
}

// openPatiently opens a file for reading. While the process is out of
// descriptors it waits for one: the client that is being served has done
// nothing wrong.
func openPatiently(ctx context.Context, name string) (*os.File, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		f, err := os.Open(name)
		if !sys.OutOfDescriptors(err) {
			return f, err
		}
		if !sys.Sleep(ctx, pause) {
			return nil, context.Cause(ctx)
		}
	}
}

// An exactFile is a regular file of a known size: what is appended to it
// meanwhile is not sent, and one that shrinks is an error.
type exactFile struct {
	*fdio.File
	size, left int64
}

func (f *exactFile) Read(b []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-f.Interrupt.Done(): // nothing waits for a regular file, and so nothing else would end it
		return 0, fdio.ErrInterrupted
	default:
	}
	n, err := f.File.Read(b[:min(int64(len(b)), f.left)])
	f.left -= int64(n)
	if err == io.EOF {
		err = fmt.Errorf("file shrank while it was sent: %d of %d bytes", f.size-f.left, f.size)
	}
	return n, err
}
