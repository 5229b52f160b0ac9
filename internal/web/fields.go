package web

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"mime/multipart"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"purr/internal/digest"
	"purr/internal/store"
)

// Header fields and media types.
const (
	headerMode   = "Purr-Mode"        // permission bits, octal
	headerMore   = "Purr-More"        // ?1: another upload follows this one
	headerVisit  = "Purr-Visit"       // the same text in each upload of one visit
	headerMtime  = "X-Oc-Mtime"       // of Nextcloud and rclone: seconds since 1970
	headerDigest = "Repr-Digest"      // RFC 9530, section 3
	headerWant   = "Want-Repr-Digest" // RFC 9530, section 4
	headerOffset = "Upload-Offset"    // draft-ietf-httpbis-resumable-upload
	headerLength = "Upload-Length"    // of the same: bytes of the whole file
	headerWhole  = "Upload-Complete"  // of the same: ?0 if further requests complete the file
	typePartial  = "application/partial-upload"
)

// formatMtime writes a time as X-OC-Mtime, with the fraction of a second that
// Nextcloud omits.
func formatMtime(t time.Time) string {
	seconds, ns, sign := t.Unix(), t.Nanosecond(), ""
	if seconds < 0 && ns > 0 { // the fraction of a negative number counts down
		seconds, ns = seconds+1, 1e9-ns
		if seconds == 0 {
			sign = "-"
		}
	}
	text := sign + strconv.FormatInt(seconds, 10)
	if ns != 0 {
		text += strings.TrimRight(fmt.Sprintf(".%09d", ns), "0")
	}
	return text
}

// parseMtime is the inverse of formatMtime. It returns the zero time for an
// empty text.
func parseMtime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	whole, fraction, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0123456789") != "" || len(fraction) > 9 {
		return time.Time{}, errors.New("malformed modification time")
	}
	ns, _ := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if strings.HasPrefix(whole, "-") {
		ns = -ns
	}
	return time.Unix(seconds, ns), nil
}

// formatMode writes permission bits as Purr-Mode.
func formatMode(mode fs.FileMode) string { return fmt.Sprintf("%04o", mode.Perm()) }

// parseMode is the inverse of formatMode, and adds store.ModeGiven, which
// distinguishes mode 0000 from none. It returns 0 for an empty text. Bits that
// are no permissions, such as set-user-ID, are dropped.
func parseMode(text string) (fs.FileMode, error) {
	if text == "" {
		return 0, nil
	}
	mode, err := strconv.ParseUint(text, 8, 16)
	if err != nil {
		return 0, errors.New("malformed mode")
	}
	return fs.FileMode(mode).Perm() | store.ModeGiven, nil
}

// parseOffset reads Upload-Offset or Upload-Length, a decimal number of bytes.
func parseOffset(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, errors.New("malformed " + headerOffset + " or " + headerLength)
	}
	return n, nil
}

// uploadOf returns the file that the header of an upload announces: size,
// offset, mode, time and digest. path is its name. Size is that of the whole
// file, -1 if it is not known. The error names a malformed field, or is errPart
// if the header declares a part of a file.
func uploadOf(r *http.Request, path string) (store.File, error) {
	f := store.File{Path: path, Size: r.ContentLength}
	if !isWhole(r) {
		return f, errPart
	}
	var err error
	if f.Mode, err = parseMode(r.Header.Get(headerMode)); err != nil {
		return f, err
	}
	if f.ModTime, err = parseMtime(r.Header.Get(headerMtime)); err != nil {
		return f, err
	}
	if f.Digest, err = digest.Parse(r.Header.Values(headerDigest)); err != nil {
		return f, err
	}
	if r.Method == http.MethodPatch {
		if f.Offset, err = parseOffset(r.Header.Get(headerOffset)); err != nil {
			return f, err
		}
		if f.Size > math.MaxInt64-f.Offset {
			return f, errors.New("malformed " + headerOffset)
		}
		if f.Size >= 0 {
			f.Size += f.Offset
		}
	}
	if length := r.Header.Get(headerLength); length != "" {
		f.Size, err = parseOffset(length)
	}
	return f, err
}

// errPart is the error of an upload by PUT that is not the whole file.
var errPart = errors.New("a part of a file is not a file")

// isWhole reports whether the fields of an upload declare that its body is the
// whole file. A Content-Range that covers the whole file is allowed, since
// "curl -C -" sends one.
func isWhole(r *http.Request) bool {
	whole := fmt.Sprintf("bytes 0-%d/%d", r.ContentLength-1, r.ContentLength) // RFC 9110, section 14.4
	part := r.Header.Get("Content-Range")
	return (part == "" || part == whole) && r.Header.Get(headerWhole) != "?0"
}

// howToGoOn returns advice for a client whose upload was cut. kept is the
// number of its bytes that are stored here. If there are some, the advice
// includes the command that sends the rest.
func howToGoOn(r *http.Request, kept int64) string {
	if kept <= 0 {
		return "nothing of it is kept here: send the whole file again"
	}
	at := "HOST:PORT" // unless the client's words for it can stand in a command
	if host, port, err := net.SplitHostPort(r.Host); err == nil && plainHost(host) && plainHost(port) {
		at = r.Host
	}
	return fmt.Sprintf(`%d bytes of it are kept here: send the whole file again, or only the rest: `+
		`tail -c +%d FILE | curl --fail-with-body -T - -X PATCH -H 'Content-Type: %s' -H '%s: %[1]d' `+
		`-H "%[5]s: sha-256=:$(openssl dgst -sha256 -binary FILE | base64):" 'http://%[6]s%[7]s'`,
		kept, kept+1, typePartial, headerOffset, headerDigest, at, pagePath(r.URL.Path))
}

// checkPreconditions checks If-Match and If-None-Match of an upload (RFC 9110,
// section 13.1); exists is true if the name of the upload is taken. It returns
// a *store.Error if "If-Match: *" meets a free name, or "If-None-Match: *" a
// taken one. A receiver gives no entity tags, so that any other If-Match fails.
func checkPreconditions(r *http.Request, exists bool) error {
	if match := r.Header.Get("If-Match"); match != "" && (match != "*" || !exists) {
		return &store.Error{Kind: store.Exists, Text: "not the file that If-Match demands"}
	}
	if r.Header.Get("If-None-Match") == "*" && exists {
		return &store.Error{Kind: store.Exists, Text: "exists"}
	}
	return nil
}

// lacksLength reports whether a request of HTTP/1 gives its body neither a
// Content-Length nor chunks: then it has no body (RFC 9112, section 6.3), and a
// PUT would store an empty file by mistake.
func lacksLength(r *http.Request) bool {
	return r.ProtoMajor == 1 && len(r.TransferEncoding) == 0 && r.Header.Get("Content-Length") == ""
}

// dropOddRange removes a Range field of a unit other than bytes, which a server
// ignores (RFC 9110, section 14.2). It writes "bytes" in lower case, as
// http.ServeContent needs it.
func dropOddRange(h http.Header) {
	unit, ranges, _ := strings.Cut(h.Get("Range"), "=")
	switch {
	case unit == "":
	case strings.EqualFold(unit, "bytes"):
		h.Set("Range", "bytes="+ranges)
	default:
		h.Del("Range")
	}
}

// formName returns the name of a file in a form, without directories. Browsers
// and curl escape the double quote as %22, and no other character.
func formName(p *multipart.Part) string { return strings.ReplaceAll(p.FileName(), "%22", `"`) }
