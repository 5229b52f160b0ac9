// Package push moves checked files between two programs over one to three
// connections: Send and Receive do the same whichever end dialled. Each file is
// hashed (SHA-256) at both ends, and is on stable storage when its result is
// sent.
//
// A transfer begins as an HTTP/1.1 request that is upgraded (RFC 9110, section
// 7.8), so that one port serves strangers, too. Afterwards both directions
// carry lines and blocks, see wire.go.
package push

import (
	"context"
	"fmt"
	"net"
	"time"

	"purr/internal/rate"
)

// A Role is the direction of the files as one end sees it.
type Role string

// The roles, as they stand in the hello.
const (
	Sender   Role = "sender"
	Receiver Role = "receiver"
)

// Other returns the role of the other end.
func (r Role) Other() Role {
	if r == Sender {
		return Receiver
	}
	return Sender
}

// Protocol is the value of the Upgrade field: name and version.
const Protocol = "purr-files/1"

// Options are the same for both roles and both ends. The zero value works.
type Options struct {
	// Silence is how long the other end may send nothing. Zero: 30 s. Both ends
	// send a keep-alive every 10 s, or three times in Silence if that is more
	// often.
	Silence time.Duration

	// HelloTimeout is how long the other end may take to answer the hello, and
	// a further connection to become part of the transfer. Zero: 5 s.
	HelloTimeout time.Duration

	// Rate limits this end's output, except keep-alives; nil: no limit.
	Rate *rate.Limiter

	// NoResume makes a sender begin every file at its first byte. A receiver's
	// store has an option of its own.
	NoResume bool

	// Events receives the outcome of each file; nil: they are dropped.
	Events Events

	// Dial opens a further connection to the listener that the first one was
	// made to. Nil: the transfer has one connection. For Dial only.
	Dial func(context.Context) (net.Conn, error)

	// Streams finds the transfer that a further connection belongs to. Nil:
	// each transfer has one connection. For Upgrade only.
	Streams *Streams

	// Admit is called before the answer to a hello, unless the connection is a
	// further one. Its error refuses the peer with that text; nil: all are
	// admitted. For Upgrade only.
	Admit func() error

	// Closed is called once for each connection of the transfer before it is
	// closed, by Close: err is nil if it ended in order, else an *Error, or the
	// cause of the context that ended the transfer. Nil: nothing is called.
	Closed func(conn net.Conn, err error)
}

// Events receives the outcomes and the progress of a transfer. Its methods are
// called from several goroutines, but not concurrently for one file.
type Events interface {
	// Stored reports a file that is on stable storage at the receiver, under
	// its name, with the digest of the sender's bytes.
	Stored(FileEvent)
	// Failed reports a file that is not, and why.
	Failed(FileEvent)
	// Resuming reports that a file of size bytes is continued at an offset.
	Resuming(path string, at, size int64)
	// Expected reports that n more bytes of files are to be moved, or fewer if n
	// is negative. At both ends the sums are the same.
	Expected(n int64)
	// Begun reports that the bytes of a file follow.
	Begun(path string)
	// Moved reports n bytes of files that were sent or have arrived.
	Moved(n int)
	// Single reports that no further connection could be opened: the files go
	// over those that there are.
	Single(err error)
}

// noEvents drops all events.
type noEvents struct{}

// Stored drops the event.
func (noEvents) Stored(FileEvent) {}

// Failed drops the event.
func (noEvents) Failed(FileEvent) {}

// Resuming drops the event.
func (noEvents) Resuming(string, int64, int64) {}

// Expected drops the event.
func (noEvents) Expected(int64) {}

// Begun drops the event.
func (noEvents) Begun(string) {}

// Moved drops the event.
func (noEvents) Moved(int) {}

// Single drops the event.
func (noEvents) Single(error) {}

// A FileEvent describes the outcome of one file, link or directory.
type FileEvent struct {
	Path      string    // as the sender names it
	As        string    // where it is stored; differs from Path if that was taken
	Size      int64     // in bytes
	Digest    []byte    // SHA-256
	Identical bool      // it was there already
	Offset    int64     // where a resumed transfer began
	Begun     time.Time // when its first byte was sent or expected; zero: with other files

	// Of Failed:
	Kind    Kind
	Reason  string
	Partial string // Cut: the file that a resume continues; "": nothing was kept
	Kept    int64  // Cut: bytes in Partial
}

// A Kind classifies failures. A higher one is worse.
type Kind int

// The kinds. A file fails with one of those up to Damaged, a transfer with any
// but Unsynced, Abandoned and Failed.
const (
	OK         Kind = iota
	Cut             // the connection has ended: the outcome is not known, a retry is safe
	Unsynced        // the receiver has stored it, but perhaps not on stable storage
	Abandoned       // the sender did not send it: it changed, cannot be read, or is of a special kind
	Failed          // the receiver's system failed
	Refused         // the receiver did not store it, or the listener does not serve this peer
	Damaged         // the digest differs, of a file or of a line
	Violation       // the peer breaks the protocol
	OldVersion      // the peer has another version of the protocol, or expects TLS
	SameRole        // both ends send, or both receive
	NotHTTP         // the peer does not answer the hello in HTTP
	NotPurr         // the peer speaks HTTP, and is no purr
	NeedsKey        // the peer expects an encrypted connection
)

// An Error is why a hello, a transfer or one file has failed. Text is the
// reason, without the peer's name; it may contain text that the peer has sent.
type Error struct {
	Kind  Kind
	Text  string
	cause error

	remote bool // it came from the peer
}

// Error returns Text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the error of the connection; nil if Text is the whole reason.
func (e *Error) Unwrap() error { return e.cause }

// errorf returns an Error of this end with a formatted text and no cause.
func errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}
