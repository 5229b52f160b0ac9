package main

import (
	"bytes"
	"context"
	"crypto/rand"
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
	"unicode/utf8"

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

	dir     *os.Root // of the final name; nil: file is the pipe or device itself
	partial string   // the name in dir until then

	mu      sync.Mutex
	settled bool   // whether partial has become the file, or was given up
	keptIn  string // where --keep-partial has left what was given up, and
	kept    int64  // how many bytes it is
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
	if in.dir, err = os.OpenRoot(filepath.Dir(in.path)); err != nil {
		return nil, err
	}
	in.partial = besideName(filepath.Base(in.path))
	// Readable too, because it may be hashed behind the writing. The mode is
	// the one that it will keep.
	in.file, err = in.dir.OpenFile(in.partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		_ = in.dir.Close()
		return nil, fmt.Errorf("%s: %w", in.partialPath(), sys.Cause(err))
	}
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

// besideName is a name of its own beside base: hidden, and telling what it
// belongs to as far as a name of 255 bytes can.
func besideName(base string) string {
	suffix := ".purr-" + rand.Text()[:8]
	for len("."+base+suffix) > 255 {
		_, size := utf8.DecodeLastRuneInString(base)
		base = base[:len(base)-size]
	}
	return "." + base + suffix
}

func (in *rawFile) partialPath() string {
	return filepath.Join(filepath.Dir(in.path), in.partial)
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
	if in.dir != nil {
		what += ": nothing stored as " + in.path
	}
	return statusError{5, fmt.Errorf("receive from %s: %s", in.peer, what)}
}

// store puts what was received on stable storage and gives it its name.
func (in *rawFile) store() error {
	err := in.file.Sync()
	if in.dir == nil && cannotSync(err) {
		err = nil
	}
	// Some file systems (NFS, quotas) only say at the close that what was
	// written could not be stored.
	if err = errors.Join(err, in.file.Close()); err != nil || in.dir == nil {
		return err
	}
	dir, err := in.dir.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := in.rename(dir); err != nil {
		return err
	}
	if err := dir.Sync(); err != nil && !cannotSync(err) {
		return fmt.Errorf("it is complete, but its directory cannot be put on stable storage: %w", sys.Cause(err))
	}
	return nil
}

// cannotSync reports whether err only says that there is nothing to put on
// stable storage: a pipe, a terminal, a directory of some file systems.
func cannotSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported)
}

// rename gives the file its name, unless the run has given it up meanwhile.
func (in *rawFile) rename(dir *os.File) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.settled {
		return context.Canceled
	}
	name := filepath.Base(in.path)
	var err error
	if in.p.cfg.file.force {
		err = renameForce(in.dir, in.partial, name)
	} else if handled, failed := store.RenameNoReplace(dir, in.partial, name); handled {
		err = failed
	} else {
		err = linkNoReplace(in.dir, in.partial, name)
	}
	in.settled = err == nil
	return err
}

// renameForce renames from to to in dir, in the place of a regular file if
// there is one.
func renameForce(dir *os.Root, from, to string) error {
	if old, err := dir.Lstat(to); err == nil && !old.Mode().IsRegular() {
		return os.ErrExist
	}
	return dir.Rename(from, to)
}

// giveUp removes what was received so far, or with --keep-partial says where
// it is; once, and not if it was stored.
func (in *rawFile) giveUp(p *purr) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.dir == nil || in.settled {
		return
	}
	in.settled = true
	if !p.cfg.file.keepPartial {
		_ = in.dir.Remove(in.partial)
		return
	}
	info, err := in.dir.Lstat(in.partial)
	if err != nil {
		p.log.warnf("%s: %v", in.partialPath(), sys.Cause(err))
		return
	}
	in.keptIn, in.kept = in.partialPath(), info.Size()
	p.log.warnf("kept %d bytes in %s", in.kept, in.keptIn)
}

// close frees what the file holds, and gives up a file that was not
// stored.
func (in *rawFile) close() {
	in.giveUp(in.p)
	_ = in.file.Close()
	if in.dir != nil {
		_ = in.dir.Close()
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

// linkNoReplace renames from to to in dir by giving it a second name and
// taking the first away.
func linkNoReplace(dir *os.Root, from, to string) error {
	err := dir.Link(from, to)
	switch {
	case err == nil:
		return dir.Remove(from)
	case errors.Is(err, os.ErrExist):
		return err
	}
	// A file system without links. Whoever makes a file exclusively has the
	// name, and may replace what is his own.
	f, reserveErr := dir.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if reserveErr != nil {
		return reserveErr
	}
	_ = f.Close()
	if err := dir.Rename(from, to); err != nil {
		_ = dir.Remove(to)
		return err
	}
	return nil
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
