package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/sock"
	"purr/internal/store"
	"purr/internal/sys"
)

// This file is --recv-file: the bytes of any peer become a file that gets its
// name when it is complete.

// recvFile receives from c until the peer half-closes, and stores the bytes as
// --recv-file. Every other end is an error, and stores nothing under that name.
func recvFile(ctx context.Context, t *talker, c net.Conn) error {
	s, err := t.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	in := &rawFile{session: s, path: t.file.recv}
	in.file, err = openRawFile(ctx, t)
	if err != nil {
		sock.Reset(c) // a FIN would mean success to the peer
		err = fmt.Errorf("receive from %s: %w", s.peer, err)
		t.log.logRawFailed(t.file.recv, err, "", 0)
		return err
	}
	defer in.file.Close()
	t.atExit(func() { in.file.Abort() })
	s.file, s.fileIn = t.file.recv, true
	s.out, s.outName, s.ownStdout = fdio.New(in.file.File, s.out.Interrupt), t.file.recv, false
	s.newReceiveCopier = in.newCopier
	s.onDone = in.onDone
	if err := s.relay(ctx); err != nil {
		partial, kept := in.file.Abort()
		t.log.logRawFailed(s.file, err, partial, kept)
		return err
	}
	t.log.event("file", field{"path", s.file}, field{"size", in.digest.Size}, field{"sha256", hex.EncodeToString(in.digest.SHA256)}, field{"status", "stored"})
	t.log.informf("%s: %s", s.peer, in.summary())
	return nil
}

// A rawFile is a session whose received bytes become a file.
type rawFile struct {
	*session
	path   string // as the user gave it
	file   *store.RawFile
	digest *copier.Sum
}

// openRawFile opens the file of --recv-file. The caller closes it. A partial
// file that --keep-partial keeps is logged.
func openRawFile(ctx context.Context, t *talker) (*store.RawFile, error) {
	o := store.RawOptions{Force: t.file.force, Direct: t.file.direct, Wait: t.idleTimeout}
	if t.file.keepPartial {
		o.Kept = func(path string, size int64, err error) {
			if err != nil {
				t.log.warnf("%s: %v", path, sys.Cause(err))
			} else {
				t.log.warnf("kept %d bytes in %s", size, path)
			}
		}
	}
	return store.OpenRaw(ctx, t.file.recv, o)
}

// newCopier returns the receiving copier of the session, and sets digest, which
// that computes. Long runs of zeros become holes in the file.
func (in *rawFile) newCopier(dst io.Writer, src io.Reader, filters ...copier.Filter) copier.Copier {
	c, sum := copier.NewHashing(in.file.Writer(dst), src, in.t.file.expectSize, filters...)
	in.digest = sum
	return c
}

// onDone stores the file if the peer has half-closed, and size and digest are
// as expected. Otherwise its error resets the connection, which is still open.
func (in *rawFile) onDone(d *teardown) error {
	var more copier.LimitError
	switch {
	case errors.As(d.failed, &more):
		return in.unexpected("more than the expected %d bytes came", more.Limit)
	case d.failed != nil:
		return d.failed
	case !d.peerFinished:
		return fmt.Errorf("receive from %s: %s before the peer had finished", in.peer, d.reason)
	}
	expect := in.t.file
	switch size, sum := in.digest.Size, in.digest.SHA256; {
	case expect.expectSize >= 0 && size != expect.expectSize:
		return in.unexpected("%d bytes came, and %d were expected", size, expect.expectSize)
	case expect.expectSHA256 != nil && !bytes.Equal(sum, expect.expectSHA256):
		return in.unexpected("%d bytes with sha256 %x came, and %x was expected", size, sum, expect.expectSHA256)
	}
	if err := in.file.Commit(); err != nil {
		return fmt.Errorf("store %s: %w", in.path, sys.Cause(err))
	}
	return nil
}

// unexpected returns the error for a file of another size or digest than the
// expected one.
func (in *rawFile) unexpected(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if !in.file.Direct() {
		what += ": nothing stored as " + in.path
	}
	return statusError{statusMismatch, fmt.Errorf("receive from %s: %s", in.peer, what)}
}

// summary returns the last line about a stored file, with the evidence that it
// is complete.
func (in *rawFile) summary() string {
	line := fmt.Sprintf("received %d bytes, sha256 %x, closed in order", in.digest.Size, in.digest.SHA256)
	switch expect := in.t.file; {
	case expect.expectSHA256 != nil:
		return line + "; the SHA-256 is the expected one"
	case expect.expectSize >= 0:
		return line + "; the size is the expected one"
	case in.t.encrypted || in.t.tls: // a killed sender sends no close_notify
		return line + "; the sender has said that this is the end"
	}
	return line + "; raw mode cannot tell a finished file from a killed sender: use --push/--pull, or --expect-size/--expect-sha256"
}

// checkRecvFile returns an error if --recv-file cannot be stored, before there
// is a connection.
func (c *config) checkRecvFile() error {
	path := c.file.recv
	switch {
	case len(c.ports) > 1:
		return errors.New("one name is for one conversation: give one port")
	case path == "-":
		return errors.New("- is no file: leave the option out to write to stdout, or say ./-")
	}
	var err error
	if c.file.direct, err = store.CheckRaw(path, c.file.force); errors.Is(err, store.ErrExists) {
		err = fmt.Errorf("%w: choose another name, or say --force to replace it", err)
	}
	return err
}
