package push

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// A stream is one connection of a transfer.
type stream struct {
	conn  net.Conn
	in    *source
	out   *sink
	first bool
	err   error // how reading ended: nil if in order

	outbox // of a sender
	inbox  // of a receiver
}

// stop ends reading and writing.
func (st *stream) stop() {
	st.in.stop()
	st.out.stop()
}

// answer accepts a hello: it writes the 101 response in the role as. name is
// the transfer's, for further connections; "" if none can join.
func (st *stream) answer(as Role, name string) error {
	head := fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n%s: %s\r\n", Protocol, fieldRole, as, fieldDigests, digests)
	if name != "" {
		head += fieldStream + ": " + name + "\r\n"
	}
	_, err := io.WriteString(st.conn, head+"\r\n")
	return err
}

// notPurr returns the *Error for a hello that has failed with err. If err is no
// *Error, the peer's first bytes determine the kind: it expects a key, serves
// HTTP, or speaks another protocol. A connection that ends before the answer,
// or in the middle of one that may be a purr's, is Cut.
func (st *stream) notPurr(err error) error {
	const beginning = "HTTP/1.1 " // of an answer
	var e *Error
	first := string(st.in.first)
	switch {
	case errors.As(err, &e):
		return err
	case st.in.end != nil && (strings.HasPrefix(first, beginning) || strings.HasPrefix(beginning, first)):
		return cut(st.in.end, "", 0)
	case strings.HasPrefix(first, "purr: this port"):
		return &Error{Kind: NeedsKey, Text: "expects a key", cause: err}
	case strings.HasPrefix(first, "HTTP/1"), isHTML(first):
		return &Error{Kind: NotPurr, Text: "speaks HTTP", cause: err}
	}
	return &Error{Kind: NotHTTP, Text: "does not speak HTTP", cause: err}
}

// checkID accepts a new id that is higher than all earlier ones of the stream,
// else it returns a Violation. The caller holds mu.
func (st *stream) checkID(id int64) error {
	if id <= st.last {
		return errorf(Violation, "an id that is not new")
	}
	st.last = id
	return nil
}

// sendFile registers the small file f under a new id and queues m with its
// content. It waits for room. The lock makes the ids rise on the wire.
func (st *stream) sendFile(m *message, content []byte, f *sent) error {
	st.order.Lock()
	defer st.order.Unlock()
	if err := st.out.room(len(content)); err != nil {
		return err
	}
	m.ID = st.add(f)
	return st.out.file(m, content)
}

// sendLine registers f under a new id, which it returns, and queues m with that
// id. The lock makes the ids rise on the wire.
func (st *stream) sendLine(m *message, f *sent) (id int64) {
	st.order.Lock()
	defer st.order.Unlock()
	m.ID = st.add(f)
	st.out.line(m)
	return m.ID
}
