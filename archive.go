package main

import (
	"archive/tar"
	"io"
	"strings"
)

// An archive is an offered directory as a tar stream, for clients that fetch
// one thing at a time. The names in it begin with the directory's last
// component.
type archive struct {
	*tar.Writer
	offer *offer
	dir   string
}

// write writes everything but the end of the archive, which Close does.
func (a *archive) write() error {
	item, inside := a.offer.find(a.dir)
	for _, part := range []walkPart{walkFiles, walkLinks, walkDirs} {
		w := &walker{item: item, part: part, visit: a.add}
		if err := w.dir(a.dir, inside, 0); err != nil {
			return err
		}
	}
	return nil
}

// add writes one entry. What would be left out ends the archive instead:
// nobody could tell it from a complete one.
func (a *archive) add(e *entry, skipped error) error {
	if skipped != nil {
		return skipped
	}
	name, err := e.name()
	if err != nil {
		return err
	}
	mode, err := parseMode(e.Mode)
	if err != nil {
		return err
	}
	mtime, err := parseMtime(e.Mtime)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name[strings.LastIndexByte(a.dir, '/')+1:], Mode: int64(mode.Perm()), ModTime: mtime}
	switch e.Type {
	case typeDir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
		return a.WriteHeader(h)
	case typeLink:
		h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
		if h.Linkname, err = (&entry{Href: e.Target}).name(); err != nil {
			return err
		}
		return a.WriteHeader(h)
	}
	h.Typeflag = tar.TypeReg
	return a.file(name, h)
}

func (a *archive) file(name string, h *tar.Header) error {
	f, info, err := a.offer.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	out, err := newOutgoing(f, info, a.offer.live)
	if err != nil {
		return err
	}
	h.Size = out.size()
	if err := a.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.CopyN(a, f, out.size()); err == io.EOF {
		return changedError{out.size(), 0}
	} else if err != nil {
		return err
	}
	return out.check()
}
