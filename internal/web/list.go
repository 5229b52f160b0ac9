package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"

	"purr/internal/offer"
	"purr/internal/relpath"
)

// This file answers with what is offered, as JSON or as a page: only what can
// be fetched.

// maxSorted is the number of entries of one kind up to which they are sorted.
const maxSorted = 5000

// overview answers a request for / with the list of offered files: as JSON if
// Accept asks for that, or else as a page.
func (d *downloadHandler) overview(w http.ResponseWriter, r *http.Request, c *client) {
	if !d.s.memory.take(c.host, listMemory) {
		refuseFull(w, r)
		return
	}
	defer d.s.memory.give(c.host, listMemory)
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		d.list(w)
		return
	}
	writeOfferPage(w, r, machineName(), d.pageFiles)
}

// walk calls visit for each offered file that a URL can name, by path up to
// maxSorted files and in any order beyond. It returns the links, then the
// directories, each by path. The first error of visit ends the walk and is
// returned.
func (d *downloadHandler) walk(visit func(offer.Entry) error) (rest []offer.Entry, err error) {
	var first []offer.Entry
	many := false
	visitSorted := func() error {
		slices.SortFunc(first, byPath)
		for _, e := range first {
			if err := visit(e); err != nil {
				return err
			}
		}
		first = nil
		return nil
	}
	found, err := d.set.Walk(func(e offer.Entry, skipped error) error {
		switch {
		case skipped != nil || relpath.Check(e.Path, true) != nil:
			return nil
		case many:
			return visit(e)
		}
		first = append(first, e)
		if many = len(first) > maxSorted; many {
			return visitSorted()
		}
		return nil
	})
	if err == nil {
		err = visitSorted()
	}
	for _, e := range found {
		if relpath.Check(e.Path, true) == nil {
			rest = append(rest, e)
		}
	}
	slices.SortFunc(rest, func(a, b offer.Entry) int {
		return cmp.Or(cmp.Compare(a.Mode.Type(), b.Mode.Type()), byPath(a, b)) // ModeSymlink is less than ModeDir
	})
	return rest, err
}

// byPath compares entries by path, for sorting.
func byPath(a, b offer.Entry) int { return strings.Compare(a.Path, b.Path) }

// incomplete returns the set of directories that hold, at any depth, an entry
// that cannot be sent: their archives are not offered.
func (d *downloadHandler) incomplete() map[string]bool {
	dirs := map[string]bool{}
	_, _ = d.set.Walk(func(e offer.Entry, skipped error) error {
		if missing(e, skipped) != nil {
			for dir := e.Path; dir != "." && !dirs[dir]; dir = path.Dir(dir) {
				dirs[dir] = true
			}
		}
		return nil
	})
	return dirs
}

// missing returns the reason why an archive cannot hold the entry e; nil if it
// can. That is skipped, the error of the walk for e, or a path that breaks the
// rules of relpath.
func missing(e offer.Entry, skipped error) error {
	if skipped != nil {
		return skipped
	}
	return relpath.Check(e.Path, true)
}

// pageFiles is an iterator over the rows of the page: directories with a
// complete archive, then files.
func (d *downloadHandler) pageFiles(yield func(pageFile) bool) {
	stop := errors.New("enough")
	incomplete := d.incomplete()
	visit := func(e offer.Entry) error {
		if !incomplete[e.Path] && !yield(pageFile{path: e.Path, size: e.Size, modTime: e.ModTime, dir: e.Mode.IsDir()}) {
			return stop
		}
		return nil
	}
	rest, err := d.walk(func(offer.Entry) error { return nil })
	for _, e := range rest {
		if e.Mode.IsDir() && err == nil {
			err = visit(e)
		}
	}
	if err == nil {
		_, _ = d.walk(visit)
	}
}

// A listEntry is one element of the offer in JSON.
type listEntry struct {
	Href   string `json:"href"`           // the path, escaped as in a URL: a name may be any bytes
	Type   string `json:"type,omitempty"` // "" for a file, "link" or "dir"
	Size   int64  `json:"size,omitempty"`
	Mode   string `json:"mode,omitempty"`  // permission bits, octal
	Mtime  string `json:"mtime,omitempty"` // seconds since 1970
	Target string `json:"target,omitempty"`
}

// newListEntry converts an offered entry to its element in the JSON list. The
// mode of a link is omitted.
func newListEntry(e offer.Entry) listEntry {
	l := listEntry{Href: relpath.Escape(e.Path), Size: e.Size, Mtime: formatMtime(e.ModTime)}
	switch e.Mode.Type() {
	case fs.ModeSymlink:
		l.Type, l.Target = "link", relpath.Escape(e.Target)
		return l
	case fs.ModeDir:
		l.Type = "dir"
	}
	l.Mode = formatMode(e.Mode)
	return l
}

// list writes the offer as one JSON array: files, links, then directories.
func (d *downloadHandler) list(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	separator := "[\n"
	visit := func(e offer.Entry) error {
		line, err := json.Marshal(newListEntry(e))
		if err == nil {
			_, err = fmt.Fprintf(w, "%s%s", separator, line)
		}
		separator = ",\n"
		return err
	}
	rest, err := d.walk(visit)
	for _, e := range rest {
		if err == nil {
			err = visit(e)
		}
	}
	if err != nil {
		return
	}
	if separator == "[\n" {
		_, _ = io.WriteString(w, separator)
	}
	_, _ = io.WriteString(w, "\n]\n")
}
