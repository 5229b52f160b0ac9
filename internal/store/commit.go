package store

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"strconv"
	"time"

	"purr/internal/sys"
)

// Commit gives the file its final name, after Receive has returned nil. digest
// is the SHA-256 that the sender has sent behind the content, nil if none. When
// it returns nil, content and name are on stable storage. The error is an
// *Error: nothing is stored, except for the kind Unsynced.
func (u *Upload) Commit(digest []byte) (*Stored, error) {
	if u.ended {
		return nil, errorf(Conflict, "given up before")
	}
	c := &commit{dir: u.dir, base: u.base, size: u.received, dirsFollow: u.want.DirsFollow}
	err := u.verify(digest)
	if err == nil {
		err = u.complete()
	}
	if err == nil {
		c.part = u.part
		err = u.store.commits.commit(c)
	}
	if err != nil {
		u.Abort()
		return nil, diskError(err)
	}
	u.closeFile()
	u.unclaim()
	return &Stored{Path: c.path, Size: u.received, Digest: u.sum()}, nil
}

// verify compares the received content with the announced size and digest, and
// with digest, which came behind the content; nil if none came.
func (u *Upload) verify(digest []byte) error {
	if u.want.Size >= 0 && u.received != u.want.Size {
		return errorf(Mismatch, "%d of %d bytes came", u.received, u.want.Size)
	}
	sum := u.sum()
	for _, want := range [][]byte{u.want.Digest, digest} {
		if want != nil && !bytes.Equal(want, sum) {
			return errorf(Mismatch, "digest mismatch: damaged on the way")
		}
	}
	return nil
}

// complete makes the partial file ready for its final name. It creates the file
// if no content came, corrects the charge to the bytes that came, and sets
// permissions and time.
func (u *Upload) complete() error {
	if u.received == 0 {
		if err := u.store.quota.charge(0, 1); err != nil {
			return err
		}
		u.entries = 1
	}
	u.store.quota.refund(u.charged-u.received, 0) // of a longer partial file
	u.charged = u.received
	if err := u.ensureOpen(); err != nil {
		return err
	}
	if err := u.setAttributes(); err != nil {
		return writeError(err)
	}
	return nil
}

// setAttributes gives the partial file its size, permissions and time.
func (u *Upload) setAttributes() error {
	if u.part.dataEnd < u.received { // it ends in a hole
		if err := u.part.file.Truncate(u.received); err != nil {
			return err
		}
	}
	mode := u.want.Mode
	if mode == 0 {
		mode = 0o666
	}
	if err := setMode(u.part.file, permissions(mode, u.store.tree.umask)); err != nil {
		return err
	}
	if !u.want.ModTime.IsZero() {
		return u.setTime()
	}
	return nil
}

// setTime sets the time of the last modification, and leaves that of the last
// access. It is no error if the file system does not permit this: see timeSet.
func (u *Upload) setTime() error {
	err := setOpenTime(u.part.file, representable(u.want.ModTime))
	if err != nil && u.part.name != "" {
		err = u.setNamedTime()
	}
	return u.store.options.timeSet(u.want.Path, err)
}

// timeSet handles err, the result of setting the time of path. If the file
// system does not permit that, as some of phones and of Windows servers, it
// calls Options.TimeLost and returns nil; any other error is returned.
func (o *Options) timeSet(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if o.TimeLost != nil {
		o.TimeLost(path, sys.Cause(err))
	}
	return nil
}

// setNamedTime is setTime for systems where it needs a name.
func (u *Upload) setNamedTime() error {
	d, err := u.store.tree.open(u.dir)
	if err != nil {
		return err
	}
	defer d.close()
	if !d.refersTo(u.part.name, u.part.info) {
		return errMoved
	}
	return d.root.Chtimes(u.part.name, time.Time{}, representable(u.want.ModTime))
}

// representable returns t, or on 32-bit processors the nearest time that a
// timespec of utimensat(2) holds there: the conversion would wrap around.
func representable(t time.Time) time.Time {
	if strconv.IntSize == 64 {
		return t
	}
	return time.Unix(max(math.MinInt32, min(math.MaxInt32, t.Unix())), int64(t.Nanosecond()))
}

var errMoved = &Error{Kind: Conflict, Text: "moved or replaced by somebody else while it was received"}
