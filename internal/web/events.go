package web

import (
	"net"

	"purr/internal/push"
	"purr/internal/store"
)

// Events receives the clients and files of a Server, from several goroutines.
// Texts may hold bytes of the client's.
type Events interface {
	// Began reports that a file begins to arrive from a client that is no purr, or
	// to be sent to it. size is in bytes, -1 if it is not known. The result, not
	// nil, counts the file.
	Began(path string, size int64) Progress

	// Resuming reports that an upload of size bytes is continued at an offset.
	Resuming(path string, at, size int64)

	// Stored reports an upload that is on stable storage.
	Stored(push.FileEvent)

	// Failed reports an upload that was not stored, or is not on stable
	// storage. Its size is -1 if it is not known.
	Failed(push.FileEvent)

	// FormCut reports a form of which the rest is malformed or did not come.
	FormCut(client string, err error)

	// Downloaded reports the end of a download.
	Downloaded(Download)

	// Transfer reports the beginning of a purr's transfer. The result, not
	// nil, receives its files and its end.
	Transfer(client string) Transfer

	// Joined reports that a connection is a further one of a transfer under way.
	Joined(net.Conn)

	// Silent reports a client that was closed because it sent nothing.
	Silent(client string)

	// Note reports a remark of net/http's about one connection.
	Note(text string)

	// ClientFailed reports a failure that Serve does not return: with Keep, or if
	// the server serves another client.
	ClientFailed(err error)

	// Closed reports the end of a connection, before it is closed. The
	// connection is the one that Prepare has returned.
	Closed(net.Conn, Ending)
}

// Progress counts one upload or download.
type Progress interface {
	// Add counts n more bytes.
	Add(n int)
	// End is called once, after the last byte.
	End()
}

// A Transfer receives the events of a purr's transfer.
type Transfer interface {
	push.Events
	// End is called once, with the results of push.Conn's Send or Receive. It
	// returns the failure of the client, for Serve to return; nil: there is none.
	End(push.Summary, error) error
}

// A Download is the outcome of one download.
type Download struct {
	Path    string
	Client  string
	Size    int64 // bytes sent
	Err     error // nil: the client's system has acknowledged all of them
	Refused bool  // nothing was sent
}

// An Ending is how a connection has ended.
type Ending int

// The endings.
const (
	ClosedHere  Ending = iota // by this end, with nothing under way
	ClosedThere               // by the client, with nothing under way
	Finished                  // after a transfer in order, by both ends
	Interrupted               // because the context of Serve has ended
	Broken                    // in the middle
)

// A ClientError is a failure of one client: Err is a *FilesError, ErrNotHTTP,
// ErrTLS, or a *push.Error of a hello.
type ClientError struct {
	Client string // address or path
	Err    error
}

// Error names the client in front of its failure.
func (e *ClientError) Error() string { return e.Client + ": " + e.Err.Error() }

// Unwrap returns the failure without the client.
func (e *ClientError) Unwrap() error { return e.Err }

// A FilesError is the failure of files, each of which Events has received.
type FilesError struct {
	Worst    push.Kind // of an upload or a transfer; Cut or Abandoned of a download
	Download bool      // a client that is no purr did not get what it asked for
}

// Error is the same for every failure: Events has received the details.
func (e *FilesError) Error() string { return "not every file was moved" }

// A protocolError is a client that does not speak HTTP.
type protocolError string

// Error returns the text of the constant.
func (e protocolError) Error() string { return string(e) }

// The failures of clients that speak another protocol.
const (
	ErrNotHTTP = protocolError("does not speak HTTP")
	ErrTLS     = protocolError("speaks TLS")
)

// filesFailed returns the *ClientError of c after uploads whose worst outcome
// is worst; nil if that is push.OK.
func filesFailed(c *client, worst push.Kind) error {
	if worst == push.OK {
		return nil
	}
	return &ClientError{c.name, &FilesError{Worst: worst}}
}

// outcome maps the kind of a store error to that of a push event: Damaged for a
// digest that differs, Unsynced for a file that is stored but perhaps not on
// stable storage, else Refused.
func outcome(k store.Kind) push.Kind {
	switch k {
	case store.Mismatch:
		return push.Damaged
	case store.Unsynced:
		return push.Unsynced
	}
	return push.Refused
}

// noEvents replaces Options.Events if that is nil: each method drops its event.
// It is also the Progress of such a file.
type noEvents struct{}

func (noEvents) Began(string, int64) Progress  { return noEvents{} }
func (noEvents) Resuming(string, int64, int64) {}
func (noEvents) Stored(push.FileEvent)         {}
func (noEvents) Failed(push.FileEvent)         {}
func (noEvents) FormCut(string, error)         {}
func (noEvents) Downloaded(Download)           {}
func (noEvents) Transfer(string) Transfer      { return noTransfer{} }
func (noEvents) Joined(net.Conn)               {}
func (noEvents) Silent(string)                 {}
func (noEvents) Note(string)                   {}
func (noEvents) ClientFailed(error)            {}
func (noEvents) Closed(net.Conn, Ending)       {}
func (noEvents) Moved(int)                     {}
func (noEvents) Add(int)                       {}
func (noEvents) End()                          {}

// noTransfer is the Transfer of noEvents.
type noTransfer struct{ noEvents }

func (noTransfer) Expected(int64) {}
func (noTransfer) Begun(string)   {}
func (noTransfer) Single(error)   {}

// End returns the failure of the transfer: Serve returns it even without
// Events.
func (noTransfer) End(sum push.Summary, err error) error {
	if err == nil && sum.Worst != push.OK {
		return &FilesError{Worst: sum.Worst}
	}
	return err
}
