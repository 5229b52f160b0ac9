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

// tar answers with a directory as an archive, files before links. An archive
// that cannot be completed is cut, not ended in order.
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

// archivable returns an error if an archive of dir would lack something, before
// its first byte is sent.
func (d *downloadHandler) archivable(dir string) error {
	_, err := d.set.WalkTree(dir, func(e offer.Entry, skipped error) error {
		if why := missing(e, skipped); why != nil {
			return fmt.Errorf("%s: %w: no archive without it", display.Quote(e.Path), why)
		}
		return nil
	})
	return err
}

// writeArchive writes an offered directory as a tar stream. The names in it
// begin with the last component of dir.
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

type archive struct {
	*tar.Writer
	set *offer.Set
	cut int // bytes of each path that are left out
}

// add writes one entry. An entry that must be left out ends the archive: it
// would look complete.
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
