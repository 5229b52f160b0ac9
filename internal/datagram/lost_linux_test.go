package datagram

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/testkit"
)

// boundUnix returns the Socket of a Unix listener with a small send buffer, and
// a way to dial it from a name of its own, or from none.
func boundUnix(t *testing.T) (s *Socket, dial func(name string) *net.UnixConn) {
	t.Helper()
	i, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	dir := testkit.SocketDir(t)
	server := &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", server)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetWriteBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(conn, i); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.Deadline = time.Now().Add(testkit.Patience)
	return s, func(name string) *net.UnixConn {
		t.Helper()
		var own *net.UnixAddr
		if name != "" {
			own = &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unixgram"}
		}
		c, err := net.DialUnix("unixgram", own, server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		return c
	}
}

// drops collects what Lost is called with.
func drops(s *Socket) *[]string {
	lost := new([]string)
	s.Lost = func(peer string, err error) { *lost = append(*lost, filepath.Base(peer)+": "+err.Error()) }
	return lost
}

// A client that never reads loses answers: those beyond its queue, or if it is
// connected, which lifts that limit, beyond its part of the send buffer. Every
// other client goes on getting its own.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	for _, connected := range []bool{false, true} {
		s, dial := boundUnix(t)
		lost := drops(s)
		hog, other := dial("hog"), dial("other")
		flood := func() { testkit.WriteString(t, hog, "flood") }
		if !connected {
			loose := disconnected(t, hog)
			flood = func() {
				if _, err := loose.WriteToUnix([]byte("flood"), s.Local.(*net.UnixAddr)); err != nil {
					t.Fatal(err)
				}
			}
		}
		b := NewBatch("unixgram", BatchSize)
		const rounds = 500
		answered := 0
		for range rounds {
			flood()
			testkit.WriteString(t, other, "question")
			before := len(*lost)
			receiveAll(t, s, b, 2, func(n int) {
				if err := s.Reply(b, n); err != nil {
					t.Fatal(err)
				}
			})
			if slices.ContainsFunc((*lost)[before:], func(s string) bool { return strings.HasPrefix(s, "other") }) {
				continue
			}
			if got := read(t, other); got != "question" {
				t.Fatalf("answered with %q", got)
			}
			answered++
		}
		t.Logf("connected %v: %d answered, %d lost", connected, answered, len(*lost))
		least := rounds
		if connected { // until the kernel's sum shows which of them reads
			least = rounds * 9 / 10
		}
		if n := len(*lost); answered < least || n < rounds/2 || n > rounds+rounds-answered {
			t.Errorf("connected %v: %d of %d answered, %d lost", connected, answered, rounds, n)
		}
		slices.Sort(*lost)
		if (*lost)[0] != "hog: its queue of datagrams is full" {
			t.Errorf("lost %q", *lost)
		}
	}
}

// disconnected returns a socket with the name of c and without its peer.
func disconnected(t *testing.T, c *net.UnixConn) *net.UnixConn {
	t.Helper()
	own := c.LocalAddr().(*net.UnixAddr)
	_ = c.Close()
	_ = os.Remove(own.Name)
	loose, err := net.ListenUnixgram("unixgram", own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = loose.Close() })
	_ = loose.SetDeadline(time.Now().Add(testkit.Patience))
	return loose
}

// A client that reads what it is sent loses nothing, whatever it sends before
// it reads.
func TestSlowQueue(t *testing.T) {
	t.Parallel()
	s, dial := boundUnix(t)
	lost := drops(s)
	c := dial("slow")
	b := NewBatch("unixgram", BatchSize)
	for range 50 {
		const window = 20
		sent := make(chan error, 1)
		go func() {
			var err error
			for range window {
				if err == nil {
					_, err = c.Write([]byte("x"))
				}
			}
			sent <- err
		}()
		receiveAll(t, s, b, window, func(n int) {
			if err := s.Reply(b, n); err != nil {
				t.Fatal(err)
			}
		})
		for range window {
			read(t, c)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	if len(*lost) > 0 {
		t.Errorf("lost %q", *lost)
	}
}

// A client that has gone, with its file or without, is lost, and the next one
// in the batch is answered.
func TestReplyToGone(t *testing.T) {
	t.Parallel()
	s, dial := boundUnix(t)
	lost := drops(s)
	closed, removed, other := dial("closed"), dial("removed"), dial("other")
	for _, c := range []net.Conn{closed, removed, other} {
		testkit.WriteString(t, c, "question")
	}
	_ = closed.Close()
	_ = os.Remove(removed.LocalAddr().String())
	b := NewBatch("unixgram", BatchSize)
	receiveAll(t, s, b, 3, func(n int) {
		if err := s.Reply(b, n); err != nil {
			t.Fatal(err)
		}
	})
	if got := read(t, other); got != "question" {
		t.Errorf("answered with %q", got)
	}
	if want := []string{"closed: connection refused", "removed: no such file or directory"}; !slices.Equal(*lost, want) {
		t.Errorf("lost %q", *lost)
	}
}

// A stdin-like sender waits for the queue of its peer, no longer than its
// limit, and not once another is the peer.
func TestSendToFullQueue(t *testing.T) {
	t.Parallel()
	s, dial := boundUnix(t)
	s.Lost = func(peer string, err error) { t.Errorf("%s: %v", peer, err) }
	hog, other := disconnected(t, dial("hog")), dial("other")
	b := NewBatch("unixgram", BatchSize)
	send := func(d string) {
		if _, err := hog.WriteToUnix([]byte(d), s.Local.(*net.UnixAddr)); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() {
		t.Helper()
		if n, err := s.Receive(b); err != nil || !s.SetLastPeer(b, n) {
			t.Fatal(n, err)
		}
	}
	send("x")
	receive()
	fill := func(limit time.Duration) error {
		for range 10_000 {
			if err := s.SendToPeer([]byte("answer"), limit); err != nil {
				return err
			}
		}
		return nil
	}
	if err := fill(30 * time.Millisecond); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a queue that nobody reads: %v", err)
	}
	result := make(chan error, 1)
	go func() { result <- s.SendToPeer([]byte("for the hog"), testkit.Patience) }()
	testkit.Eventually(t, "a wait for the queue", func() bool {
		stacks := make([]byte, 1<<20)
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, "TestSendToFullQueue") && strings.Contains(stack, "Interrupt).Sleep") {
				return true
			}
		}
		return false
	})
	testkit.WriteString(t, other, "x")
	receive()
	if err := <-result; !errors.Is(err, ErrQueueFull) {
		t.Errorf("after another client has become the peer: %v", err)
	}
	if err := s.SendToPeer([]byte("for the other"), testkit.Patience); err != nil {
		t.Error(err)
	}
	if got := read(t, other); got != "for the other" {
		t.Errorf("got %q", got)
	}
	send("x")
	receive()
	go func() { result <- s.SendToPeer([]byte("last"), testkit.Patience) }()
	for got := ""; got != "last"; got = read(t, hog) {
	}
	if err := <-result; err != nil {
		t.Errorf("once the client reads: %v", err)
	}
}

// The largest Unix datagram that the system sends is received whole.
func TestLongUnixDatagram(t *testing.T) {
	t.Parallel()
	s, dial := boundUnix(t)
	s.Lost = func(peer string, err error) { t.Errorf("%s: %v", peer, err) }
	c := dial("c")
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 64<<20) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<20)
		}
	})
	content := testkit.Noise(16 << 20)
	size := len(content)
	for ; size > 0; size -= 64 << 10 {
		if _, err := c.Write([]byte(content[:size])); err == nil {
			break
		}
	}
	t.Logf("%d bytes", size)
	b := NewBatch("unixgram", BatchSize)
	if n, err := s.Receive(b); err != nil || n != 1 || string(b.Data(0)) != content[:size] {
		t.Errorf("%d datagrams of %d bytes, sent %d: %v", n, len(b.Data(0)), size, err)
	}
}

// A datagram that does not fit is dropped and reported, and costs no other.
func TestTooLong(t *testing.T) {
	t.Parallel()
	s, dial := boundUnix(t)
	lost := drops(s)
	c := dial("c")
	b := NewBatch("unixgram", BatchSize)
	b.slot = 100
	long := strings.Repeat("x", 101)
	for _, d := range []string{long, "one", long, "two", long, long, "three"} {
		testkit.WriteString(t, c, d)
	}
	var got []string
	receiveAll(t, s, b, 3, func(n int) {
		for i := range n {
			got = append(got, string(b.Data(i)))
		}
		if err := s.Reply(b, n); err != nil {
			t.Fatal(err)
		}
	})
	if want := []string{"one", "two", "three"}; !slices.Equal(got, want) {
		t.Errorf("received %q", got)
	}
	for _, want := range got {
		if answer := read(t, c); answer != want {
			t.Errorf("answered with %q, want %q", answer, want)
		}
	}
	if len(*lost) != 4 || len(slices.Compact(*lost)) != 1 || (*lost)[0] != "c: "+ErrTooLong.Error() {
		t.Errorf("lost %q", *lost)
	}
}

// A sender without an address, a Unix socket without a name or UDP port 0, is
// never the peer of an answer, and takes no other client's place.
func TestNoAddress(t *testing.T) {
	t.Parallel()
	s, dial := boundUnix(t)
	lost := drops(s)
	named, nameless := dial("c"), dial("")
	b := NewBatch("unixgram", BatchSize)
	testkit.WriteString(t, named, "named")
	testkit.WriteString(t, nameless, "nameless")
	n, err := s.Receive(b)
	if err != nil || n != 2 || !b.Answerable(0) || b.Answerable(1) {
		t.Fatalf("%d datagrams, %v", n, err)
	}
	if !s.SetLastPeer(b, n) || filepath.Base(s.PeerName()) != "c" {
		t.Errorf("the peer is %s", s.PeerName())
	}
	if err := s.Reply(b, n); err != nil {
		t.Fatal(err)
	}
	if got := read(t, named); got != "named" {
		t.Errorf("answered with %q", got)
	}
	if len(*lost) != 1 || (*lost)[0] != "the peer: "+ErrNoAddress.Error() {
		t.Errorf("lost %q", *lost)
	}

	u, _, port := bound(t, "127.0.0.1")
	lost = drops(u)
	c := dial4(t, port)
	for _, d := range []string{"forged", "ours", "forged"} {
		testkit.WriteString(t, c, d)
	}
	ub := NewBatch("udp", BatchSize)
	if n, err = u.Receive(ub); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for i := range n {
		if string(ub.Data(i)) == "forged" { // only a raw socket sends from port 0
			name := ub.name(i)
			name[2], name[3] = 0, 0
		}
	}
	if !u.SetLastPeer(ub, n) || u.PeerName() != "127.0.0.1 port "+portOf(c) {
		t.Errorf("the peer is %s", u.PeerName())
	}
	if n = u.SetFirstPeer(ub, n); n != 1 || string(ub.Data(0)) != "ours" || u.PeerName() != "127.0.0.1 port "+portOf(c) {
		t.Errorf("%d datagrams left, the peer is %s", n, u.PeerName())
	}
	if want := "127.0.0.1 port 0: " + ErrNoAddress.Error(); len(*lost) != 2 || (*lost)[0] != want || (*lost)[1] != want {
		t.Errorf("lost %q", *lost)
	}
}

func dial4(t *testing.T, port int) *net.UDPConn { return dial(t, "127.0.0.1", port) }

func portOf(c net.Conn) string {
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

// Answers wait a pause for each batch, and beyond that for a tenth of the time.
func TestPatience(t *testing.T) {
	t.Parallel()
	var p patience
	now := time.Now()
	pauses := func() (n int) {
		p.renew(now)
		for p.take() {
			n++
		}
		return n
	}
	for i, want := range []int{21, 1, 1, 11, 1} {
		if i == 3 {
			now = now.Add(100 * time.Millisecond)
		}
		if got := pauses(); got != want {
			t.Errorf("batch %d: %d pauses, want %d", i, got, want)
		}
	}
	now = now.Add(time.Hour)
	if got := pauses(); got != 21 {
		t.Errorf("%d pauses after an hour", got)
	}
}
