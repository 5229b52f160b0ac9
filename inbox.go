package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"purr/internal/digest"
	"purr/internal/progress"
	"purr/internal/relpath"
	"purr/internal/store"
	"purr/internal/sys"
)

// An inbox is the directory of --pull, with what is said about what comes in.
type inbox struct {
	p     *purr
	store *store.Store
	files chan struct{} // holds one for each file that is open to be written
}

// openInbox opens the directory. The caller closes the inbox's store.
func (p *purr) openInbox() (*inbox, error) {
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
	return &inbox{p, s, make(chan struct{}, openFiles())}, nil
}

// take receives the body of one file that begin has accepted. digest is called
// behind the last byte and returns the sender's, nil if it sent none. gone
// reports whether an error of the body's means that the connection has ended;
// if not, the sender gave the file up.
func (b *inbox) take(name string, in *store.Upload, size int64, body io.Reader, digest func() ([]byte, error), ct *contact, bar *progress.Transfer) (*store.Stored, error) {
	if err := in.Receive(body, bar.Add); err != nil {
		return nil, b.broke(name, in, size, err, ct)
	}
	sum, err := digest()
	if err != nil {
		in.Abort()
		return nil, err
	}
	return in.Commit(sum)
}

// broke ends a file whose body did not come to its end.
func (b *inbox) broke(name string, in *store.Upload, size int64, err error, ct *contact) error {
	if errors.As(err, new(*store.Error)) {
		in.Abort()
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		ct.fellSilent()
	}
	if !ct.lost() && isGivenUp(err) {
		in.Abort()
		return errGivenUp
	}
	ct.say()
	partial, kept := in.Suspend()
	b.p.sayCut(name, ct.why(), partial, kept, size)
	return errLost
}

// errGivenUp is the end of a file that the sender broke off while the
// connection lives on; it has its reasons, and tells them.
var errGivenUp = errors.New("the sender gave up")

// isGivenUp reports whether a body's error is about its request only. When a
// PING stays without an answer, too, a body ends while the connection has not
// been seen to.
func isGivenUp(err error) bool {
	return errors.As(err, new(streamError)) || errors.Is(err, io.ErrUnexpectedEOF)
}

// A streamError is what errors.As makes of net/http's own error of the same
// name, which has the same fields.
type streamError struct {
	StreamID, Code uint32
	Cause          error
}

func (e streamError) Error() string { return fmt.Sprintf("HTTP/2 error %d", e.Code) }

// givenUp is errGivenUp with what the sender says of it.
func givenUp(why string) error { return fmt.Errorf("%w: %s", errGivenUp, why) }

// sayRefused tells what was not stored and why, and returns the status that
// makes. errLost was said already.
func (b *inbox) sayRefused(name string, err error) (status int, why string) {
	var refused *store.Error
	switch {
	case errors.As(err, &refused):
		b.p.sayFailed(name, "refused", refused.Text, "%s refused: %s", strconv.Quote(name), refused.Text)
		return refusedStatus(refused.Kind), refused.Text
	case errors.Is(err, errLost):
		return 3, err.Error()
	case errors.Is(err, errGivenUp):
		b.sayGivenUp(name, err)
	default:
		b.p.sayFailed(name, "failed", err.Error(), "%s not stored: %v", strconv.Quote(name), err)
	}
	return 4, err.Error()
}

// sayGivenUp tells what the sender says that it does not send: a givenUp.
func (b *inbox) sayGivenUp(name string, err error) {
	b.p.sayFailed(name, "failed", err.Error(), "%s: %v; nothing stored", strconv.Quote(name), err)
}

// keep stores a small file.
func (b *inbox) keep(e *entry, name string, content []byte) (*store.Stored, error) {
	a, err := e.arrival(name)
	if err != nil {
		return nil, err
	}
	b.files <- struct{}{}
	defer func() { <-b.files }()
	in, done, err := b.store.Begin(a)
	if done != nil || err != nil {
		return done, err
	}
	if err := in.Receive(bytes.NewReader(content), func(int) {}); err != nil {
		in.Abort()
		return nil, err
	}
	return in.Commit(a.Digest)
}

// keepLater stores a small file that follows its line in an exchange, beside
// others, and answers with a line. memory bounds how many there are.
func (b *inbox) keepLater(ctx context.Context, x *exchange, e *entry, name string, memory *semaphore.Weighted, files *sync.WaitGroup) error {
	if e.Size < 0 || e.Size > store.SmallFile {
		return fmt.Errorf("a file of %d bytes behind its line", e.Size)
	}
	cost := e.Size + smallCost()
	if memory.Acquire(ctx, cost) != nil {
		return errLost
	}
	x.bar.Grow(e.Size)
	content, err := x.content()
	if err != nil {
		memory.Release(cost)
		return err
	}
	x.bar.Add(len(content))
	if !x.came.add(name) {
		memory.Release(cost)
		return b.refuse(x, e.Href, name, errTwice)
	}
	files.Add(1)
	go func() {
		defer files.Done()
		defer memory.Release(cost)
		f, err := b.keep(e, name, content)
		if err != nil {
			_ = b.refuse(x, e.Href, name, err) // a line that cannot be sent is the end of the exchange, which its reader finds
			return
		}
		_ = b.kept(x, e.Href, name, f, 0, time.Time{})
	}()
	return nil
}

// refuse says, counts and answers that a file is not stored.
func (b *inbox) refuse(x *exchange, href, name string, err error) error {
	status, why := b.sayRefused(name, err)
	x.failed(status)
	return x.send(&entry{Href: href, Result: resultFailed, Status: status, Error: why})
}

// kept says, counts and answers that a file is stored.
func (b *inbox) kept(x *exchange, href, name string, f *store.Stored, offset int64, begun time.Time) error {
	x.stored(f.Size)
	b.p.sayReceived(name, f, offset, begun)
	result := resultStored
	if f.Identical {
		result = resultIdentical
	}
	as := ""
	if f.Path != name {
		as = relpath.Escape(f.Path)
	}
	return x.send(&entry{Href: href, As: as, Result: result, Size: f.Size, Digest: digest.Field(f.Digest), Resume: offset})
}

// settle brings the names of directories and links onto stable storage, as
// those of files are already.
func (b *inbox) settle(x *exchange) {
	if err := b.store.Sync(); err != nil {
		b.p.log.warnf("%s: %v", b.p.cfg.push.dir, sys.Cause(err))
		x.failed(4)
	}
}

// finish makes a link or a directory.
func (b *inbox) finish(e *entry, name string) error {
	if e.Type == typeLink {
		target, err := (&entry{Href: e.Target}).name()
		if err != nil {
			return err
		}
		return b.store.Symlink(name, target)
	}
	mode, err := parseMode(e.Mode)
	if err != nil {
		return err
	}
	mtime, err := parseMtime(e.Mtime)
	if err != nil {
		return err
	}
	return b.store.Mkdir(name, mode, mtime)
}
