package push

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"purr/internal/offer"
	"purr/internal/store"
	"purr/internal/testkit"
)

// A record holds the events of one end.
type record struct {
	mu     sync.Mutex
	lines  []string
	moved  int64
	single int

	expected, most int64    // bytes, and the most that were ever
	begun          []string // in order

	stored FileEvent // the last one
}

func (r *record) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *record) Stored(e FileEvent) {
	what := "stored"
	if e.Identical {
		what = "identical"
	}
	if e.As != e.Path {
		what += " as " + e.As
	}
	r.mu.Lock()
	r.stored = e
	r.mu.Unlock()
	r.add("%s %s %d from %d", what, e.Path, e.Size, e.Offset)
}
func (r *record) Failed(e FileEvent) {
	kept := ""
	if e.Partial != "" {
		kept = " (kept)"
	}
	r.add("failed %s: %s: %s%s", e.Path, kindNames[e.Kind], e.Reason, kept)
}
func (r *record) Resuming(path string, at, size int64) {
	r.add("resuming %s at %d of %d", path, at, size)
}
func (r *record) Expected(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected += n
	r.most = max(r.most, r.expected)
}
func (r *record) Begun(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun = append(r.begun, path)
}
func (r *record) Moved(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moved += int64(n)
}
func (r *record) Single(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.single++
}

// has reports whether a line of the record begins in this way.
func (r *record) has(begin string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.lines, func(line string) bool { return strings.HasPrefix(line, begin) })
}

// An end is one end of a transfer in a test.
type end struct {
	record
	o     Options
	wrap  func(net.Conn) net.Conn
	sum   Summary
	err   error
	ends  []string // of its connections
	conns int
	ctx   context.Context
}

// A transfer is a sender and a receiver in one process.
type transfer struct {
	t        testing.TB
	listens  Role
	from     string
	paths    []string
	into     string
	live     bool
	store    store.Options
	sender   end
	receiver end
}

func newTransfer(t testing.TB, listens Role) *transfer {
	x := &transfer{t: t, listens: listens, from: t.TempDir(), into: t.TempDir()}
	for _, e := range []*end{&x.sender, &x.receiver} {
		e.o = Options{Silence: testkit.Patience, HelloTimeout: testkit.Patience}
		e.ctx = t.Context()
	}
	return x
}

// file makes a file for the sender.
func (x *transfer) file(name, content string) {
	testkit.WriteFile(x.t, filepath.Join(x.from, filepath.FromSlash(name)), content)
	if top, _, _ := strings.Cut(name, "/"); !slices.Contains(x.paths, filepath.Join(x.from, top)) {
		x.paths = append(x.paths, filepath.Join(x.from, top))
	}
}

// run does the transfer.
func (x *transfer) run() {
	x.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		x.t.Fatal(err)
	}
	listening, dialling := &x.sender, &x.receiver
	if x.listens == Receiver {
		listening, dialling = dialling, listening
	}
	for _, e := range []*end{listening, dialling} {
		e.o.Events = &e.record
		e.o.Closed = func(_ net.Conn, err error) {
			e.conns++
			e.ends = append(e.ends, fmt.Sprint(err))
		}
	}
	done := make(chan struct{})
	var handlers sync.WaitGroup
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		if !IsHello(r) {
			http.Error(w, "no hello", http.StatusBadRequest)
			return
		}
		c, err := Upgrade(w, r, x.listens, listening.o)
		if errors.Is(err, ErrJoined) || errors.Is(err, ErrNotJoined) {
			return
		}
		defer close(done)
		listening.err = err
		if err == nil {
			x.half(c, x.listens, listening)
		}
	})}
	go func() { _ = server.Serve(wrapped{ln, listening}) }()
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", ln.Addr().String())
		if err == nil && dialling.wrap != nil {
			conn = dialling.wrap(conn)
		}
		return conn, err
	}
	if dialling.o.Dial == nil {
		dialling.o.Dial = dial
	}
	conn, err := dial(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	c, err := Dial(dialling.ctx, conn, x.listens.Other(), dialling.o)
	dialling.err = err
	if err == nil {
		x.half(c, x.listens.Other(), dialling)
	}
	select {
	case <-done:
	case <-time.After(testkit.Patience):
		x.t.Fatal("the listening end does not end")
	}
	_ = server.Close()
	handlers.Wait()
}

// half runs one end after the hello.
func (x *transfer) half(c *Conn, as Role, e *end) {
	defer c.Close()
	if as == Sender {
		set, err := offer.Open(x.paths, x.live)
		if err != nil {
			x.t.Error(err)
			return
		}
		defer set.Close()
		e.sum, e.err = c.Send(e.ctx, set)
		return
	}
	dir, err := store.Open(x.into, x.store)
	if err != nil {
		x.t.Error(err)
		return
	}
	defer dir.Close()
	e.sum, e.err = c.Receive(e.ctx, dir)
}

// wrapped wraps the connections that a listener accepts.
type wrapped struct {
	net.Listener
	end *end
}

func (w wrapped) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil && w.end.wrap != nil {
		c = w.end.wrap(c)
	}
	return c, err
}

// kind checks how both ends have ended.
func (x *transfer) kinds(sender, receiver Kind) {
	x.t.Helper()
	for _, c := range []struct {
		end  *end
		want Kind
		name string
	}{{&x.sender, sender, "sender"}, {&x.receiver, receiver, "receiver"}} {
		var e *Error
		got := OK
		if errors.As(c.end.err, &e) {
			got = e.Kind
		} else if c.end.err != nil {
			got = -1
		}
		if got != c.want {
			x.t.Errorf("%s: kind %d (%v), want %d; heard %q", c.name, got, c.end.err, c.want, c.end.lines)
		}
	}
}

// inOrder checks that the transfer ended in order, with the worst kind of a
// file.
func (x *transfer) inOrder(worst Kind) {
	x.t.Helper()
	x.kinds(OK, OK)
	for _, e := range []*end{&x.sender, &x.receiver} {
		if e.sum.Worst != worst {
			x.t.Errorf("worst %d, want %d: %q", e.sum.Worst, worst, e.lines)
		}
		for _, how := range e.ends {
			if how != "<nil>" {
				x.t.Errorf("a connection ended: %s", how)
			}
		}
	}
	a, b := x.sender.sum, x.receiver.sum
	if a.Files != b.Files || a.Bytes != b.Bytes || a.Worst != b.Worst || a.Failed != b.Failed || len(a.first) != int(min(a.Failed, maxNamed)) {
		x.t.Errorf("the sender counts %+v, the receiver %+v", x.sender.sum, x.receiver.sum)
	}
}

// same checks a file at the receiver.
func (x *transfer) same(name, content string) {
	x.t.Helper()
	b, err := os.ReadFile(filepath.Join(x.into, filepath.FromSlash(name)))
	if err != nil || string(b) != content {
		x.t.Errorf("%s: %d bytes, %v; want %d", name, len(b), err, len(content))
	}
}

// bothWays runs a test with either end listening.
func bothWays(t *testing.T, test func(t *testing.T, listens Role)) {
	testkit.NoLeaks(t)
	for _, listens := range []Role{Sender, Receiver} {
		t.Run(string(listens)+" listens", func(t *testing.T) {
			t.Parallel()
			test(t, listens)
		})
	}
}

// Files of all sizes, links and directories come through, over several
// connections, and a second transfer finds them there.
func TestTransfer(t *testing.T) {
	bothWays(t, func(t *testing.T, listens Role) {
		x := newTransfer(t, listens)
		x.into = testkit.QuickDir(t)
		x.sender.o.Streams, x.receiver.o.Streams = new(Streams), new(Streams)
		content := map[string]string{"d/empty": "", "d/small": "small", "d/edge": testkit.Noise(offer.SmallFile), "d/bad\xff": "no UTF-8"}
		for i := range 6 {
			content[fmt.Sprint("d/large", i)] = testkit.Noise(1_000_000 + i)
		}
		for i := range 700 {
			content[fmt.Sprintf("d/sub/f%d", i)] = testkit.Noise(i)
		}
		for name, text := range content {
			x.file(name, text)
		}
		if err := os.Symlink("small", filepath.Join(x.from, "d", "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(x.from, "d", "hollow"), 0o750); err != nil {
			t.Fatal(err)
		}
		x.run()
		x.inOrder(OK)
		for name, text := range content {
			x.same(name, text)
		}
		if target, err := os.Readlink(filepath.Join(x.into, "d", "link")); target != "small" {
			t.Errorf("the link leads to %q (%v)", target, err)
		}
		if info, err := os.Stat(filepath.Join(x.into, "d", "hollow")); err != nil || info.Mode().Perm() != 0o750 {
			t.Errorf("the empty directory: %v, %v", info, err)
		}
		if x.sender.conns != maxStreams || x.receiver.conns != maxStreams {
			t.Errorf("%d and %d connections", x.sender.conns, x.receiver.conns)
		}
		if want := int64(len(content)); x.sender.sum.Files != want {
			t.Errorf("%d files, want %d", x.sender.sum.Files, want)
		}
		if x.sender.moved != x.sender.sum.Bytes || x.receiver.moved != x.sender.sum.Bytes {
			t.Errorf("%d and %d bytes moved, of %d", x.sender.moved, x.receiver.moved, x.sender.sum.Bytes)
		}

		x.sender.moved, x.sender.lines = 0, nil
		x.sender.o.Dial, x.receiver.o.Dial = nil, nil
		x.run()
		x.inOrder(OK)
		if n := len(x.sender.lines); n != len(content) || !x.sender.has("identical d/large0 1000000") || !x.sender.has("identical d/small 5") {
			t.Errorf("%d lines: %q", n, x.sender.lines[:min(5, n)])
		}
	})
}
