package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

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
	in, err := openRawFile(ctx, t)
	if err != nil {
		sock.Reset(c) // a FIN would mean success to the peer
		err = fmt.Errorf("receive from %s: %w", s.peer, err)
		t.log.logRawFailed(t.file.recv, err, "", 0)
		return err
	}
	defer in.close()
	in.session = s
	s.file, s.fileIn = t.file.recv, true
	s.out, s.outName, s.ownStdout = fdio.New(in.file, s.out.Interrupt), t.file.recv, false
	s.newReceiveCopier = in.newCopier
	s.onDone = in.onDone
	if err := s.relay(ctx); err != nil {
		in.abort(t)
		t.log.logRawFailed(s.file, err, in.keptIn, in.kept)
		return err
	}
	t.log.event("file", field{"path", s.file}, field{"size", in.digest.Size}, field{"sha256", hex.EncodeToString(in.digest.SHA256)}, field{"status", "stored"})
	t.log.informf("%s: %s", s.peer, in.summary())
	return nil
}

// A rawFile is a file that is being received: an AtomicFile, or directly a pipe
// or device.
type rawFile struct {
	*session
	path   string // as the user gave it
	file   *os.File
	digest *copier.Sum

	atomic *store.AtomicFile // nil: file is a pipe or device

	aborted sync.Once
	keptIn  string // path of the file that --keep-partial has kept
	kept    int64  // its size in bytes
}

// openRawFile opens the file of --recv-file. The caller closes it. The end of
// the run aborts a file that is not stored by then.
func openRawFile(ctx context.Context, t *talker) (*rawFile, error) {
	in := &rawFile{path: t.file.recv}
	var err error
	if t.file.direct {
		in.file, err = fdio.OpenWriter(ctx, in.path, t.idleTimeout)
		return in, err
	}
	replace := store.ReplaceNothing
	if t.file.force {
		replace = store.ReplaceFile
	}
	if in.atomic, err = store.CreateAtomic(in.path, replace); err != nil {
		return nil, err
	}
	in.file = in.atomic.File
	t.atExit(func() { in.abort(t) })
	return in, nil
}

// newCopier returns the receiving copier of the session, and sets digest, which
// that computes. Long runs of zeros become holes in the file.
func (in *rawFile) newCopier(dst io.Writer, src io.Reader, filters ...copier.Filter) copier.Copier {
	if in.atomic != nil {
		dst = in.atomic
	}
	c, sum := copier.NewHashing(dst, src, in.t.file.expectSize, filters...)
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
	if err := in.store(); err != nil {
		return fmt.Errorf("store %s: %w", in.path, sys.Cause(err))
	}
	return nil
}

// unexpected returns the error for a file of another size or digest than the
// expected one.
func (in *rawFile) unexpected(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if in.atomic != nil {
		what += ": nothing stored as " + in.path
	}
	return statusError{statusMismatch, fmt.Errorf("receive from %s: %s", in.peer, what)}
}

// store brings the file onto stable storage and gives it its name.
func (in *rawFile) store() error {
	if in.atomic != nil {
		return in.atomic.Commit()
	}
	err := in.file.Sync()
	if cannotSync(err) {
		err = nil
	}
	return errors.Join(err, in.file.Close())
}

// cannotSync reports whether err means that a pipe or device has no stable
// storage.
func cannotSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported)
}

// abort removes the partial file; with --keep-partial it keeps the file and
// logs its path and size. It does nothing if the file was stored, for a pipe or
// device, and in further calls.
func (in *rawFile) abort(t *talker) {
	if in.atomic == nil {
		return
	}
	in.aborted.Do(func() {
		if !t.file.keepPartial {
			in.atomic.Abort()
			return
		}
		path, size, err := in.atomic.Suspend()
		switch {
		case err != nil:
			t.log.warnf("%s: %v", path, sys.Cause(err))
		case path != "":
			in.keptIn, in.kept = path, size
			t.log.warnf("kept %d bytes in %s", in.kept, in.keptIn)
		}
	})
}

// close aborts a file that was not stored, and releases what it holds.
func (in *rawFile) close() {
	in.abort(in.t)
	if in.atomic != nil {
		_ = in.atomic.Close()
	} else {
		_ = in.file.Close()
	}
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
	_, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		if strings.HasSuffix(path, "/") {
			return fmt.Errorf("%s is a directory that does not exist: name the file in it", path)
		}
		return store.CheckDir(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	return c.checkExisting(path)
}

// checkExisting returns an error if the existing entry path cannot be replaced
// or written to. A link to a file is neither followed nor replaced: the user
// may have meant either. For a pipe or device it sets file.direct.
func (c *config) checkExisting(path string) error {
	info, err := os.Stat(path)
	if target, linkErr := os.Readlink(path); linkErr == nil && (err != nil || info.Mode().IsRegular()) {
		return fmt.Errorf("%s is a symbolic link to %s: name the file itself, or remove the link", path, target)
	}
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return fmt.Errorf("%s is a directory: name a file in it", path)
	case mode&os.ModeSocket != 0:
		return fmt.Errorf("%s is a socket: name a file", path)
	case !mode.IsRegular():
		c.file.direct = true
		return store.CheckWritable(path)
	case !c.file.force:
		return fmt.Errorf("%s exists: choose another name, or say --force to replace it", path)
	}
	if err := store.CheckDir(filepath.Dir(path)); err != nil {
		return err
	}
	return store.CheckReplaceable(path)
}
