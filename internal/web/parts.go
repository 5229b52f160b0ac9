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

type deliveryKey struct{ client, path, version string }

// A delivery is what one client has had of one file.
type delivery struct {
	had   spans // was delivered
	asked spans // was delivered, or was asked for and broken off
	cut   []span
}

// A span is the bytes from from up to, but not including, to.
type span struct{ from, to int64 }

// add records an answer and reports whether the client now has every byte of
// the file, which has size bytes. sent are the spans that were delivered. If
// the answer was broken off, sent is what the client had asked for, and written
// the bytes that were handed to the system, or -1 if the answer had several
// parts.
//
// A client that goes on behind a broken answer has what is before. One that
// asks for all from a byte on has what is before it from elsewhere, unless it
// has asked for that here and not got it.
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

// spans are in order, and neither overlap nor touch.
type spans []span

// add merges n. Beyond maxSpans it is left out.
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

// hold reports whether n lies within one of s.
func (s spans) hold(n span) bool {
	return n.from >= n.to || slices.ContainsFunc(s, func(e span) bool { return e.from <= n.from && n.to <= e.to })
}

// holdAll reports whether all of the others in front of limit are in s.
func (s spans) holdAll(others spans, limit int64) bool {
	for _, o := range others {
		if o.to = min(o.to, limit); !s.hold(o) {
			return false
		}
	}
	return true
}

// A partReader records which parts of a file are read.
type partReader struct {
	io.ReadSeeker
	mu   sync.Mutex // http.ServeContent reads several parts in a goroutine
	at   int64
	read spans
}

func (p *partReader) Seek(offset int64, whence int) (int64, error) {
	at, err := p.ReadSeeker.Seek(offset, whence)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = at
	return at, err
}

func (p *partReader) Read(b []byte) (int, error) {
	n, err := p.ReadSeeker.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read.add(span{p.at, p.at + int64(n)})
	p.at += int64(n)
	return n, err
}

func (p *partReader) spans() spans {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.read)
}

// contentRange reads a Content-Range field (RFC 9110, section 14.4).
func contentRange(field string) (s span, ok bool) {
	_, err := fmt.Sscanf(field, "bytes %d-%d/", &s.from, &s.to)
	s.to++
	return s, err == nil
}

// asksForTail reports whether a Range field has one range, from a byte to the
// end.
func asksForTail(field string) bool {
	from, ok := strings.CutSuffix(strings.TrimPrefix(field, "bytes="), "-")
	_, err := strconv.ParseUint(strings.TrimSpace(from), 10, 63)
	return ok && err == nil
}
