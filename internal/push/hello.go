package push

import (
	"context"
	"errors"
	"net"
	"net/http"

	"purr/internal/offer"
)

// Streams are the transfers under way at one listener, by the names that
// further connections give. The zero value is ready for use.
type Streams struct{}

// ErrJoined is returned by Upgrade for a further connection of a transfer
// under way, which owns it from then on. The handler returns without another
// word.
var ErrJoined = errors.New("the connection belongs to a transfer under way")

// IsHello reports whether a request is the hello of a purr, in any version:
// Upgrade answers it. Its path is "/".
func IsHello(r *http.Request) bool { return false }

// Upgrade answers the hello of a purr that dialled, and takes the connection
// over from the HTTP server (http.Hijacker). The Conn reads and writes what the
// server's listener accepted, and closes it. Every error was answered already:
// ErrJoined, or an *Error of the kind SameRole (409), OldVersion (426) or Refused
// (503, by Options.Admit).
func Upgrade(w http.ResponseWriter, r *http.Request, as Role, o Options) (*Conn, error) {
	return nil, errors.ErrUnsupported
}

// Dial says hello on a connection that it takes over, also if it fails. It
// returns once the other end has shown that it is a purr in the other role; until
// then no name and no byte of a file is sent. The error is an *Error, or the
// context's cause.
func Dial(ctx context.Context, conn net.Conn, as Role, o Options) (*Conn, error) {
	return nil, errors.ErrUnsupported
}

// Send offers everything in set to the receiver, and returns when the outcome of
// each file is known. The error is an *Error, or the context's cause; until then
// every file that was under way has been reported as Cut. Files that failed by
// themselves are in the Summary.
func (c *Conn) Send(ctx context.Context, set *offer.Set) (Summary, error) {
	return Summary{}, errors.ErrUnsupported
}

// Receive stores what the sender offers (dir will be a *store.Store). It returns as
// Send does.
func (c *Conn) Receive(ctx context.Context, dir any) (Summary, error) {
	return Summary{}, errors.ErrUnsupported
}

// Close closes all connections.
func (c *Conn) Close() error { return nil }
