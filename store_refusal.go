package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"syscall"
)

// A refusal is why a file was not taken, in words for both ends.
type refusal struct {
	code   int // the HTTP status
	status int // the exit status: 4, or 5 if what came is not what was announced
	text   string
}

func (r *refusal) Error() string { return r.text }

func refusef(code int, format string, args ...any) *refusal {
	return &refusal{code, 4, fmt.Sprintf(format, args...)}
}

// mismatchf is the refusal of content that is not what was announced.
func mismatchf(format string, args ...any) *refusal {
	return &refusal{http.StatusUnprocessableEntity, 5, fmt.Sprintf(format, args...)}
}

// existsRefusal says that the name is taken: by a file, or by a symbolic link,
// whatever it leads to.
func existsRefusal() *refusal { return refusef(http.StatusPreconditionFailed, "exists") }

// diskRefusal is err, which the file system returned, as a refusal. A refusal
// stays what it is.
func diskRefusal(err error) *refusal {
	var r *refusal
	var errno syscall.Errno
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, fs.ErrPermission):
		return refusef(http.StatusForbidden, "permission denied")
	case noSpace(err):
		return refusef(http.StatusInsufficientStorage, "no space left on device")
	case errors.Is(err, syscall.EROFS):
		return refusef(http.StatusForbidden, "read-only file system")
	case errors.Is(err, syscall.EDQUOT):
		return refusef(http.StatusInsufficientStorage, "disk quota exceeded")
	case errors.Is(err, syscall.EFBIG):
		return refusef(http.StatusInsufficientStorage, "file too large for the file system")
	case errors.Is(err, fs.ErrExist):
		return existsRefusal()
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return refusef(http.StatusConflict, "not a regular file there")
	case errors.Is(err, syscall.ENAMETOOLONG):
		return refusef(http.StatusBadRequest, "name too long for the file system")
	case errors.Is(err, syscall.EILSEQ), errors.Is(err, syscall.EINVAL):
		return refusef(http.StatusBadRequest, "name not possible on the file system")
	case errors.As(err, &errno):
		return refusef(http.StatusInternalServerError, "%s", errno.Error())
	}
	return refusef(http.StatusInternalServerError, "%v", err)
}

// writeRefusal is what becomes of a file whose content could not be written.
func writeRefusal(err error) *refusal {
	r := diskRefusal(err)
	if r.code == http.StatusBadRequest { // EINVAL of a write is not about the name
		r = refusef(http.StatusInternalServerError, "%v", err)
	}
	r.text += "; partial removed"
	return r
}
