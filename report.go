package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"purr/internal/display"
	"purr/internal/push"
	"purr/internal/store"
)

// This file words the outcome of each file: a line, or an event under --json.
// Names that come from the peer are quoted, own ones only where they are odd.

// logStored reports a file that is stored and checked. Its rate is shown unless
// it is small or was sent among other files.
func (l *logger) logStored(role push.Role, e push.FileEvent) {
	name := fileName(role, e.Path)
	fields := storedFields(role, e)
	under := ""
	if e.As != e.Path {
		under = " as " + strconv.Quote(e.As)
	}
	pace := ""
	if e.Size > store.SmallFile && !e.Begun.IsZero() {
		pace = ", " + display.Rate(e.Size-e.Offset, time.Since(e.Begun))
	}
	switch {
	case e.Identical:
		l.report(unlessQuiet, "file", fields, "%s: %d bytes already there, identical, sha256 %.8x", name, e.Size, e.Digest)
	case role == push.Sender:
		l.report(unlessQuiet, "file", fields, "%s: %d bytes stored and verified%s, sha256 %.8x%s", name, e.Size, under, e.Digest, pace)
	default:
		l.report(unlessQuiet, "file", fields, "stored %s%s: %d bytes, sha256 %.8x%s", name, under, e.Size, e.Digest, pace)
	}
}

// fileName returns the name of a file for messages.
func fileName(role push.Role, path string) string {
	if role == push.Sender {
		return display.Quote(path)
	}
	return strconv.Quote(path)
}

// storedFields are those of a stored file's event. "path" is the stored name;
// at the sender it is the sent name, unless the file was there already.
func storedFields(role push.Role, e push.FileEvent) []field {
	path, status := e.As, "stored"
	if role == push.Sender && !e.Identical {
		path = e.Path
	}
	if e.Identical {
		status = "identical"
	}
	fields := []field{{"path", path}, {"size", e.Size}, {"sha256", hex.EncodeToString(e.Digest)}, {"status", status}}
	if e.Offset > 0 && !e.Identical {
		fields = append(fields, field{"resumed_at", e.Offset})
	}
	if path != e.As {
		fields = append(fields, field{"as", e.As})
	}
	return fields
}

// logNotSent reports, at the sender, why a file is not stored at the other end.
func (l *logger) logNotSent(e push.FileEvent) {
	name := display.Quote(e.Path)
	switch e.Kind {
	case push.Cut:
		l.logFileFailed(e.Path, "unconfirmed", e.Reason, "%s: not confirmed", name)
	case push.Abandoned:
		l.logFileFailed(e.Path, "failed", e.Reason, "%s: %s: not stored", name, e.Reason)
	case push.Damaged:
		l.logFileFailed(e.Path, "damaged", e.Reason, "%s: %s", name, e.Reason)
	default:
		l.logFileFailed(e.Path, "refused", e.Reason, "%s: refused by the other end: %s", name, e.Reason)
	}
}

// logNotStored reports, at the receiver, why a file is not stored.
func (l *logger) logNotStored(e push.FileEvent) {
	name := strconv.Quote(e.Path)
	switch e.Kind {
	case push.Cut:
		l.logFileCut(e)
	case push.Abandoned:
		cause := "the sender gave up"
		if e.Reason != "" {
			cause += ": " + e.Reason
		}
		l.logFileFailed(e.Path, "failed", cause, "%s: %s; nothing stored", name, cause)
	case push.Failed:
		l.logFileFailed(e.Path, "failed", e.Reason, "%s not stored: %s", name, e.Reason)
	default:
		l.logFileFailed(e.Path, "refused", e.Reason, "%s refused: %s", name, e.Reason)
	}
}

// logFileCut reports, at the receiver, a file that was cut off, and where its
// bytes are that were kept.
func (l *logger) logFileCut(e push.FileEvent) {
	fields := append(failedFields(e.Path, "cut", e.Reason, e.Partial, e.Kept), known("size", e.Size)...)
	name := strconv.Quote(e.Path)
	switch {
	case e.Partial == "":
		l.report(always, "file", fields, "%s: transfer cut: %s; nothing stored", name, e.Reason)
	case e.Size < 0:
		l.report(always, "file", fields, "%s: transfer cut: %s; %d bytes kept in %s for a resume", name, e.Reason, e.Kept, e.Partial)
	default:
		l.report(always, "file", fields, "%s: transfer cut: %s; %d of %d bytes kept in %s for a resume", name, e.Reason, e.Kept, e.Size, e.Partial)
	}
}

// logFileFailed reports a file that is not where it should be. outcome is the
// event's word for that.
func (l *logger) logFileFailed(path, outcome, cause, format string, args ...any) {
	l.report(always, "file", failedFields(path, outcome, cause, "", 0), format, args...)
}

// logRawFailed writes the event of a raw file that failed. The line about err
// is printed elsewhere. partial is the file that holds kept bytes of it, empty
// if there is none.
func (l *logger) logRawFailed(path string, err error, partial string, kept int64) {
	outcome := "failed"
	if s := new(statusError); errors.As(err, s) && s.status == statusMismatch {
		outcome = "damaged"
	}
	l.event("file", failedFields(path, outcome, err.Error(), partial, kept)...)
}

// failedFields returns the fields of a file that is not where it should be.
// partial is the file that holds kept bytes of it, empty if there is none.
func failedFields(path, outcome, cause, partial string, kept int64) []field {
	fields := []field{{"path", path}, {"status", outcome}, {"error", cause}}
	if partial != "" {
		fields = append(fields, field{"kept", kept}, field{"partial", partial})
	}
	return fields
}

// known returns one field with the value n, or none if n is negative: unknown.
func known(name string, n int64) []field {
	if n < 0 {
		return nil
	}
	return []field{{name, n}}
}

// logTotal reports the sum of several files, and names the failed ones again if
// lines about stored files have come after theirs.
func (l *logger) logTotal(role push.Role, outcome string, sum push.Summary) {
	fields := []field{{"files", sum.Files}, {"size", sum.Bytes}, {"status", kindStatus(sum.Worst)}}
	text := fmt.Sprintf("%s, %d bytes %s", display.Count(sum.Files, "file"), sum.Bytes, outcome)
	if sum.Failed > 0 {
		text += fmt.Sprintf("; %d not stored", sum.Failed)
		fields = append(fields, field{"not_stored", sum.Failed}, field{"not_stored_paths", sum.FailedPaths()})
	}
	if l.json || sum.Files+sum.Failed > 1 {
		l.report(unlessQuiet, "summary", fields, "%s", text)
	}
	if l.json {
		return
	}
	for _, line := range sum.BuriedFailures(func(path string) string { return fileName(role, path) }) {
		l.informf("not stored: %s", line)
	}
}
