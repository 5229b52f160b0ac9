package sock

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// AwaitBroken goes on while the peer has only finished, and returns once
// nothing can be delivered any more.
func TestAwaitBroken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		unix bool
		wrap bool
		sent bool                        // whether bytes are on their way that the peer does not read
		ends func(theirs, ours net.Conn) // how the connection ends
		want error
	}{
		{"a Unix peer closes", true, false, false, func(theirs, _ net.Conn) { _ = theirs.Close() }, nil},
		{"a Unix peer closes, under a wrapper", true, true, false, func(theirs, _ net.Conn) { _ = theirs.Close() }, nil},
		{"a Unix peer closes with unread bytes", true, false, true, func(theirs, _ net.Conn) { _ = theirs.Close() }, syscall.ECONNRESET},
		{"a TCP peer resets", false, false, false, func(theirs, _ net.Conn) { testkit.Reset(t, theirs) }, syscall.ECONNRESET},
		{"a TCP peer resets, under a wrapper", false, true, true, func(theirs, _ net.Conn) { testkit.Reset(t, theirs) }, syscall.ECONNRESET},
		{"closed here", false, false, false, func(_, ours net.Conn) { _ = ours.Close() }, net.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var ours, theirs net.Conn
			if test.unix {
				ours, theirs = testkit.UnixPair(t)
			} else {
				ours, theirs = testkit.TcpPair(t)
			}
			_ = theirs.(HalfCloser).CloseWrite()
			testkit.ReadAll(t, ours)
			if test.sent {
				testkit.WriteString(t, ours, "unread")
			}
			waited := ours
			if test.wrap {
				waited = wrapper{ours}
			}
			result := make(chan error, 1)
			go func() { result <- AwaitBroken(waited) }()
			select {
			case err := <-result:
				t.Fatalf("after the peer's end: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			test.ends(theirs, ours)
			select {
			case err := <-result:
				if !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
			case <-time.After(testkit.Patience):
				t.Error("it waits for ever")
			}
		})
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := AwaitBroken(a); err == nil {
		t.Error("no error for a connection without a socket")
	}
}
