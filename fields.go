package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"purr/internal/digest"
	"purr/internal/store"
)

// The fields of HTTP that --push and --pull use, and their values.

const (
	headerRole   = "Purr"               // who asks, and who answers: a role
	headerMode   = "Purr-Mode"          // permission bits, octal
	headerPrefix = "Purr-Prefix-Digest" // what the asker has of the file: the digest of so many bytes
	headerError  = "Purr-Error"         // a trailer: why the file that was sent is not one to store
	headerLane   = "Purr-Lane"          // names the exchange that a connection belongs to
	headerMore   = "Purr-More"          // ?1: another upload follows this one
	headerMtime  = "X-Oc-Mtime"         // Nextcloud's and rclone's name: seconds since 1970
	headerDigest = "Repr-Digest"        // RFC 9530, section 3
	headerWant   = "Want-Repr-Digest"   // RFC 9530, section 4
	headerOffset = "Upload-Offset"      // draft-ietf-httpbis-resumable-upload
	headerLength = "Upload-Length"      // of the same: bytes of the whole file
	headerWhole  = "Upload-Complete"    // of the same: ?0 says that more is to come in other requests
	typePartial  = "application/partial-upload"
	typeLines    = "application/x-ndjson"
	wantSHA256   = "sha-256=10"
)

// mtimeField writes a time as X-OC-Mtime has it, with what Nextcloud would cut
// off: the fraction of a second.
func mtimeField(t time.Time) string {
	text := strconv.FormatInt(t.Unix(), 10)
	if ns := t.Nanosecond(); ns != 0 {
		text += strings.TrimRight(fmt.Sprintf(".%09d", ns), "0")
	}
	return text
}

// parseMtime is the reverse of mtimeField; the zero time for no text.
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
	return time.Unix(seconds, ns), nil
}

func modeField(mode fs.FileMode) string { return fmt.Sprintf("%04o", mode.Perm()) }

// parseMode reads permission bits, with modeGiven; 0 for no text. What is more
// than permission bits is dropped: a set-user-ID bit is nothing to take from a
// network.
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

// readArrival takes from a request's head what it says of the file.
func readArrival(path string, r *http.Request) (store.File, error) {
	a := store.File{Path: path, Size: r.ContentLength}
	var err error
	if a.Mode, err = parseMode(r.Header.Get(headerMode)); err != nil {
		return a, err
	}
	if a.ModTime, err = parseMtime(r.Header.Get(headerMtime)); err != nil {
		return a, err
	}
	if a.Digest, err = digest.Parse(r.Header.Values(headerDigest)); err != nil {
		return a, err
	}
	if r.Method == http.MethodPatch {
		if a.Offset, err = parseOffset(r.Header.Get(headerOffset)); err == nil && a.Size >= 0 {
			a.Size += a.Offset
		}
	}
	if length := r.Header.Get(headerLength); length != "" && err == nil {
		a.Size, err = parseOffset(length)
	}
	return a, err
}
