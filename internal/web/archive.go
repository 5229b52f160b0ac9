package web

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"purr/internal/display"
	"purr/internal/offer"
)

// tar answers with the offered directory dir as the archive dir.tar, or with
// 409 if an entry cannot be in it. Directories come last, since a file
// extracted after its directory would change the directory's time. If an entry
// fails on the way, the connection is cut: an orderly end would make a partial
// archive look complete.
func (d *downloadHandler) tar(w http.ResponseWriter, r *http.Request, dir string, c *client) {
	name := dir + ".tar"
	if err := d.archivable(dir); err != nil {
		d.s.o.Events.Downloaded(Download{Path: name, Client: c.name, Err: err, Refused: true})
		refuse(w, http.StatusConflict, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("Content-Disposition", attachment(name))
	if r.Method == http.MethodHead {
		return
	}
	if !d.begin(w, r, c) {
		return
	}
	defer d.end(c)
	a := d.newAnswer(w, r, name, -1)
	defer a.progress.End()
	err := writeArchive(a, d.set, dir)
	if err == nil {
		err = a.arrived(c)
	}
	e := Download{Path: name, Client: c.name, Size: a.written, Err: err}
	if err != nil {
		d.failed(e, a, c)
		panic(http.ErrAbortHandler)
	}
	d.s.o.Events.Downloaded(e)
	d.s.finish(c, nil)
}

// archivable checks every entry of dir before the first byte of its archive is
// sent. It returns an error that names the first entry which cannot be sent, as
// missing defines it; nil: the archive can be complete.
func (d *downloadHandler) archivable(dir string) error {
	_, err := d.set.WalkTree(dir, func(e offer.Entry, skipped error) error {
		if why := missing(e, skipped); why != nil {
			return fmt.Errorf("%s: %w: no archive without it", display.Quote(e.Path), why)
		}
		return nil
	})
	return err
}

// writeArchive writes the directory dir of set to w as a tar stream. Names in
// the stream begin with the last component of dir. It returns the first error,
// and then leaves the stream without its end.
func writeArchive(w io.Writer, set *offer.Set, dir string) error {
	a := &archive{tar.NewWriter(w), set, strings.LastIndexByte(dir, '/') + 1}
	rest, err := set.WalkTree(dir, a.add)
	if err != nil {
		return err
	}
	for _, e := range rest {
		if err := a.add(e, nil); err != nil {
			return err
		}
	}
	return a.Close()
}

// An archive is a tar stream that is being written from an offer.
type archive struct {
	*tar.Writer
	set *offer.Set
	cut int // bytes of each path that are left out
}

// add writes one entry, as offer.Set.WalkTree calls it. skipped is the reason
// why the walk cannot read the entry, or nil. add returns it, which ends the
// walk: an archive without the entry would look complete.
func (a *archive) add(e offer.Entry, skipped error) error {
	if skipped != nil {
		return skipped
	}
	h := &tar.Header{Name: e.Path[a.cut:], Mode: int64(e.Mode.Perm()), ModTime: e.ModTime}
	switch e.Mode.Type() {
	case fs.ModeDir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case fs.ModeSymlink:
		h.Typeflag, h.Mode, h.Linkname = tar.TypeSymlink, 0o777, e.Target
	default:
		h.Typeflag = tar.TypeReg
		return a.file(e.Path, h)
	}
	return a.WriteHeader(h)
}

// file writes the header h and the content of the offered file name. It sets
// h.Size from the opened file. A file that changes while it is read is an
// error, too.
func (a *archive) file(name string, h *tar.Header) error {
	f, err := a.set.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Size = f.Size
	if err := a.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.CopyN(a, f.Content(), f.Size); err == io.EOF {
		return offer.ChangedError{Was: f.Size, Is: 0}
	} else if err != nil {
		return err
	}
	return f.Check()
}
