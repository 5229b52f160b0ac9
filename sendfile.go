package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/sock"
)

// This file is --send-file: exactly the bytes of a file, for any peer.

// sendFile sends exactly the bytes of --send-file, from the start for every
// client, and receives to stdout meanwhile.
func sendFile(ctx context.Context, t *talker, c net.Conn) error {
	s, err := t.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	in, done, err := t.input.NewReader(ctx, s.interrupt)
	if err != nil {
		return fmt.Errorf("send to %s: %w", s.peer, err)
	}
	defer done()
	s.in, s.inName, s.file = in, t.sendFile, t.sendFile
	r := &ackReport{session: s, size: -1}
	if exact, ok := in.(*fdio.Exact); ok {
		r.size = exact.Size
	}
	if t.file.sum {
		s.newSendCopier = func(dst io.Writer, src io.Reader, filters ...copier.Filter) copier.Copier {
			c, sum := copier.NewHashing(dst, src, -1, filters...)
			r.digest = sum
			return c
		}
	}
	s.onDone = r.onDone
	if err := s.relay(ctx); err != nil {
		t.log.logRawFailed(s.file, err, "", 0)
		return err
	}
	event := []field{{"path", s.file}, {"size", s.sent.bytes.Load()}, {"status", "sent"}}
	if r.digest != nil {
		event = append(event, field{"sha256", hex.EncodeToString(r.digest.SHA256)})
	}
	t.log.event("file", event...)
	t.log.informf("%s: %s", s.peer, r.text)
	return nil
}

// An ackReport is the result of a --send-file.
type ackReport struct {
	*session
	size   int64       // of the file in bytes; -1: a pipe, or another file of no size
	digest *copier.Sum // nil without --sum
	text   string      // of a success
}

// onDone returns the session's error, or one if the file was not read to its
// end or is not acknowledged. Otherwise it sets text, which describes the
// success.
func (r *ackReport) onDone(d *teardown) error {
	size := r.size
	if size < 0 {
		size = r.sent.bytes.Load()
	}
	acked, known := sock.Acked(r.conn, !r.t.listen, size)
	acker, system := "peer", "the other end's system"
	if r.t.proxied {
		acker, system = "proxy", "the proxy's system"
		acked, known = sock.AckedByQueue(r.conn, size)
	}
	switch {
	case d.failed != nil && (d.localFailed || d.reason == interrupted || !known || r.t.encrypted):
		return d.failed
	case d.failed != nil:
		return fmt.Errorf("%w; %s acknowledged %d of %d bytes", d.failed, acker, acked, size)
	case known && acked < size:
		return fmt.Errorf("send to %s: %s; %s acknowledged %d of %d bytes", r.peer, d.reason, acker, acked, size)
	case d.sendOpen: // a limit was reached in the middle of a pipe, or where nothing acknowledges
		return fmt.Errorf("send to %s: %s before the end of %s", r.peer, d.reason, r.inName)
	}
	r.text = fmt.Sprintf("sent %d bytes", size)
	if r.digest != nil {
		r.text += ", sha256 " + hex.EncodeToString(r.digest.SHA256)
	}
	if r.t.encrypted {
		r.text += "; the other end has taken all of them"
	} else {
		r.text += "; " + deliveryText(system, known, d.peerFinished)
	}
	return nil
}

// deliveryText words whether the system at the other end of the connection has
// acknowledged all bytes, and whether the peer has closed.
func deliveryText(system string, acknowledged, closed bool) string {
	switch {
	case acknowledged && closed:
		return system + " acknowledged all of them and closed; a plain peer cannot confirm that it stored them"
	case acknowledged:
		return system + " acknowledged all of them, but had not closed when this end did; a plain peer cannot confirm that it stored them"
	case closed:
		return "the other end closed in order; nothing acknowledges bytes here, and a plain peer cannot confirm that it read or stored them"
	}
	return "the other end had not closed when this end did; nothing acknowledges bytes here, and a plain peer cannot confirm that it read or stored them"
}
