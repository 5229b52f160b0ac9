package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"purr/internal/sys"
)

// maxStreams is how many connections one transfer has at most.
const maxStreams = 3

// A Conn is one transfer after its hello: one to three connections. The caller
// calls Send or Receive once, as its role demands, and then Close.
type Conn struct {
	role Role
	o    Options
	name string // by which further connections join; "": there are none
	peer string // the Host field of a hello, at the end that dialled

	ctx    context.Context // ends with the first failure, which is its cause
	cancel context.CancelCauseFunc

	outlook outlook

	first *stream // carries everything but large files, and the summary; never changes

	// Of small files and of large ones. The reader of a stream waits for the
	// first, and the second may be of a file whose blocks it has still to read.
	memory, blocks quota

	running sync.WaitGroup // readers, sinks, and the opening of further connections

	mu      sync.Mutex
	changed *sync.Cond
	streams []*stream     // first is its first
	begin   func(*stream) // starts a stream, once Send or Receive runs
	opening int           // further connections that are being opened
	single  bool          // no further one can be opened
	ended   bool          // no further one is needed
	unused  []net.Conn    // opened too late
	closed  bool
}

// newConn returns a Conn without connections, with the defaults of unset
// options. The caller sets first and streams after the hello.
func newConn(as Role, o Options) *Conn {
	if o.Silence <= 0 {
		o.Silence = 30 * time.Second
	}
	if o.HelloTimeout <= 0 {
		o.HelloTimeout = 5 * time.Second
	}
	if o.Events == nil {
		o.Events = noEvents{}
	}
	c := &Conn{role: as, o: o, outlook: outlook{events: o.Events}}
	c.changed = sync.NewCond(&c.mu)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// newStream returns a stream that owns conn. Nothing is read or written until
// the hello or startLocked.
func (c *Conn) newStream(conn net.Conn) *stream {
	out := newSink(c.ctx, conn, c.o.Rate)
	out.written = c.memory.release
	return &stream{conn: conn, in: newSource(conn, c.o.Silence), out: out}
}

// keepAlivePause is the time between two keep-alives.
const keepAlivePause = 10 * time.Second

// run begins the transfer: it calls start for each stream, now or when it
// joins. start launches the reader of the stream, and does not wait.
func (c *Conn) run(start func(*stream)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin = start
	for _, st := range c.streams {
		c.startLocked(st)
	}
}

// startLocked launches the writer and the reader of a stream. The caller holds
// mu, and run has set begin.
func (c *Conn) startLocked(st *stream) {
	c.running.Go(func() { st.out.run(min(keepAlivePause, c.o.Silence/3)) })
	c.begin(st)
}

// addLocked adds a stream to the transfer, and starts it if run was called. The
// caller holds mu.
func (c *Conn) addLocked(st *stream) {
	st.first = len(c.streams) == 0
	c.streams = append(c.streams, st)
	if c.begin != nil {
		c.startLocked(st)
	}
	c.changed.Broadcast()
}

// join adds the stream of a further connection that the peer has dialled.
// Before that it calls answered, which answers the hello: the answer goes
// before all other bytes of the stream. It reports false if there is no room,
// without a call of answered, or if answered fails. Then the caller closes the
// connection.
func (c *Conn) join(st *stream, answered func() error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.ended || len(c.streams) >= maxStreams || answered() != nil {
		return false
	}
	c.opening = max(0, c.opening-1)
	c.addLocked(st)
	return true
}

// growLocked begins to open a further connection, unless there are enough or
// none can join. The dialling end dials in the background. A sender at the
// listening end sends "more", so that the receiver dials. If neither is
// possible, it sets single, and later calls do nothing. The caller holds mu.
func (c *Conn) growLocked() {
	if c.single || c.ended || c.ctx.Err() != nil || c.name == "" || len(c.streams)+c.opening >= maxStreams {
		return
	}
	if c.o.Dial != nil {
		c.opening++
		c.running.Go(c.dialFurther)
		return
	}
	if c.role == Sender && c.o.Streams != nil {
		c.opening++
		c.first.out.line(&message{Op: opMore})
		return
	}
	c.single = true
}

// dialFurther dials a further connection and sends its hello. If that fails, it
// calls Events.Single, a receiver also sends "single", and no other connection
// is tried. A connection that has failed or is no longer needed is kept in
// unused, for Close to close it.
func (c *Conn) dialFurther() {
	ctx, cancel := context.WithTimeout(c.ctx, c.o.HelloTimeout)
	defer cancel()
	conn, err := c.o.Dial(ctx)
	var st *stream
	if err == nil {
		st, _, err = c.hello(ctx, conn, c.name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opening--
	switch {
	case err != nil:
		if conn != nil {
			c.unused = append(c.unused, conn)
		}
		if !c.ended && c.ctx.Err() == nil {
			c.o.Events.Single(err)
		}
		c.single = true
		if c.role == Receiver { // the sender has asked for it
			c.first.out.line(&message{Op: opSingle})
		}
	case c.ctx.Err() != nil || c.ended:
		c.unused = append(c.unused, conn)
	default:
		c.addLocked(st)
	}
	c.changed.Broadcast()
}

// watch makes the transfer fail when ctx ends, until stop is called. The caller
// calls stop after the transfer. From now on any failure of the transfer also
// ends all reads and writes: see unblock.
func (c *Conn) watch(ctx context.Context) (stop func() bool) {
	context.AfterFunc(c.ctx, c.unblock)
	return context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
}

// fail ends the transfer with err as its cause, unless it has failed before:
// the first failure stands.
func (c *Conn) fail(err error) { c.cancel(err) }

// lingering is how long an end reads on for something that may not come: the
// other connections of a transfer that was cut on one, for a resume, or the
// peer's FIN.
const lingering = time.Second

// unblock ends all reads and writes after the transfer has failed. If a
// receiver's connection was cut, this comes after the time lingering: until
// then its other streams read what has arrived, for a resume.
func (c *Conn) unblock() {
	var e *Error
	if c.role == Receiver && errors.As(context.Cause(c.ctx), &e) && e.Kind == Cut {
		time.AfterFunc(lingering, c.stopAll)
	} else {
		c.stopAll()
	}
	c.mu.Lock() // so that no Wait that begins now misses it
	defer c.mu.Unlock()
	c.changed.Broadcast()
}

// stopAll ends all reads and writes of all streams, and wakes all goroutines
// that wait for changed.
func (c *Conn) stopAll() {
	c.memory.end()
	c.blocks.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, st := range c.streams {
		st.stop()
	}
	c.changed.Broadcast()
}

// read passes each message of a stream to handle until the stream ends, and
// returns when its writer has ended, too. The end makes the transfer fail, with
// two exceptions: an error of reading is in order if ended reports so, and a
// further stream may end in any way if idle reports true. A failure that is
// neither Cut nor the peer's is sent to the peer.
func (c *Conn) read(st *stream, handle func(*message) error, ended func(error) bool, idle func() bool) {
	err := c.readAll(st, handle)
	switch {
	case ended(err):
		<-st.out.done
		return
	case c.ctx.Err() == nil && !st.first && idle():
		st.stop() // the peer has given it up, and the transfer goes on
	default:
		var e *Error
		if !errors.As(err, &e) {
			e = cut(err, c.role, c.o.Silence)
		}
		if e.Kind != Cut && !e.remote {
			c.sendFailure(st, e)
		}
		c.fail(e)
		st.err = context.Cause(c.ctx)
		st.stop()
	}
	<-st.out.done
	c.changed.Broadcast()
}

// readAll passes each message of a stream to handle. It returns the first
// error: of the connection, of handle, or an *Error marked remote for a fail
// line of the peer.
func (c *Conn) readAll(st *stream, handle func(*message) error) error {
	for {
		m, err := st.in.next()
		if err != nil {
			return err
		}
		if m.Op == opFail {
			e := m.failed()
			return &Error{Kind: max(e.Kind, Damaged), Text: "the other end says: " + e.Text, remote: true}
		}
		if err := handle(m); err != nil {
			return err
		}
	}
}

// sendFailure sends the peer the reason why this end ends the transfer, and
// reads on for a moment: unread input would cause a reset that discards the
// line.
func (c *Conn) sendFailure(st *stream, e *Error) {
	st.out.line(&message{Op: opFail, Kind: kindNames[e.Kind], Error: e.Text})
	st.out.shutdown()
	st.in.limit(lingering)
	st.in.left = 64 << 20
	_, _ = io.Copy(io.Discard, st.in)
}

// reason returns the text of the transfer's failure for files that it cuts off:
// "" if there is none, "interrupted" if the caller's context has ended.
func (c *Conn) reason() string {
	var e *Error
	err := context.Cause(c.ctx)
	if errors.As(err, &e) {
		return e.Text
	}
	if err == nil {
		return ""
	}
	return "interrupted"
}

// Close ends the transfer if Send or Receive has not, waits for all goroutines,
// and closes all connections. Options.Closed is called for each. A second call
// does nothing.
func (c *Conn) Close() error {
	c.fail(&Error{Kind: Cut, Text: net.ErrClosed.Error(), cause: net.ErrClosed}) // does nothing after an end in order
	c.memory.end()
	c.blocks.end()
	c.o.Streams.remove(c)
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.running.Wait()
	var err error
	for _, st := range c.streams {
		c.report(st.conn, st.err)
		err = errors.Join(err, st.conn.Close())
	}
	for _, conn := range c.unused {
		c.report(conn, nil)
		_ = conn.Close()
	}
	return sys.Cause(err)
}

// report calls Options.Closed, if there is one, before conn is closed. err is
// the reason, nil for an orderly end.
func (c *Conn) report(conn net.Conn, err error) {
	if c.o.Closed != nil {
		c.o.Closed(conn, err)
	}
}

// hijack takes the connection of a hello over from the HTTP server. Bytes that
// the server has read ahead are read again from the stream.
func (c *Conn) hijack(w http.ResponseWriter) (*stream, error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	st := c.newStream(conn)
	ahead, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	st.in.replay = slices.Clone(ahead)
	return st, nil
}

// hasRoom reports whether a further connection may join.
func (c *Conn) hasRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed && !c.ended && len(c.streams) < maxStreams
}

// hello sends a hello on conn and checks the answer. name is that of the
// transfer which a further connection is to join; "" for the first connection.
// The returned name is that of the new transfer, for further connections; "" if
// none can join. If hello fails, the caller closes conn.
func (c *Conn) hello(ctx context.Context, conn net.Conn, name string) (*stream, string, error) {
	st := c.newStream(conn)
	st.in.limit(c.o.HelloTimeout)
	_ = conn.SetWriteDeadline(time.Now().Add(c.o.HelloTimeout))
	stop := context.AfterFunc(ctx, st.in.stop)
	req := fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n%s: %s\r\nContent-Length: 0\r\n",
		c.peer, Protocol, fieldRole, c.role, fieldDigests, digests)
	if name != "" {
		req += fieldStream + ": " + name + "\r\n"
	}
	_, err := io.WriteString(conn, req+"\r\n") // an error is not the last word: the peer's may have come
	var resp *http.Response
	if read, readErr := http.ReadResponse(st.in.Reader, &http.Request{Method: http.MethodPost}); readErr == nil {
		resp, err = read, c.welcome(read)
	} else if err == nil || len(st.in.first) > 0 {
		err = readErr
	}
	if !stop() {
		err = context.Cause(ctx)
	} else if err != nil {
		err = st.notPurr(err)
	}
	if err != nil {
		return nil, "", err
	}
	_ = conn.SetWriteDeadline(time.Time{})
	st.in.unlimit()
	return st, resp.Header.Get(fieldStream), nil
}

// welcome checks the answer to a hello: nil if it is from a purr of this
// version in the other role, else an *Error whose kind is the difference.
func (c *Conn) welcome(resp *http.Response) error {
	role := Role(resp.Header.Get(fieldRole))
	switch {
	case !canUpgrade(resp.ProtoMajor, resp.ProtoMinor):
		return errorf(NotPurr, "speaks HTTP/%d.%d", resp.ProtoMajor, resp.ProtoMinor)
	case resp.StatusCode == http.StatusSwitchingProtocols && resp.Header.Get("Upgrade") == Protocol && role == c.role.Other() && canHash(resp.Header):
		return nil
	case resp.StatusCode == http.StatusUpgradeRequired && strings.HasPrefix(resp.Header.Get("Upgrade"), "TLS/"):
		return errorf(OldVersion, "%s", firstLine(resp)) // RFC 2817, section 4.2
	case role == c.role:
		return errorf(SameRole, "a %s, too", role)
	case role != c.role.Other():
		return errorf(NotPurr, "speaks HTTP")
	case resp.StatusCode == http.StatusUpgradeRequired || resp.StatusCode == http.StatusSwitchingProtocols:
		return errorf(OldVersion, "%s", firstLine(resp))
	}
	return errorf(Refused, "%s", firstLine(resp))
}
