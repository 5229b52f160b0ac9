// Package dump writes what passes in conversations to files: the bytes
// themselves, or lines in hexadecimal.
package dump

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"purr/internal/copier"
	"purr/internal/display"
	"purr/internal/fdio"
)

// Options name the files of a dump. The zero value names none.
type Options struct {
	Output string // has the bytes of both directions, read by read
	Hex    string // has lines in hexadecimal
	Append bool   // the files keep what they hold

	// Apart are paths of other files. A regular file of the dump must be none of
	// them.
	Apart []string
}

// Given reports whether there is a file.
func (o Options) Given() bool { return o.Output != "" || o.Hex != "" }

// A Dump is open for writing. Any number of conversations share it: the bytes
// of one read reach a file by one write. A nil Dump records nothing.
type Dump struct {
	files  []*file
	failed func(path string, err error)
}

// A file is one file of a dump.
type file struct {
	*os.File
	path    string // as it was given
	hex     bool
	regular bool
	created bool // by this run

	mu     sync.Mutex
	buf    []byte
	broken bool // whether a write has failed
}

// Open opens the files, and returns nil if o names none. A regular file is
// created or, without o.Append, emptied, but only once all of them are open:
// after an error none is changed. The reader of a FIFO is waited for until ctx
// ends. The first failed write to a file is passed to failed, with its path.
// The caller closes the Dump.
func Open(ctx context.Context, o Options, failed func(path string, err error)) (*Dump, error) {
	if !o.Given() {
		return nil, nil
	}
	d := &Dump{failed: failed}
	apart := o.Apart
	for _, f := range []*file{{path: o.Output}, {path: o.Hex, hex: true}} {
		if f.path == "" {
			continue
		}
		err := f.open(ctx)
		if err == nil {
			d.files = append(d.files, f)
			err = f.differs(apart)
		}
		if err != nil {
			d.discard()
			return nil, err
		}
		apart = append(apart[:len(apart):len(apart)], f.path)
	}
	for _, f := range d.files {
		if !f.regular || o.Append {
			continue
		}
		if err := f.Truncate(0); err != nil {
			d.discard()
			return nil, err
		}
	}
	return d, nil
}

// open opens the file and changes nothing in it.
func (f *file) open(ctx context.Context) error {
	if f.path == "-" {
		return errors.New("- is no file: for the terminal say /dev/tty, for a file of that name ./-")
	}
	info, err := os.Stat(f.path)
	f.created = errors.Is(err, os.ErrNotExist)
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		f.File, err = fdio.OpenWriter(ctx, f.path, 0)
		return err
	}
	f.regular = true
	// Each write goes to the end, also beside another process with this file.
	f.File, err = os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	return err
}

// differs returns an error if a regular file is also one of the others.
func (f *file) differs(others []string) error {
	own, err := f.Stat()
	if err != nil || !f.regular {
		return err
	}
	for _, other := range others {
		if info, err := os.Stat(other); err == nil && os.SameFile(own, info) {
			return fmt.Errorf("%s is %s, too: name a file that nothing else uses", f.path, other)
		}
	}
	return nil
}

// discard closes the files and removes those that were created.
func (d *Dump) discard() {
	for _, f := range d.files {
		_ = f.File.Close()
		if f.created {
			_ = os.Remove(f.path)
		}
	}
}

// Close closes the regular files: some file systems report only then that the
// bytes could not be stored, which is passed to failed. Others may be blocked
// in a write and stay open.
func (d *Dump) Close() {
	if d == nil {
		return
	}
	for _, f := range d.files {
		if f.regular {
			f.do(d, f.File.Close)
		}
	}
}

// do calls step under the lock, unless a call before has failed.
func (f *file) do(d *Dump, step func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken {
		return
	}
	if err := step(); err != nil {
		f.broken = true
		d.failed(f.path, err)
	}
}

// keptBuffer is the largest buffer that a file keeps, in bytes.
const keptBuffer = 2 << 20

// A Recorder writes the bytes of one conversation to the files of a Dump. One
// goroutine records each direction. A nil Recorder records nothing.
type Recorder struct {
	dump           *Dump
	peer           func() string
	sent, received int64 // bytes so far
}

// Recorder returns a new Recorder; peer names the other end. That of a nil Dump
// is nil.
func (d *Dump) Recorder(peer string) *Recorder {
	if d == nil {
		return nil
	}
	return &Recorder{dump: d, peer: func() string { return peer }}
}

// Follow replaces the name of the other end by what peer returns at each time.
func (r *Recorder) Follow(peer func() string) {
	if r != nil {
		r.peer = peer
	}
}

// Sending returns the filter that records sent bytes and changes none; no
// filter for a nil Recorder.
func (r *Recorder) Sending() []copier.Filter {
	if r == nil {
		return nil
	}
	return []copier.Filter{func(b []byte) []byte { r.Sent(b); return b }}
}

// Receiving is Sending for received bytes.
func (r *Recorder) Receiving() []copier.Filter {
	if r == nil {
		return nil
	}
	return []copier.Filter{func(b []byte) []byte { r.Received(b); return b }}
}

// Sent records bytes that are about to be sent.
func (r *Recorder) Sent(b []byte) {
	if r != nil {
		r.record('>', &r.sent, r.peer(), b)
	}
}

// Received records the bytes of one read.
func (r *Recorder) Received(b []byte) {
	if r != nil {
		r.record('<', &r.received, r.peer(), b)
	}
}

// Datagrams are those of a datagram.Batch.
type Datagrams interface {
	Data(i int) []byte
	SenderName(i int) string
}

// SentBatch records that the first n datagrams go back to their senders.
func (r *Recorder) SentBatch(b Datagrams, n int) {
	for i := 0; r != nil && i < n; i++ {
		r.record('>', &r.sent, b.SenderName(i), b.Data(i))
	}
}

// ReceivedBatch records the first n datagrams that were received.
func (r *Recorder) ReceivedBatch(b Datagrams, n int) {
	for i := 0; r != nil && i < n; i++ {
		r.record('<', &r.received, b.SenderName(i), b.Data(i))
	}
}

// record writes the bytes of one read to each file by one write. at is the
// number of bytes before them, which it advances.
func (r *Recorder) record(mark byte, at *int64, peer string, b []byte) {
	for _, f := range r.dump.files {
		f.do(r.dump, func() error {
			out := b
			if f.hex {
				out = appendRead(f.buf[:0], mark, *at, peer, b)
				if f.buf = out; cap(out) > keptBuffer {
					f.buf = nil
				}
			}
			_, err := f.Write(out)
			return err
		})
	}
	*at += int64(len(b))
}

// timeForm is RFC 3339 with microseconds, in local time.
const timeForm = "2006-01-02T15:04:05.000000Z07:00"

// appendRead appends a line with the time and the peer, and then the bytes of a
// read in the lines of netcat 1.10: direction, offset, 16 bytes, and the same
// as text. A read of no byte, an empty datagram, has one line.
func appendRead(to []byte, mark byte, at int64, peer string, b []byte) []byte {
	const digits, row = "0123456789abcdef", 16
	to = time.Now().AppendFormat(append(to, "# "...), timeForm)
	to = append(append(append(to, ' '), display.Escape(peer)...), '\n')
	for more := true; more; more = len(b) > 0 {
		n := min(row, len(b))
		to = append(to, mark, ' ')
		width := 28
		for at>>width > 15 {
			width += 4
		}
		for ; width >= 0; width -= 4 {
			to = append(to, digits[at>>width&15])
		}
		to = append(to, ' ')
		for i := range row {
			if i < n {
				to = append(to, digits[b[i]>>4], digits[b[i]&15], ' ')
			} else {
				to = append(to, "   "...)
			}
		}
		to = append(to, "# "...)
		for _, c := range b[:n] {
			if c < ' ' || c > '~' {
				c = '.'
			}
			to = append(to, c)
		}
		to = append(to, '\n')
		at, b = at+int64(n), b[n:]
	}
	return to
}
