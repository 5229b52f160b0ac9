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

// What --push and --pull say of each file: a line, or an event under --json.

// sayFile says that something went well.
func (p *purr) sayFile(event []field, format string, args ...any) {
	if p.log.json {
		p.log.event("file", event...)
		return
	}
	p.log.informf(format, args...)
}

// sayFailed says that a file is not where it should be; status is the event's
// word for that, why its cause.
func (p *purr) sayFailed(name, status, why, format string, args ...any) {
	if p.log.json {
		p.log.event("file", failedEvent(name, status, why, "", 0)...)
		return
	}
	p.log.warnf(format, args...)
}

// sayCut says, at the receiver, that a file was cut off, and where those of its
// bytes are that were kept: none if partial is empty. size is -1 where nobody has
// told.
func (p *purr) sayCut(name, why, partial string, kept, size int64) {
	switch {
	case p.log.json:
		p.log.event("file", append(failedEvent(name, "cut", why, partial, kept), known("size", size)...)...)
	case partial == "":
		p.log.warnf("%s: transfer cut: %s; nothing stored", strconv.Quote(name), why)
	case size < 0:
		p.log.warnf("%s: transfer cut: %s; %d bytes kept in %s for a resume", strconv.Quote(name), why, kept, partial)
	default:
		p.log.warnf("%s: transfer cut: %s; %d of %d bytes kept in %s for a resume", strconv.Quote(name), why, kept, size, partial)
	}
}

// logFileFailed writes the event of a raw file that failed. kept bytes of it are in
// partial, none if that is empty.
func logFileFailed(l *logger, name string, err error, partial string, kept int64) {
	status := "failed"
	if s := new(statusError); errors.As(err, s) && s.status == statusMismatch {
		status = "damaged"
	}
	l.event("file", failedEvent(name, status, err.Error(), partial, kept)...)
}

// known is a member of an event, unless n is negative.
func known(name string, n int64) []field {
	if n < 0 {
		return nil
	}
	return []field{{name, n}}
}

func failedEvent(name, status, why, partial string, kept int64) []field {
	event := []field{{"path", name}, {"status", status}, {"error", why}}
	if partial != "" {
		event = append(event, field{"kept", kept}, field{"partial", partial})
	}
	return event
}

// sayStored says, at the sender, that a file is where it should be. Its
// transfer went on from offset and began at begun, which is zero for one that
// was not alone on its way.
func (p *purr) sayStored(name string, f *store.Stored, offset int64, begun time.Time) {
	if f.Identical {
		p.sayIdentical(display.Quote(name), f)
		return
	}
	event := storedEvent(f, offset)
	if f.Path != name { // at a sender "path" is its own
		event[0].value = name
		event = append(event, field{"as", f.Path})
	}
	p.sayFile(event, "%s: %d bytes stored and verified%s, sha256 %.8x%s", display.Quote(name), f.Size, storedUnder(f, name), f.Digest, rateOf(f, offset, begun))
}

// sayReceived is sayStored at the receiver.
func (p *purr) sayReceived(name string, f *store.Stored, offset int64, begun time.Time) {
	if f.Identical {
		p.sayIdentical(strconv.Quote(name), f)
		return
	}
	p.sayFile(storedEvent(f, offset), "stored %s%s: %d bytes, sha256 %.8x%s", strconv.Quote(name), storedUnder(f, name), f.Size, f.Digest, rateOf(f, offset, begun))
}

// storedUnder says under which name a file is stored, if that is not its own.
func storedUnder(f *store.Stored, name string) string {
	if f.Path == name {
		return ""
	}
	return " as " + strconv.Quote(f.Path)
}

func (p *purr) sayIdentical(name string, f *store.Stored) {
	p.sayFile(storedEvent(f, 0), "%s: %d bytes already there, identical, sha256 %.8x", name, f.Size, f.Digest)
}

func storedEvent(f *store.Stored, offset int64) []field {
	event := []field{{"path", f.Path}, {"size", f.Size}, {"sha256", hex.EncodeToString(f.Digest)}, {"status", "stored"}}
	if f.Identical {
		event[len(event)-1].value = "identical"
	}
	if offset > 0 {
		event = append(event, field{"resumed_at", offset})
	}
	return event
}

// rateOf is how fast a large file came, for the end of its line.
func rateOf(f *store.Stored, offset int64, begun time.Time) string {
	if f.Size <= store.SmallFile || begun.IsZero() {
		return ""
	}
	return ", " + display.Rate(f.Size-offset, time.Since(begun))
}

// sayTotal says what several files come to; its event what any number does.
func (p *purr) sayTotal(how string, sum push.Summary) {
	p.log.event("summary", field{"files", sum.Files}, field{"size", sum.Bytes}, field{"status", kindStatus(sum.Worst)})
	if sum.Files > 1 && !p.log.json {
		p.log.informf("%d files, %d bytes %s", sum.Files, sum.Bytes, how)
	}
}

// sayResuming says that a transfer goes on where an earlier one ended.
func (p *purr) sayResuming(name string, offset, size int64) {
	p.log.informf("%s: resuming at %d of %d bytes", name, offset, size)
}

// failure is the error of an exchange that ended in order: nil, or the status
// of what failed in it, all of which has been said.
func failure(status exitStatus) error {
	if status == statusOK {
		return nil
	}
	return statusError{status, saidError{fmt.Errorf("not everything was stored")}}
}
