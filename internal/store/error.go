package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"purr/internal/relpath"
	"purr/internal/sys"
)

// Kind classifies an Error.
type Kind int

const (
	Failed    Kind = iota // the file system failed in a way that has no kind of its own
	Invalid               // the name or the announcement of the file is malformed
	Forbidden             // permission denied, a read-only file system, a hidden name, or a symbolic link in the way
	Conflict              // another kind of entry, another transfer or a concurrent change is in the way
	Exists                // the name is taken
	TooLarge              // the file exceeds Options.MaxSize
	NoSpace               // the file system is full, or the file exceeds a quota or the largest size
	Mismatch              // the content differs from its announced size or digest
	Unsynced              // the file is stored, but may not be on stable storage
)

// A Way is what would avoid an Error: an option of the Store, or an action of
// its user.
type Way int

const (
	NoWay         Way = iota // no option or user can
	ByLimit                  // a larger Options.MaxSize
	ByHidden                 // Options.Hidden
	ByForce                  // Options.Force: the file system can only replace
	ByRemovedLink            // the removal of a symbolic link, which Options.Force does not replace
)

// An Error is the reason why a file was not stored. Text names no path of the
// receiving system, and may be sent to the peer.
type Error struct {
	Kind        Kind
	Text        string
	Way         Way
	Limit, Left int64 // bytes, with ByLimit: Options.MaxSize, and what is left of it
}

// Error returns Text.
func (e *Error) Error() string { return e.Text }

// errorf returns an Error with a formatted text and no Way.
func errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// avoidable returns e, which has a Way. If Options.Word is set, it sets the
// Text of e to the result of that.
func (o *Options) avoidable(e *Error) *Error {
	if o.Word != nil {
		e.Text = o.Word(e)
	}
	return e
}

// errExists returns the error for a name that is taken by a file or by a
// symbolic link, whatever its target.
func errExists() *Error { return errorf(Exists, "exists") }

// checkName returns nil if a file may have the relative path name.
func (o *Options) checkName(name string) error {
	return o.nameError(relpath.Check(name, o.Hidden))
}

// checkTarget returns nil if a symbolic link at name may lead to target.
func (o *Options) checkTarget(name, target string) error {
	return o.nameError(relpath.CheckTarget(name, target, o.Hidden))
}

// errOutside returns the error for a symbolic link that leads outside.
func errOutside() *Error { return errorf(Forbidden, "leads outside by a symbolic link") }

// unsynced returns the error for names that are in place, but that err kept
// from stable storage. It is nil if err is.
func unsynced(err error) error {
	if err == nil {
		return nil
	}
	return errorf(Unsynced, "stored, but perhaps not on the disk: %v", sys.Cause(err))
}

// nameError returns an error of package relpath as an Error.
func (o *Options) nameError(err error) error {
	var e *relpath.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case relpath.Malformed:
		return &Error{Kind: Invalid, Text: e.Text}
	case relpath.Hidden:
		return o.avoidable(&Error{Kind: Forbidden, Text: e.Text, Way: ByHidden})
	}
	return &Error{Kind: Forbidden, Text: e.Text}
}

// diskError returns err, an error of the file system, as an Error. An Error is
// returned unchanged.
func diskError(err error) *Error {
	var e *Error
	var errno syscall.Errno
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, fs.ErrPermission):
		return errorf(Forbidden, "permission denied")
	case noSpace(err):
		return errorf(NoSpace, "no space left on device")
	case errors.Is(err, syscall.EROFS):
		return errorf(Forbidden, "read-only file system")
	case errors.Is(err, syscall.EDQUOT):
		return errorf(NoSpace, "disk quota exceeded")
	case errors.Is(err, syscall.EFBIG):
		return errorf(NoSpace, "file too large for the file system")
	case errors.Is(err, fs.ErrExist):
		return errExists()
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return errorf(Conflict, "not a regular file there")
	case errors.Is(err, syscall.ENAMETOOLONG):
		return errorf(Invalid, "name too long for the file system")
	case errors.Is(err, syscall.EILSEQ), errors.Is(err, syscall.EINVAL):
		return errorf(Invalid, "name not possible on the file system")
	case errors.As(err, &errno):
		return errorf(Failed, "%s", errno.Error())
	}
	return errorf(Failed, "%v", err)
}

// writeError returns err, which writing the content has returned, as an Error.
// The text adds that the partial file is removed, as Receive and Commit do.
func writeError(err error) *Error {
	e := diskError(err)
	if e.Kind == Invalid { // EINVAL of a write does not concern the name
		e = errorf(Failed, "%v", err)
	}
	e.Text += "; partial removed"
	return e
}
