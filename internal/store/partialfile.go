package store

import (
	"io/fs"
	"os"
	"time"
)

// A partialFile receives the content of an upload, until it gets its final
// name.
type partialFile struct {
	file    *os.File
	name    string // in its directory; "" while it has none
	info    fs.FileInfo
	dataEnd int64 // offset behind the last byte written; zeros behind it are a hole
	space   allocation
}

// close unlocks and closes the file, which keeps its name.
func (p *partialFile) close() {
	if p.name != "" { // a file without a name is not locked
		unlock(p.file)
	}
	_ = p.file.Close()
}

// remove removes the file from its directory d, unless another process has
// moved it.
func (p *partialFile) remove(d *dirHandle) {
	if d.refersTo(p.name, p.info) {
		_ = remove(d.root, p.name)
	}
}

// allocate cuts the file off at the offset, also what was preallocated behind
// it for a longer file, and secures the first step of the rest. d is its
// directory.
func (p *partialFile) allocate(d *dirHandle, offset int64) error {
	if p.info.Size() != offset || allocated(p.info) > offset {
		if err := p.file.Truncate(offset); err != nil {
			return err
		}
	}
	p.space.preallocates = p.space.size-offset >= minSuspended
	return p.space.secure(p.file, d.dir, offset, offset)
}

// supportsUnnamed reports whether a file without a name can get a time and then
// a name in d, by doing so.
func (d *dirHandle) supportsUnnamed() bool {
	f, err := openUnnamed(d.dir)
	if err != nil {
		return false
	}
	defer f.Close()
	name := randomPartial()
	if setOpenTime(f, time.Now()) != nil || linkUnnamed(f, d.dir, name) != nil {
		return false
	}
	return remove(d.root, name) == nil
}

// discard closes a partial file that an upload does not use, and removes it if
// it is empty. f may be nil.
func discard(d *dirHandle, name string, f *os.File) {
	if f == nil {
		return
	}
	if now, err := f.Stat(); err == nil && now.Size() == 0 && d.refersTo(name, now) {
		_ = remove(d.root, name)
	}
	_ = f.Close()
}
