package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"purr/internal/display"
	"purr/internal/progress"
	"purr/internal/relpath"
	"purr/internal/sys"
)

// An offer is what --push sends: files and trees, each under the last
// component of the path it was named by. What is offered is reached through
// os.Root, so that nothing else can be asked for, whatever links there are.
type offer struct {
	items []*offered
	live  bool
}

// An offered is one operand of --push.
type offered struct {
	name string   // in front of every path below it; "" for the contents of . or /
	root *os.Root // the directory itself, or the one that holds the file
	file string   // the file's name in root; "" for a directory
}

// openOffer opens every path. The caller closes the offer.
func openOffer(paths []string, live bool) (*offer, error) {
	o := &offer{live: live}
	for _, p := range paths {
		item, err := openOffered(p)
		if err != nil {
			o.close()
			return nil, fmt.Errorf("push %s: %w", p, sys.Cause(err))
		}
		o.items = append(o.items, item)
	}
	return o, nil
}

// openOffered follows a link that the user names, as cp does; links further
// down stay links.
func openOffered(p string) (*offered, error) {
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	item := &offered{name: offeredName(p)}
	dir := real
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return nil, errNotAFile
		}
		dir, item.file = filepath.Dir(real), filepath.Base(real)
	}
	item.root, err = os.OpenRoot(dir)
	return item, err
}

var errNotAFile = errors.New("neither a file nor a directory: for a pipe or a device, say \"purr HOST PORT <PATH\"")

// offeredName is the path's last component, which the other end sees: "" for
// one that has no name of its own.
func offeredName(p string) string {
	switch name := filepath.Base(p); name {
	case ".", "..", string(filepath.Separator):
		return ""
	default:
		return name
	}
}

func (o *offer) close() {
	for _, item := range o.items {
		_ = item.root.Close()
	}
}

// find returns the item that a path belongs to, and its path inside the item's
// root ("." for a directory itself); nil if it was not offered. An item with a
// name goes before what the contents of . may hold under the same one.
func (o *offer) find(name string) (*offered, string) {
	var nameless *offered
	for _, item := range o.items {
		switch {
		case item.name == name && item.file != "":
			return item, item.file
		case item.file != "":
		case item.name == name:
			return item, "."
		case item.name == "":
			nameless = item
		default:
			if inside, ok := strings.CutPrefix(name, item.name+"/"); ok {
				return item, inside
			}
		}
	}
	if nameless != nil {
		return nameless, name
	}
	return nil, ""
}

// errNotOffered answers for a path that is not there, or is no regular
// file. Whoever asks learns no more.
var errNotOffered = errors.New("not offered")

// open opens an offered file for reading that somebody asks for by its name.
// That is checked like a receiver's, so that "../x" is not even looked for, and
// a link is not followed.
func (o *offer) open(name string) (*os.File, fs.FileInfo, error) {
	if err := relpath.Check(name, true); err != nil {
		return nil, nil, errNotOffered
	}
	item, inside := o.find(name)
	if item == nil || inside == "." {
		return nil, nil, errNotOffered
	}
	return item.open(inside)
}

// openListed is open for a file that a walk has just found. Were a link there
// by now, it could still lead to nothing but what is offered.
func (o *offer) openListed(name string) (*os.File, fs.FileInfo, error) {
	item, inside := o.find(name)
	if item == nil || inside == "." {
		return nil, nil, errNotOffered
	}
	f, err := item.root.OpenFile(filepath.FromSlash(inside), os.O_RDONLY|sys.OpenNonblock, 0)
	if err != nil {
		return nil, nil, sys.Cause(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotOffered
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// open opens a regular file, and no link to one.
func (item *offered) open(inside string) (*os.File, fs.FileInfo, error) {
	inside = filepath.FromSlash(inside)
	info, err := item.root.Lstat(inside)
	if err != nil {
		return nil, nil, sys.Cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errNotOffered
	}
	f, err := item.root.OpenFile(inside, os.O_RDONLY|sys.OpenNonblock, 0)
	if err != nil {
		return nil, nil, sys.Cause(err)
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(info, opened) { // something else has taken its place
		err = errNotOffered
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, opened, nil
}

// What a walk visits. A receiver can set a directory's mode and time only when
// all that is in it has its name, so directories come last.
type walkPart int

const (
	walkFiles walkPart = iota
	walkLinks
	walkDirs // from the deepest up
)

// A visitor is told of each entry of a walk, or of what had to be left out and
// why. Its error ends the walk.
type visitor func(e *entry, skipped error) error

// walk visits one part of everything that is offered, and reports whether
// there are any links, which spares the walk for them.
func (o *offer) walk(part walkPart, visit visitor) (links bool, err error) {
	for _, item := range o.items {
		w := &walker{item: item, part: part, visit: visit}
		if item.file != "" {
			if part == walkFiles {
				info, infoErr := item.root.Lstat(item.file)
				err = w.file(item.name, info, infoErr)
			}
		} else {
			err = w.dir(item.name, ".", 0)
		}
		links = links || w.links
		if err != nil {
			return links, err
		}
	}
	return links, nil
}

// all visits everything, in the order in which a receiver wants it.
func (o *offer) all(visit visitor) error {
	links, err := o.walk(walkFiles, visit)
	if err == nil && links {
		_, err = o.walk(walkLinks, visit)
	}
	if err == nil {
		_, err = o.walk(walkDirs, visit)
	}
	return err
}

type walker struct {
	item  *offered
	part  walkPart
	visit visitor
	links bool
}

// dir visits what a directory holds, in batches: a directory of a million names
// takes no more memory than one of a hundred. name is the directory's path for
// the other end, inside its path in the item's root.
func (w *walker) dir(name, inside string, depth int) error {
	d, err := w.item.root.Open(filepath.FromSlash(inside))
	if err != nil {
		return w.skip(name, err)
	}
	defer d.Close()
	if depth > relpath.MaxDepth {
		return w.skip(name, errors.New("nested too deeply"))
	}
	for {
		batch, err := d.ReadDir(256)
		for _, found := range batch {
			if err := w.found(found, path.Join(name, found.Name()), path.Join(inside, found.Name()), depth); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return w.skip(name, err)
		}
	}
	if w.part != walkDirs || name == "" {
		return nil
	}
	info, err := d.Stat()
	if err != nil {
		return w.skip(name, err)
	}
	return w.visit(newEntry(typeDir, name, info), nil)
}

// found visits one name of a directory.
func (w *walker) found(d fs.DirEntry, name, inside string, depth int) error {
	switch kind := d.Type(); {
	case kind.IsDir():
		return w.dir(name, inside, depth+1)
	case kind&fs.ModeSymlink != 0:
		w.links = true
		if w.part == walkLinks {
			return w.link(name, inside)
		}
	case w.part != walkFiles:
	case kind.IsRegular():
		info, err := d.Info() // it was read with the name, and costs nothing more
		return w.file(name, info, err)
	default:
		return w.skip(name, errors.New("neither a file, a directory nor a link"))
	}
	return nil
}

// file visits a file, or tells of the error that Lstat had for it.
func (w *walker) file(name string, info fs.FileInfo, err error) error {
	if err != nil {
		return w.skip(name, err)
	}
	return w.visit(newEntry("", name, info), nil)
}

func (w *walker) link(name, inside string) error {
	target, err := w.item.root.Readlink(filepath.FromSlash(inside))
	if err != nil {
		return w.skip(name, err)
	}
	info, err := w.item.root.Lstat(filepath.FromSlash(inside))
	if err != nil {
		return w.skip(name, err)
	}
	e := newEntry(typeLink, name, info)
	e.Size, e.Mode, e.Target = 0, "", relpath.Escape(filepath.ToSlash(target))
	return w.visit(e, nil)
}

// skip reports what is left out, once: the first part of the walk has told.
func (w *walker) skip(name string, err error) error {
	if w.part != walkFiles {
		return nil
	}
	e := &entry{}
	e.setName(name)
	return w.visit(e, sys.Cause(err))
}

func newEntry(kind, name string, info fs.FileInfo) *entry {
	e := &entry{Type: kind, Mode: modeField(info.Mode()), Mtime: mtimeField(info.ModTime())}
	e.setName(name)
	if kind == "" {
		e.Size = info.Size()
	}
	return e
}

// offerName is what is pushed, for the bar.
func (p *purr) offerName() string {
	if paths := p.cfg.push.paths; len(paths) > 1 {
		return fmt.Sprintf("%s and %d more", display.Quote(paths[0]), len(paths)-1)
	}
	return display.Quote(p.cfg.push.paths[0])
}

// offerSize is how many bytes all offered files have together, if anybody wants
// to see a share of it: it takes a walk.
func (p *purr) offerSize(o *offer) (bytes int64) {
	if p.progressStyle(false) == progress.Hidden {
		return -1
	}
	_, _ = o.walk(walkFiles, func(e *entry, skipped error) error {
		if skipped == nil {
			bytes += e.Size
		}
		return nil
	})
	return bytes
}
