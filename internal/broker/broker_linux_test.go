package broker

import (
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/testkit"
)

// A client is a member with a connection and two pumps, as the program has
// them.
type client struct {
	conn net.Conn // the client's own end
	*Member
	ended chan struct{} // closed when it has left
}

func join(t *testing.T, b *Broker, name string) *client {
	t.Helper()
	ours, theirs := testkit.TcpPair(t)
	_ = theirs.SetDeadline(time.Now().Add(testkit.Patience))
	stop, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	reset := func() { _ = ours.SetLinger(0); _ = ours.Close() }
	c := &client{conn: theirs, ended: make(chan struct{})}
	c.Member = b.Join(Client{Name: name, Interrupt: stop, Reset: reset})
	var pumps sync.WaitGroup
	pumps.Go(func() {
		in := c.Copier(ours)
		_ = copier.Run(in, copier.MaxSlice, func(int) error { return nil })
		in.Close()
	})
	pumps.Go(func() {
		out := copier.New(ours, c.Member)
		if copier.Run(out, copier.MaxSlice, func(int) error { return nil }) == nil {
			_ = ours.CloseWrite()
		} else {
			reset()
		}
		out.Close()
	})
	go func() {
		defer close(c.ended)
		pumps.Wait()
		stop.Fire()
		c.Leave()
		_ = ours.Close()
		stop.Close()
	}()
	t.Cleanup(func() {
		_ = theirs.Close()
		c.wait(t)
	})
	return c
}

// wait waits until the client has left.
func (c *client) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(testkit.Patience):
		t.Error("a client does not leave")
	}
}

// says sends as the client, and hears expects what it gets.
func (c *client) says(t *testing.T, text string) { t.Helper(); testkit.WriteString(t, c.conn, text) }

func (c *client) hears(t *testing.T, want string) {
	t.Helper()
	if got := testkit.ReadN(t, c.conn, len(want)); got != want {
		t.Errorf("user %d hears %q, want %q", c.lines.user, got, want)
	}
}

// silence expects that nothing is queued for the client.
func (c *client) silence(t *testing.T) {
	t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := c.conn.Read(make([]byte, 1)); n != 0 || err == io.EOF {
		t.Errorf("user %d hears something, or the end: %v", c.lines.user, err)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(testkit.Patience))
}

// What a client sends goes to all others as it is, and not back; its end is its
// own alone, behind what others have sent.
func TestBroker(t *testing.T) {
	b := New()
	one, two, three := join(t, b, ""), join(t, b, ""), join(t, b, "")
	one.says(t, "a\x1b[1m")
	two.hears(t, "a\x1b[1m")
	three.hears(t, "a\x1b[1m")
	two.says(t, "bc")
	one.hears(t, "bc")
	three.hears(t, "bc")
	two.silence(t)
	_ = one.conn.(*net.TCPConn).CloseWrite()
	if got := testkit.ReadAll(t, one.conn); got != "" {
		t.Errorf("%q", got)
	}
	one.wait(t)
	three.says(t, "d")
	two.hears(t, "d")
	three.silence(t)
	if one.Slow() || len(b.present()) != 2 {
		t.Errorf("%d members", len(b.present()))
	}
}

// What is queued for a client arrives after its own end, before the end.
func TestQueueBeforeEnd(t *testing.T) {
	b := New()
	stop, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	defer stop.Close()
	m := b.Join(Client{Interrupt: stop})
	defer m.Leave()
	other := b.Join(Client{Interrupt: stop})
	defer other.Leave()
	_, _ = other.Write([]byte("before"))
	m.Copier(strings.NewReader("")).Close()
	_, _ = other.Write([]byte("behind"))
	if got := testkit.ReadAll(t, m); got != "before" || !m.Ready() {
		t.Errorf("%q", got)
	}
	stop.Fire()
	if n, err := other.Read(make([]byte, 1)); n != 0 || err != fdio.ErrInterrupted {
		t.Errorf("%d, %v", n, err)
	}
}

// stdin goes to every client: what came before the first one, too.
func TestStdin(t *testing.T) {
	r, w := testkit.StdioPipe(t)
	b := New()
	testkit.WriteString(t, w, "early")
	b.Start(t.Context(), r, func(err error) { t.Error(err) })
	b.Start(t.Context(), nil, nil)
	one := join(t, b, "")
	one.hears(t, "early")
	two := join(t, b, "")
	testkit.WriteString(t, w, "late")
	one.hears(t, "late")
	two.hears(t, "late")
	_ = w.Close()
	two.says(t, "on")
	one.hears(t, "on")
	one.silence(t)

	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	failed := make(chan error, 1)
	b = New()
	defer b.Join(Client{}).Leave()
	b.Start(t.Context(), closed, func(err error) { failed <- err })
	if err := <-failed; err == nil {
		t.Error("reading a closed file succeeds")
	}
}

// A client that takes nothing holds the senders up, but the others have what
// was sent; after the patience it is dropped, and they go on. A signalled
// processor is not used meanwhile.
func TestStalledClientIsDropped(t *testing.T) {
	b := New()
	b.Patience, b.Room = 300*time.Millisecond, 64<<10
	stalled, sender, other := join(t, b, ""), join(t, b, ""), join(t, b, "")
	content := testkit.Noise(16 << 20) // more than the buffers of sockets
	var before, after syscall.Rusage
	go func() { _, _ = io.WriteString(sender.conn, content) }()
	got := make(chan string, 1)
	go func() { got <- testkit.ReadN(t, other.conn, len(content)) }()
	testkit.Eventually(t, "the queue is full", func() bool {
		stalled.mu.Lock()
		defer stalled.mu.Unlock()
		return stalled.room != nil
	})
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	begun := time.Now()
	stalled.wait(t)
	took := time.Since(begun)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	if used := time.Duration(after.Utime.Nano()-before.Utime.Nano()) * time.Nanosecond; used > took/2 {
		t.Errorf("used the processor for %v of %v", used, took)
	}
	if !stalled.Slow() || sender.Slow() || other.Slow() {
		t.Error("another client was dropped")
	}
	if text := <-got; text != content {
		t.Errorf("the other one got %s", testkit.Brief(text))
	}
}

// A slow client loses no byte: it takes something within each patience, or its
// system acknowledges something.
func TestSlowClientLosesNothing(t *testing.T) {
	b := New()
	b.Patience, b.Room = 200*time.Millisecond, 4<<10
	stop, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	defer stop.Close()
	var left atomic.Int64
	slow := b.Join(Client{Interrupt: stop, Unacked: func() (int, error) { return int(left.Add(1)), nil }})
	defer slow.Leave()
	sender := b.Join(Client{Interrupt: stop})
	defer sender.Leave()
	content := testkit.Noise(64 << 10)
	sent := make(chan error, 1)
	go func() {
		for part := content; part != ""; part = part[1<<10:] {
			if _, err := sender.Write([]byte(part[:1<<10])); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	time.Sleep(3 * b.Patience) // it takes nothing, but acknowledges
	var got []byte
	for buf := make([]byte, 8<<10); len(got) < len(content); {
		n, err := slow.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != content || <-sent != nil || slow.Slow() {
		t.Errorf("%d bytes of %d", len(got), len(content))
	}
}

// The patience counts from the last byte that a client's system has taken, also
// if that was after the senders began to wait.
func TestPatienceCountsFromTheLastProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New()
		b.Room = 1
		stop, err := fdio.NewInterrupt()
		if err != nil {
			t.Fatal(err)
		}
		defer stop.Close()
		var unacked, resets atomic.Int64
		stalled := b.Join(Client{Interrupt: stop, Reset: func() { resets.Add(1) }, Unacked: func() (int, error) { return int(unacked.Load()), nil }})
		defer stalled.Leave()
		sender := b.Join(Client{Interrupt: stop})
		defer sender.Leave()
		_, _ = sender.Write([]byte("fills"))
		begun := time.Now()
		last := 200 * time.Millisecond
		time.AfterFunc(last, func() { unacked.Add(1) })
		_, _ = sender.Write([]byte("waits"))
		if took := time.Since(begun); took < last+b.Patience || took > last+b.Patience*6/5 {
			t.Errorf("waited for %v", took)
		}
		if !stalled.Slow() || resets.Load() != 1 || sender.Slow() {
			t.Error("not the client that takes nothing was dropped")
		}
	})
}

// A sender whose conversation is over does not wait, and one whose other end
// leaves is not left waiting.
func TestWaitEnds(t *testing.T) {
	b := New()
	b.Room = 1
	stop, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	defer stop.Close()
	full := b.Join(Client{})
	waiting := make(chan time.Duration, 2)
	sender, other := b.Join(Client{Interrupt: stop, Waiting: func(d time.Duration) { waiting <- d }}), b.Join(Client{})
	defer other.Leave()
	_, _ = sender.Write([]byte("fills"))
	if got := testkit.ReadN(t, other, 5); got != "fills" {
		t.Error(got)
	}
	waits := make(chan error, 1)
	go func() { _, err := sender.Write([]byte("waits")); waits <- err }()
	if got := testkit.ReadN(t, other, 5); got != "waits" { // not held up
		t.Error(got)
	}
	if d := <-waiting; d != b.Patience {
		t.Errorf("waits for %v", d)
	}
	full.Leave()
	if err := <-waits; err != nil {
		t.Error(err)
	}
	full = b.Join(Client{})
	defer full.Leave()
	_, _ = sender.Write([]byte("fills"))
	go func() { _, err := sender.Write([]byte("waits")); waits <- err }()
	stop.Fire()
	if err := <-waits; err != fdio.ErrInterrupted {
		t.Error(err)
	}
	sender.Leave()
}

// 1,000 clients talk and vanish, half of them by a reset; nothing is left.
func TestManyClientsVanish(t *testing.T) {
	testkit.NoLeaks(t)
	count := func() int { all, _ := os.ReadDir("/proc/self/fd"); return len(all) }
	before := count()
	b := New()
	const many = 1000
	var clients []*client
	for i := range many {
		clients = append(clients, join(t, b, "x"))
		go func(c *client) { _, _ = io.Copy(io.Discard, c.conn) }(clients[i])
	}
	for _, c := range clients[:20] {
		c.says(t, "hello\n")
	}
	for i, c := range clients {
		if i%2 == 0 {
			testkit.Reset(t, c.conn)
		} else {
			_ = c.conn.Close()
		}
	}
	for _, c := range clients {
		c.wait(t)
	}
	if n := len(b.present()); n != 0 {
		t.Errorf("%d members are left", n)
	}
	testkit.Eventually(t, "no descriptor is left", func() bool { return count() <= before+2 })
}

// The lines of a chat are Ncat's, but whole, each with its sender, and nothing
// in them acts on a terminal.
func TestChat(t *testing.T) {
	r, w := testkit.StdioPipe(t)
	b := New()
	var show testkit.Output
	show.More = make(chan struct{})
	b.Chat, b.Show = true, &show
	b.Start(t.Context(), r, func(err error) { t.Error(err) })
	one := join(t, b, "127.0.0.1")
	one.hears(t, "<announce> 127.0.0.1 is connected as <user1>.\n<announce> already connected: nobody.\n")
	two := join(t, b, "::1\x1b")
	const second = "<announce> ::1\\x1b is connected as <user2>.\n"
	two.hears(t, second+"<announce> already connected: 127.0.0.1 as <user1>.\n")
	one.hears(t, second)
	two.says(t, "hel")
	one.says(t, "x\x01\x1b[2J\u202e\xff\tä\r<user2> no\r\n\ny\n")
	two.hears(t, "<user1> x\\x01\\x1b[2J\\u202e\\xff\tä\\r<user2> no\n<user1> \n<user1> y\n")
	testkit.WriteString(t, w, "operator\nlast")
	one.hears(t, "<user0> operator\n")
	_ = w.Close()
	one.hears(t, "<user0> last\n")
	two.says(t, "lo")
	_ = two.conn.(*net.TCPConn).CloseWrite()
	one.hears(t, "<user2> hello\n<announce> <user2> is disconnected.\n")
	if got := testkit.ReadAll(t, two.conn); got != "<user0> operator\n<user0> last\n" {
		t.Errorf("%q", got)
	}
	testkit.Eventually(t, "all is shown", func() bool { return strings.Contains(show.String(), "disconnected") })
	if got := show.String(); strings.Contains(got, "user0") || !strings.Contains(got, "<user1> y\n") || !strings.HasPrefix(got, "<announce> 127.0.0.1 is connected as <user1>.\n") {
		t.Errorf("shown: %q", got)
	}
}

// A line without an end is cut, so that it takes no memory.
func TestLongLine(t *testing.T) {
	t.Parallel()
	l := lines{user: 7}
	long := strings.Repeat("a", longestLine)
	if got := l.take([]byte(long[1:]), false); got != nil || len(l.rest) != longestLine-1 {
		t.Errorf("%d bytes", len(got))
	}
	if got := l.take([]byte("ab"), false); string(got) != "<user7> "+long+"b\n" {
		t.Errorf("%d bytes", len(got))
	}
	if got := l.take(nil, true); got != nil {
		t.Errorf("%q", got)
	}
}

// Announcements do not wait for a client that takes nothing; one that has
// twice its room of them is dropped.
func TestAnnouncementsAreBounded(t *testing.T) {
	b := New()
	b.Chat, b.Room = true, 1<<10
	reset := make(chan struct{}, 100)
	silent := b.Join(Client{Name: "x", Reset: func() { reset <- struct{}{} }})
	defer silent.Leave()
	for range 100 {
		b.Join(Client{Name: "y"}).Leave()
	}
	<-reset
	if !silent.Slow() {
		t.Error("it is not slow")
	}
}
