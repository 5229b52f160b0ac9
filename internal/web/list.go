package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"sort"
	"strings"

	"purr/internal/offer"
	"purr/internal/relpath"
)

// This file answers with what is offered, as JSON or as a page: only what can
// be fetched.

// maxSorted is the number of entries of one kind up to which they are sorted.
const maxSorted = 5000

// overview answers a request for the offered directory dir, "" for all that is
// offered: as a JSON list with all depths if Accept asks for that, or else as
// the page of that directory alone.
func (d *downloadHandler) overview(w http.ResponseWriter, r *http.Request, dir string, c *client) {
	if !d.s.memory.take(c.host, listMemory) {
		refuseFull(w, r)
		return
	}
	defer d.s.memory.give(c.host, listMemory)
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		d.list(w, dir)
		return
	}
	writeOfferPage(w, r, machineName(), dir, d.pageFiles(dir))
}

// walkIn walks the offered directory dir, or for "" all that is offered, as
// offer.Set.Walk does.
func (d *downloadHandler) walkIn(dir string, visit func(offer.Entry, error) error) (rest []offer.Entry, err error) {
	if dir == "" {
		return d.set.Walk(visit)
	}
	return d.set.WalkTree(dir, visit)
}

// walk calls visit for each file in dir that a URL can name: sorted by path if
// there are at most maxSorted files, else in no fixed order. It returns the
// links, then the directories, each sorted by path. The first error of visit
// ends the walk and is returned.
func (d *downloadHandler) walk(dir string, visit func(offer.Entry) error) (rest []offer.Entry, err error) {
	var first []offer.Entry
	many := false
	visitSorted := func() error {
		sortBy(first, byPath)
		for _, e := range first {
			if err := visit(e); err != nil {
				return err
			}
		}
		first = nil
		return nil
	}
	found, err := d.walkIn(dir, func(e offer.Entry, skipped error) error {
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
	sortBy(rest, func(a, b offer.Entry) int {
		return cmp.Or(cmp.Compare(a.Mode.Type(), b.Mode.Type()), byPath(a, b)) // ModeSymlink is less than ModeDir
	})
	return rest, err
}

// sortBy sorts a list. slices.SortFunc would be compiled anew for each type:
// for elements of 100 bytes that adds 25 KB to the program.
func sortBy[T any](list []T, compare func(a, b T) int) {
	sort.Slice(list, func(i, j int) bool { return compare(list[i], list[j]) < 0 })
}

// byPath compares entries by path, for sorting.
func byPath(a, b offer.Entry) int { return strings.Compare(a.Path, b.Path) }

// missing returns the reason why an archive cannot hold the entry e; nil if it
// can. The reason is the error of the walk for e, given as skipped, or that the
// path of e breaks the rules of relpath.
func missing(e offer.Entry, skipped error) error {
	if skipped != nil {
		return skipped
	}
	return relpath.Check(e.Path, true)
}

// pageFiles returns an iterator over the rows of the page of dir. The first row
// has no path, and only counts the entries in dir that cannot be sent. Then
// come the directories by name, with sums over all that they hold. The files
// come last, sorted by name if there are at most maxSorted.
func (d *downloadHandler) pageFiles(dir string) iter.Seq[pageFile] {
	return func(yield func(pageFile) bool) {
		rows, files := d.survey(dir)
		many := len(files) > maxSorted
		if !many {
			sortBy(files, byName)
			rows = append(rows, files...)
		}
		for _, f := range rows {
			if !yield(f) {
				return
			}
		}
		if !many {
			return
		}
		_, _ = d.walkIn(dir, func(e offer.Entry, skipped error) error {
			if row, _ := rowOf(dir, e); row == e.Path && missing(e, skipped) == nil && !yield(newPageFile(e)) {
				return errEnough
			}
			return nil
		})
	}
}

// errEnough ends a walk early.
var errEnough = errors.New("enough")

// rowOf returns the path of the row for e on the page of dir. That is the path
// of e if e is directly in dir. Otherwise inside is true, and row is the
// directory in dir that holds e. For dir itself row is "".
func rowOf(dir string, e offer.Entry) (row string, inside bool) {
	from := 0
	if dir != "" {
		from = len(dir) + 1
	}
	if len(e.Path) < from {
		return "", false // dir itself
	}
	name, _, inside := strings.Cut(e.Path[from:], "/")
	return e.Path[:from+len(name)], inside
}

// newPageFile returns the row of a file.
func newPageFile(e offer.Entry) pageFile {
	return pageFile{path: e.Path, size: e.Size, modTime: e.ModTime}
}

// survey returns the rows of the page of dir. folders begins with a row without
// a path, which counts the entries in dir that cannot be sent; the directories
// follow by name. files are in any order, at most maxSorted+1 of them.
func (d *downloadHandler) survey(dir string) (folders, files []pageFile) {
	var here pageFile
	byPath := map[string]*pageFile{}
	folder := func(path string) *pageFile {
		if byPath[path] == nil {
			byPath[path] = &pageFile{path: path, dir: true}
		}
		return byPath[path]
	}
	add := func(e offer.Entry, skipped error) error {
		row, inside := rowOf(dir, e)
		bad := missing(e, skipped) != nil
		switch {
		case row == "":
		case bad && (!inside || relpath.Check(row, true) != nil):
			here.unsent++
		case bad:
			folder(row).unsent++
		case e.Mode.IsDir():
			if f := folder(row); !inside {
				f.modTime = e.ModTime
			}
		case !e.Mode.IsRegular(): // a link is in archives only
		case inside:
			f := folder(row)
			f.files++
			f.size += e.Size
		case len(files) <= maxSorted:
			files = append(files, newPageFile(e))
		}
		return nil
	}
	rest, _ := d.walkIn(dir, add)
	for _, e := range rest {
		_ = add(e, nil)
	}
	for _, f := range byPath {
		folders = append(folders, *f)
	}
	sortBy(folders, byName)
	return append([]pageFile{here}, folders...), files
}

// byName compares rows by name, without regard to upper and lower case unless
// that is the only difference.
func byName(a, b pageFile) int {
	return cmp.Or(strings.Compare(strings.ToLower(a.path), strings.ToLower(b.path)), strings.Compare(a.path, b.path))
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

// list writes what dir holds at any depth as one JSON array: files, links, then
// directories. If an error occurs, the array stays without its end.
func (d *downloadHandler) list(w http.ResponseWriter, dir string) {
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
	rest, err := d.walk(dir, visit)
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
