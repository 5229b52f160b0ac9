package web

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The limits of what a server without Keep remembers of downloads in parts.
const (
	maxPartial = 1000 // pairs of a client and a file
	maxSpans   = 1000 // of one of them
)

// deliveries records the parts of each file that a client has received. Clients
// are distinguished by their address: a program may use several connections.
type deliveries struct {
	mu    sync.Mutex
	files map[deliveryKey]*delivery
}

// A deliveryKey is one version of a file at one client: its address, the path,
// and the ETag.
type deliveryKey struct{ client, path, version string }

// A delivery is the parts of one file that one client has received.
type delivery struct {
	had   spans  // was delivered
	asked spans  // was delivered, or was asked for and broken off
	cut   []span // was written of broken answers of one range
}

// A span is the bytes from from up to, but not including, to.
type span struct{ from, to int64 }

// add records one answer to the client and the file of key, and reports whether
// the client now has all size bytes of the file; the record is then dropped.
// sent are the spans of the answer: delivered, or only asked for if broken is
// true. Of a broken answer written is the number of bytes given to the system,
// or -1 if the answer had several ranges. tail is true if the client has asked
// for one range to the end of the file.
//
// A request that begins within the bytes written by a broken answer proves that
// the client has the bytes before it. A request for the tail proves that it has
// everything before it, from an earlier download elsewhere, unless a part of
// that was asked for here and not delivered.
func (d *deliveries) add(key deliveryKey, size int64, sent []span, written int64, broken, tail bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[key]
	if f == nil {
		if len(d.files) >= maxPartial {
			for old := range d.files {
				delete(d.files, old)
				break
			}
		}
		f = &delivery{}
		if d.files == nil {
			d.files = map[deliveryKey]*delivery{}
		}
		d.files[key] = f
	}
	for _, s := range sent {
		for _, cut := range f.cut {
			if cut.from <= s.from && s.from <= cut.to {
				f.had.add(span{cut.from, s.from})
			}
		}
		f.asked.add(s)
		switch {
		case !broken:
			f.had.add(s)
		case written >= 0 && len(f.cut) < maxSpans:
			f.cut = append(f.cut, span{s.from, s.from + written})
		}
	}
	if broken {
		return false
	}
	if tail && len(sent) == 1 && f.had.holdAll(f.asked, sent[0].from) {
		f.had.add(span{0, sent[0].from})
	}
	if !f.had.hold(span{0, size}) {
		return false
	}
	delete(d.files, key)
	return true
}

// spans is a set of bytes: in order, without overlap, and never adjacent.
type spans []span

// add merges n into the set. A set of maxSpans spans drops an n that touches
// none of them.
func (s *spans) add(n span) {
	if n.from >= n.to {
		return
	}
	i, _ := slices.BinarySearchFunc(*s, n.from, func(e span, from int64) int {
		if e.to < from {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(*s) && (*s)[j].from <= n.to; j++ {
		n.from, n.to = min(n.from, (*s)[j].from), max(n.to, (*s)[j].to)
	}
	if i == j && len(*s) >= maxSpans {
		return
	}
	*s = slices.Replace(*s, i, j, n)
}

// hold reports whether every byte of n is in the set. An empty n always is.
func (s spans) hold(n span) bool {
	return n.from >= n.to || slices.ContainsFunc(s, func(e span) bool { return e.from <= n.from && n.to <= e.to })
}

// holdAll reports whether every byte of others below limit is in s.
func (s spans) holdAll(others spans, limit int64) bool {
	for _, o := range others {
		if o.to = min(o.to, limit); !s.hold(o) {
			return false
		}
	}
	return true
}

// A partReader records the parts of a file that http.ServeContent reads from
// it.
type partReader struct {
	io.ReadSeeker
	mu   sync.Mutex // http.ServeContent reads several parts in a goroutine
	at   int64
	read spans
}

// Seek moves the place of the next read.
func (p *partReader) Seek(offset int64, whence int) (int64, error) {
	at, err := p.ReadSeeker.Seek(offset, whence)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = at
	return at, err
}

// Read reads from the file, and records the span that it has returned.
func (p *partReader) Read(b []byte) (int, error) {
	n, err := p.ReadSeeker.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read.add(span{p.at, p.at + int64(n)})
	p.at += int64(n)
	return n, err
}

// spans returns a copy of the parts that have been read.
func (p *partReader) spans() spans {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.read)
}

// contentRange parses a Content-Range field (RFC 9110, section 14.4). ok is
// false if the field is empty, as in an answer with several ranges, or
// malformed.
func contentRange(field string) (s span, ok bool) {
	_, err := fmt.Sscanf(field, "bytes %d-%d/", &s.from, &s.to)
	s.to++
	return s, err == nil
}

// asksForTail reports whether a Range field has the form "bytes=N-": one range,
// from the byte N to the end.
func asksForTail(field string) bool {
	from, ok := strings.CutSuffix(strings.TrimPrefix(field, "bytes="), "-")
	_, err := strconv.ParseUint(strings.TrimSpace(from), 10, 63)
	return ok && err == nil
}
