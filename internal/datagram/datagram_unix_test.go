//go:build unix

package datagram

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/fdio"
	"purr/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.AtOnce(8)
	m.Run()
}

// bound returns the Socket of a listener, and a way to dial it. host is empty
// for every address.
func bound(t *testing.T, host string) (s *Socket, i *fdio.Interrupt, port int) {
	t.Helper()
	i, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		if host == "" {
			AskForDestination(raw)
		}
		return nil
	}}
	conn, err := config.ListenPacket(t.Context(), "udp4", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	port = conn.LocalAddr().(*net.UDPAddr).Port
	if s, err = Open(conn.(Conn), i); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.Lost = func(peer string, err error) { t.Errorf("%s: %v", peer, err) }
	s.Deadline = time.Now().Add(testkit.Patience)
	return s, i, port
}

func dial(t *testing.T, host string, port int) *net.UDPConn {
	t.Helper()
	c, err := net.Dial("udp4", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c.(*net.UDPConn)
}

func read(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 1<<20)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// receiveAll receives until b has had n datagrams, and calls each with its
// batch.
func receiveAll(t *testing.T, s *Socket, b *Batch, n int, each func(n int)) {
	t.Helper()
	for n > 0 {
		got, err := s.Receive(b)
		if err != nil {
			t.Fatal(err)
		}
		each(got)
		n -= got
	}
}

// Datagrams of every size, the empty one among them, arrive whole with their
// senders, and each sender gets its own back: of one size or several, from one
// peer or two in turn.
func TestReply(t *testing.T) {
	t.Parallel()
	s, _, port := bound(t, "127.0.0.1")
	clients := []*net.UDPConn{dial(t, "127.0.0.1", port), dial(t, "127.0.0.1", port)}
	want := make([][]string, 2)
	sizes := []int{100, 100, 100, 40, 0, 0, 1, 65507, 1400, 1400, 1400, 1400, 7}
	for i, size := range sizes {
		to := i % 5 / 4
		d := testkit.Noise(size + i)[i:]
		if _, err := clients[to].Write([]byte(d)); err != nil {
			t.Fatal(err)
		}
		want[to] = append(want[to], d)
	}
	b := NewBatch("udp", BatchSize)
	receiveAll(t, s, b, len(sizes), func(n int) {
		for i := range n {
			if from := b.Sender(i).String(); from != clients[0].LocalAddr().String() && from != clients[1].LocalAddr().String() {
				t.Errorf("a datagram of %s", from)
			}
		}
		if err := s.Reply(b, n); err != nil {
			t.Fatal(err)
		}
	})
	for to, c := range clients {
		for i, d := range want[to] {
			if got := read(t, c); got != d {
				t.Errorf("client %d, answer %d: %s, want %s", to, i, testkit.Brief(got), testkit.Brief(d))
			}
		}
	}
}

// A socket that is bound to every address answers from the one that was asked,
// both by Reply and by SendToPeer.
func TestDestination(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		testkit.NotHere(t, "all of 127.0.0.0/8, as Linux has it, and answers from the address asked")
	}
	s, _, port := bound(t, "")
	b := NewBatch("udp", BatchSize)
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		c := dial(t, host, port) // connected: it takes answers from nowhere else
		testkit.WriteString(t, c, host)
		n, err := s.Receive(b)
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		s.SetPeer(b, 0)
		if err := s.Reply(b, n); err != nil {
			t.Fatal(err)
		}
		if got := read(t, c); got != host {
			t.Errorf("got %q", got)
		}
		if err := s.SendToPeer([]byte("peer"), 0); err != nil {
			t.Fatal(err)
		}
		if got := read(t, c); got != "peer" {
			t.Errorf("got %q", got)
		}
	}
}

// KeepPeer keeps the datagrams of one sender, in their order.
func TestPeer(t *testing.T) {
	t.Parallel()
	s, _, port := bound(t, "127.0.0.1")
	ours, other := dial(t, "127.0.0.1", port), dial(t, "127.0.0.1", port)
	b := NewBatch("udp", BatchSize)
	if name := s.PeerName(); name != "the peer" {
		t.Errorf("named %q before there is one", name)
	}
	testkit.WriteString(t, ours, "first")
	if n, err := s.Receive(b); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	s.SetPeer(b, 0)
	if name, want := s.PeerName(), fmt.Sprintf("127.0.0.1 port %d", ours.LocalAddr().(*net.UDPAddr).Port); name != want {
		t.Errorf("named %q, want %q", name, want)
	}
	for i := range 6 {
		testkit.WriteString(t, []*net.UDPConn{other, ours}[i%2], fmt.Sprint(i))
	}
	var got string
	receiveAll(t, s, b, 6, func(n int) {
		kept := s.KeepPeer(b, n)
		for i := range kept {
			got += string(b.Data(i))
		}
	})
	if got != "135" {
		t.Errorf("kept %q", got)
	}
}

// Size, Apply and WriteTo work on the first datagrams of a batch.
func TestBatch(t *testing.T) {
	t.Parallel()
	s, i, port := bound(t, "127.0.0.1")
	c := dial(t, "127.0.0.1", port)
	r, w := testkit.StdioPipe(t)
	out := fdio.New(w, i)
	var want string
	for _, d := range []string{"one ", "", "two ", strings.Repeat("three ", 10_000)} {
		if _, err := c.Write([]byte(d)); err != nil {
			t.Fatal(err)
		}
		want += d
	}
	got := make(chan string, 1)
	go func() { b, _ := io.ReadAll(r); got <- string(b) }()
	b := NewBatch("udp", BatchSize)
	size := 0
	receiveAll(t, s, b, 4, func(n int) {
		size += b.Size(n)
		b.Apply(n, func(d []byte) []byte {
			if len(d) > 0 {
				d[0] -= 'a' - 'A'
			}
			return d
		})
		if err := b.WriteTo(out, n); err != nil {
			t.Fatal(err)
		}
	})
	_ = w.Close()
	want = "One Two T" + want[len("one two t"):]
	if text := <-got; text != want || size != len(want) {
		t.Errorf("%d bytes, %s, want %s", size, testkit.Brief(text), testkit.Brief(want))
	}
}

// A wait ends with the deadline, or with the interrupt.
func TestReceiveEnds(t *testing.T) {
	t.Parallel()
	s, i, _ := bound(t, "127.0.0.1")
	b := NewBatch("udp", BatchSize)
	begun := time.Now()
	s.Deadline = begun.Add(30 * time.Millisecond)
	if _, err := s.Receive(b); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) < 30*time.Millisecond {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	s.Deadline = time.Time{}
	result := make(chan error, 1)
	go func() { _, err := s.Receive(b); result <- err }()
	time.Sleep(20 * time.Millisecond)
	i.Fire()
	if err := <-result; !fdio.ClosedHere(err) {
		t.Errorf("got %v", err)
	}
}

// The refusal of a closed port is the error of a later send or receive of a
// dialled socket.
func TestRefused(t *testing.T) {
	t.Parallel()
	closed, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUDP("udp4", nil, closed.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	i, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	s, err := Open(conn, i)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SendToPeer([]byte("?"), 0); err != nil {
		t.Fatal(err)
	}
	s.Deadline = time.Now().Add(testkit.Patience)
	if _, err := s.Receive(NewBatch("udp", 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}

// Unix datagrams are not limited to UDP's size, and an answer needs the name of
// the client.
func TestUnix(t *testing.T) {
	t.Parallel()
	dir := testkit.SocketDir(t)
	i, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	server := &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", server)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(conn, i)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Lost = func(peer string, err error) { t.Errorf("%s: %v", peer, err) }
	s.Deadline = time.Now().Add(testkit.Patience)
	c, err := net.DialUnix("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "c"), Net: "unixgram"}, server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	size := 100_000
	if runtime.GOOS != "linux" {
		size = 1000
	}
	testkit.WriteString(t, c, testkit.Noise(size))
	b := NewBatch("unixgram", BatchSize)
	n, err := s.Receive(b)
	if err != nil || n != 1 || b.Size(n) != size || b.Sender(0).IsValid() {
		t.Fatalf("%d datagrams of %d bytes from %v: %v", n, b.Size(n), b.Sender(0), err)
	}
	if err := s.Reply(b, n); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c); got != testkit.Noise(size) {
		t.Errorf("got %s", testkit.Brief(got))
	}
}
