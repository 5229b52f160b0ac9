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
	"time"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/sock"
	"purr/internal/store"
	"purr/internal/sys"
)

// This file is --recv-file: what any peer sends becomes a file whose name
// appears when it is complete, and never before.

// recvFile stores what c sends as --recv-file until the peer finishes in
// order. Every other ending is an error, and leaves nothing under that name.
func (p *purr) recvFile(ctx context.Context, c net.Conn) error {
	s, err := p.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	in, err := p.openRawFile(ctx)
	if err != nil {
		sock.Reset(c) // an orderly end would say that all was stored
		err = fmt.Errorf("receive from %s: %w", s.peer, err)
		p.rawFailed(p.cfg.file.recv, err, "", 0)
		return err
	}
	defer in.close()
	in.session = s
	s.file, s.fileIn = p.cfg.file.recv, true
	s.out, s.outName, s.only = fdio.New(in.file, s.out.Interrupt), p.cfg.file.recv, false
	s.receiveBy = in.way
	s.conclude = in.conclude
	if err := s.relay(ctx); err != nil {
		in.giveUp(p)
		p.rawFailed(s.file, err, in.keptIn, in.kept)
		return err
	}
	p.log.event("file", field{"path", s.file}, field{"size", in.digest.Size}, field{"sha256", hex.EncodeToString(in.digest.SHA256)}, field{"status", resultStored})
	p.log.informf("%s: %s", s.peer, in.said())
	return nil
}

// A rawFile is a file that is being received: beside its name until it is
// complete, or straight into what is no regular file.
type rawFile struct {
	*session
	path   string // of the final name, as the user gave it
	file   *os.File
	digest *copier.Sum

	atomic *store.AtomicFile // nil: file is the pipe or device itself

	given  sync.Once // giveUp
	keptIn string    // the file that --keep-partial has kept
	kept   int64     // its size in bytes
}

// openRawFile opens what will be received into. The caller closes it, which
// gives up what was not stored by then; so does the end of the run.
func (p *purr) openRawFile(ctx context.Context) (*rawFile, error) {
	in := &rawFile{path: p.cfg.file.recv}
	var err error
	if p.cfg.file.direct {
		in.file, err = openDirect(ctx, in.path, p.cfg.idleTimeout)
		return in, err
	}
	replace := store.ReplaceNothing
	if p.cfg.file.force {
		replace = store.ReplaceFile
	}
	if in.atomic, err = store.CreateAtomic(in.path, replace); err != nil {
		return nil, err
	}
	in.file = in.atomic.File
	p.atExit(func() { in.giveUp(p) })
	return in, nil
}

// openDirect opens a pipe or device; a FIFO once somebody reads it, within limit
// if that is not zero. What has become a regular file since the command line was
// checked is not written over.
func openDirect(ctx context.Context, path string, limit time.Duration) (*os.File, error) {
	begun := time.Now()
	f, err := os.OpenFile(path, os.O_WRONLY|sys.OpenNonblock, 0)
	for isUnreadFIFO(path, err) {
		if limit > 0 && time.Since(begun) >= limit {
			return nil, fmt.Errorf("%s: idle for %v and nobody reads it", path, limit)
		}
		if !sys.Sleep(ctx, 10*time.Millisecond) {
			return nil, context.Cause(ctx)
		}
		f, err = os.OpenFile(path, os.O_WRONLY|sys.OpenNonblock, 0)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		err = fmt.Errorf("%s has become a regular file", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// isUnreadFIFO reports whether err, of opening path, only says that nobody reads
// the FIFO yet (fifo(7)).
func isUnreadFIFO(path string, err error) bool {
	if !errors.Is(err, syscall.ENXIO) {
		return false
	}
	info, statErr := os.Stat(path)
	return statErr == nil && info.Mode()&os.ModeNamedPipe != 0
}

// way returns the fastest that was measured for a file which is hashed.
func (in *rawFile) way(dst io.Writer, src io.Reader, filters ...copier.Filter) copier.Copier {
	w, sum := copier.NewHashing(dst, src, in.p.cfg.file.expectSize, filters...)
	in.digest = sum
	return w
}

// conclude stores the file if the peer has finished in order. The peer is
// still connected, so that a reset can tell it if that fails.
func (in *rawFile) conclude(e *ending) error {
	var more copier.LimitError
	switch {
	case errors.As(e.failed, &more):
		return in.unexpected("more than the expected %d bytes came", more.Limit)
	case e.failed != nil:
		return e.failed
	case !e.peerEnded:
		return fmt.Errorf("receive from %s: %s before the peer had finished", in.peer, e.why)
	}
	if in.digest.Err != nil {
		return fmt.Errorf("store %s: %w", in.path, in.digest.Err)
	}
	expect := in.p.cfg.file
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

// unexpected is the error of a file that is not the one that was expected.
func (in *rawFile) unexpected(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if in.atomic != nil {
		what += ": nothing stored as " + in.path
	}
	return statusError{statusMismatch, fmt.Errorf("receive from %s: %s", in.peer, what)}
}

// store puts what was received on stable storage and gives it its name.
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

// giveUp removes what was received so far, or with --keep-partial says where
// it is; once, and not if it was stored.
func (in *rawFile) giveUp(p *purr) {
	if in.atomic == nil {
		return
	}
	in.given.Do(func() {
		if !p.cfg.file.keepPartial {
			in.atomic.Abort()
			return
		}
		path, size, err := in.atomic.Suspend()
		switch {
		case err != nil:
			p.log.warnf("%s: %v", path, sys.Cause(err))
		case path != "":
			in.keptIn, in.kept = path, size
			p.log.warnf("kept %d bytes in %s", in.kept, in.keptIn)
		}
	})
}

// close frees what the file holds, and gives up a file that was not
// stored.
func (in *rawFile) close() {
	in.giveUp(in.p)
	if in.atomic != nil {
		_ = in.atomic.Close()
	} else {
		_ = in.file.Close()
	}
}

// said is the last line of what was received: what is known of it, and what
// is not.
func (in *rawFile) said() string {
	line := fmt.Sprintf("received %d bytes, sha256 %x, closed in order", in.digest.Size, in.digest.SHA256)
	switch expect := in.p.cfg.file; {
	case expect.expectSHA256 != nil:
		return line + "; the SHA-256 is the expected one"
	case expect.expectSize >= 0:
		return line + "; the size is the expected one"
	case in.p.cfg.key.given(): // a sender that is killed does not say so: TLS's close_notify
		return line + "; the sender has said that this is the end"
	}
	return line + "; raw mode cannot tell a finished file from a killed sender: use --push/--pull, or --expect-size/--expect-sha256"
}

// checkRecvFile finds a --recv-file that cannot be stored before anybody
// connects.
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
		return checkStore(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	return c.checkExisting(path)
}

// checkStore finds a directory in which no file can be stored: one that cannot
// be written to, or not opened to be put on stable storage.
func checkStore(dir string) error {
	if err := checkDirectory(dir); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return root.Close()
}

// checkExisting looks at what has the name already. A link to a file is never
// followed, and never replaced either: which of the two is meant is not ours
// to guess.
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
		return checkWritableFile(path)
	case !c.file.force:
		return fmt.Errorf("%s exists: choose another name, or say --force to replace it", path)
	}
	if err := checkStore(filepath.Dir(path)); err != nil {
		return err
	}
	return checkReplaceable(path)
}
