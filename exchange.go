package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sync"
	"time"

	"purr/internal/digest"
	"purr/internal/display"
	"purr/internal/progress"
	"purr/internal/relpath"
	"purr/internal/store"
	"purr/internal/sys"
)

// What --push and --pull say to each other. It is HTTP, so that curl and
// browsers can be either end; between two purrs it is HTTP/2 on one connection,
// where one request lasts as long as the exchange: POST / carries entries and
// results, a JSON object per line, one way in its body and the other way in its
// answer. A small file follows its line; a request of its own would cost more
// than the file. Large ones go in requests of their own beside it.

// A role is what one end of an exchange does.
type role string

const (
	roleSender   role = "sender"
	roleReceiver role = "receiver"
)

func (r role) other() role {
	if r == roleSender {
		return roleReceiver
	}
	return roleSender
}

// An entry is a line of an exchange: something the sender offers, in the order
// of its walk (files, then links, then directories from the deepest up), or
// what became of it. The last line of each direction has End.
type entry struct {
	Href   string   `json:"href,omitempty"` // the path, escaped as in a URL: a name may be any bytes
	Type   string   `json:"type,omitempty"` // "" for a file, "link" or "dir"
	Size   int64    `json:"size,omitempty"`
	Mode   string   `json:"mode,omitempty"`
	Mtime  string   `json:"mtime,omitempty"`
	Target string   `json:"target,omitempty"` // of a link, escaped as Href
	Digest string   `json:"digest,omitempty"` // as in Repr-Digest: of the bytes that follow, or of what was stored
	Body   bool     `json:"body,omitempty"`   // the file itself follows the line: Size bytes
	Resume int64    `json:"resume,omitempty"` // the offset from which it was sent
	As     string   `json:"as,omitempty"`     // where it was stored, escaped as Href, if that was taken (--rename)
	Result string   `json:"result,omitempty"` // "stored", "identical", "failed", "cut"
	Status int      `json:"status,omitempty"` // the exit status that a failure makes
	Error  string   `json:"error,omitempty"`
	End    *account `json:"end,omitempty"`
}

// A account is what one end makes of the exchange as a whole.
type account struct {
	Files  int64 `json:"files"`
	Bytes  int64 `json:"bytes"`
	Status int   `json:"status"`
}

const (
	typeLink = "link"
	typeDir  = "dir"

	resultStored    = "stored"
	resultIdentical = "identical"
	resultFailed    = "failed"
)

// maxEntry is the most that one line of an exchange may hold: two paths of 4096
// bytes, all of them escaped, and the rest.
const maxEntry = 64 << 10

// name is the entry's path; an error if Href is not escaped properly.
func (e *entry) name() (string, error) { return relpath.Unescape(e.Href) }

// setName is the reverse of name.
func (e *entry) setName(path string) { e.Href = relpath.Escape(path) }

// storedAs is the path that a receiver has given a file, which is called name here;
// escaped is what it says of that, or nothing.
func storedAs(escaped, name string) string {
	if as, err := relpath.Unescape(escaped); err == nil && as != "" {
		return as
	}
	return name
}

// decodeEntry reads one line.
func decodeEntry(line []byte) (*entry, error) {
	e := &entry{}
	if err := json.Unmarshal(line, e); err != nil {
		return nil, fmt.Errorf("not a line of an exchange: %w", err)
	}
	if e.Result == resultFailed {
		e.Status = failureStatus(e.Status)
	}
	if e.End != nil && e.End.Status != 0 {
		e.End.Status = failureStatus(e.End.Status)
	}
	return e, nil
}

// failureStatus is the exit status that a peer gives for a failure: one that
// there is, and never success.
func failureStatus(status int) int {
	if status < 3 || status > 7 {
		return 4
	}
	return status
}

// arrival is what an entry says of a file.
func (e *entry) arrival(name string) (a store.File, err error) {
	a.Path, a.Size = name, e.Size
	if a.Mode, err = parseMode(e.Mode); err != nil {
		return a, err
	}
	if a.ModTime, err = parseMtime(e.Mtime); err != nil {
		return a, err
	}
	if e.Digest != "" {
		a.Digest, err = digest.Parse([]string{e.Digest})
	}
	return a, err
}

// A tally adds up an exchange. It may be used from many goroutines.
type tally struct {
	mu sync.Mutex
	account
}

// stored counts a file that is where it should be.
func (t *tally) stored(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Files++
	t.Bytes += bytes
}

// failed counts a failure. Both ends see the same failures, and the highest
// status is that of the whole, so both ends come to the same one.
func (t *tally) failed(status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Status = max(t.Status, status)
}

func (t *tally) sum() account {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.account
}

// An exchange is a push or a pull between two purrs, at either end: the lines
// that go both ways, and what they add up to.
type exchange struct {
	tally
	bar  *progress.Transfer
	came pathSet // what was stored, or is on its way
	sent unheard // at a sender: what became of it is not known yet
	in   *bufio.Reader
	left int64 // bytes of a file that follow the last line and were not taken

	lines   sync.Mutex
	out     *bufio.Writer // lines for the other end
	most    int           // bytes to write at once
	flush   func() error  // sends off what out has written; nil where nothing holds it back
	pending bool          // whether a flush is to come
	over    bool          // whether close was called
}

// A pathSet remembers paths by their sums: a million of them stay small, and
// two that had the same sum would be no more than a refusal.
type pathSet struct {
	mu   sync.Mutex
	seed maphash.Seed
	sums map[uint64]struct{}
}

// add reports whether path is new to the set.
func (s *pathSet) add(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sums == nil {
		s.seed, s.sums = maphash.MakeSeed(), make(map[uint64]struct{})
	}
	sum := maphash.String(s.seed, path)
	_, there := s.sums[sum]
	s.sums[sum] = struct{}{}
	return !there
}

// remove makes room for path to be added again, and reports whether it was there.
func (s *pathSet) remove(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sums == nil {
		return false
	}
	sum := maphash.String(s.seed, path)
	_, there := s.sums[sum]
	delete(s.sums, sum)
	return there
}

// An unheard remembers, by Href, the files of which the sender has not heard yet
// what became of them.
type unheard struct {
	mu    sync.Mutex
	files map[string]sentFile
}

type sentFile struct {
	begun time.Time // when the first of it was sent; zero if nothing was
	sum   []byte    // the digest of it all, nil until it is known
}

// expect remembers a file, before it is sent or listed.
func (u *unheard) expect(href string, f sentFile) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.files == nil {
		u.files = make(map[string]sentFile)
	}
	u.files[href] = f
}

// is brings a file up to date that is expected still.
func (u *unheard) is(href string, f sentFile) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, expected := u.files[href]; expected {
		u.files[href] = f
	}
}

// heardOf returns what is known of a file, and forgets it.
func (u *unheard) heardOf(href string) (f sentFile, expected bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f, expected = u.files[href]
	delete(u.files, href)
	return f, expected
}

// any reports whether there are files.
func (u *unheard) any() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.files) > 0
}

// underWay returns the Hrefs of those of which something was sent.
func (u *unheard) underWay() (hrefs []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for href, f := range u.files {
		if !f.begun.IsZero() {
			hrefs = append(hrefs, href)
		}
	}
	return hrefs
}

// sayUnconfirmed names the files that were sent, in whole or in part, and of
// which nothing was heard before the contact ended.
func (p *purr) sayUnconfirmed(x *exchange, c *contact) {
	for _, href := range x.sent.underWay() {
		if name, err := (&entry{Href: href}).name(); err == nil {
			p.sayFailed(name, "unconfirmed", c.why(), "%s: not confirmed", display.Quote(name))
		}
	}
}

// notSent is why a result is a failure whose digest is another than that of what
// was sent.
const notSent = "digest mismatch: what is stored there is not what was sent"

// errTwice refuses a path that came before in the same push: which of the two
// was meant?
var errTwice = &store.Error{Kind: store.Conflict, Text: "sent twice"}

// newExchange takes the two ways of the lines. Its owner calls close before w
// becomes invalid.
func (p *purr) newExchange(w io.Writer, flush func() error, r io.Reader) *exchange {
	most := p.limit.Chunk(64 << 10)
	return &exchange{in: bufio.NewReaderSize(r, maxEntry), out: bufio.NewWriterSize(w, most), most: most, flush: flush}
}

// send writes one line. It leaves soon, with others that come meanwhile.
func (x *exchange) send(e *entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return x.write(append(line, '\n'), nil)
}

// sendFile writes a line and the file that it is about; the line alone if there
// is no content.
func (x *exchange) sendFile(e *entry, content []byte) error {
	e.Body = content != nil
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return x.write(append(line, '\n'), content)
}

func (x *exchange) write(line, content []byte) error {
	x.lines.Lock()
	defer x.lines.Unlock()
	if x.over {
		return errLost
	}
	if _, err := x.out.Write(line); err != nil {
		return errLost
	}
	for b := range slices.Chunk(content, x.most) {
		if _, err := x.out.Write(b); err != nil {
			return errLost
		}
		x.bar.Add(len(b))
	}
	if !x.pending {
		x.pending = true
		time.AfterFunc(5*time.Millisecond, x.sendOff)
	}
	return nil
}

func (x *exchange) sendOff() {
	x.lines.Lock()
	defer x.lines.Unlock()
	x.pending = false
	if !x.over {
		_ = x.flushAll() // a bufio.Writer remembers its error for the next write
	}
}

func (x *exchange) flushAll() error {
	if x.out.Flush() != nil || x.flush != nil && x.flush() != nil {
		return errLost
	}
	return nil
}

// close sends off what was written. Nothing can be written after it.
func (x *exchange) close() error {
	x.lines.Lock()
	defer x.lines.Unlock()
	x.over = true
	return x.flushAll()
}

// beat writes an empty line now and then until ctx ends: the other end gives
// up an exchange of which it hears nothing for long, and to hash a large file
// takes long.
func (x *exchange) beat(ctx context.Context) {
	for sys.Sleep(ctx, beatPause) && x.write([]byte("\n"), nil) == nil {
	}
}

const beatPause = 20 * time.Second

// receive returns the next line; errLost if there is none though the other end
// has not said that it is done.
func (x *exchange) receive() (*entry, error) {
	if _, err := io.CopyN(io.Discard, x.in, x.left); err != nil {
		return nil, errLost
	}
	x.left = 0
	for {
		line, err := x.in.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull:
			return nil, errors.New("a line without an end")
		case err != nil:
			return nil, errLost
		case len(line) > 1:
			e, err := decodeEntry(line)
			if err == nil && e.Body {
				x.left = e.Size
			}
			return e, err
		}
	}
}

// content reads the file that follows the line just received, which the caller
// has made room for.
func (x *exchange) content() ([]byte, error) {
	b := make([]byte, x.left)
	x.left = 0
	if _, err := io.ReadFull(x.in, b); err != nil {
		return nil, errLost
	}
	return b, nil
}
