package datagram

import (
	"encoding/binary"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// Consecutive datagrams of one size to one peer are one message, the last of
// which may be shorter; without segments each is a message.
func TestSegments(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		sizes []int // negative: of another client
		want  []int // datagrams in each message
	}{
		{[]int{10, 10, 10}, []int{3}},
		{[]int{10, 10, 4}, []int{3}},
		{[]int{10, 4, 4}, []int{2, 1}},
		{[]int{4, 10}, []int{1, 1}},
		{[]int{0, 0, 5}, []int{1, 1, 1}},
		{[]int{10, 0, 10}, []int{1, 1, 1}},
		{[]int{10, -10, 10}, []int{1, 1, 1}},
		{[]int{60_000, 60_000}, []int{1, 1}},
	} {
		s, _, port := bound(t, "127.0.0.1")
		ours, other := dial(t, "127.0.0.1", port), dial(t, "127.0.0.1", port)
		for _, size := range test.sizes {
			c := ours
			if size < 0 {
				c, size = other, -size
			}
			if _, err := c.Write([]byte(strings.Repeat("x", size))); err != nil {
				t.Fatal(err)
			}
		}
		b := NewBatch("udp", BatchSize)
		n, err := s.Receive(b)
		if err != nil || n != len(test.sizes) {
			t.Fatalf("%d datagrams of %d: %v", n, len(test.sizes), err)
		}
		for i := range n {
			b.msgs[i].hdr.Iov.SetLen(int(b.msgs[i].len))
			b.msgs[i].hdr.SetControllen(0)
		}
		messages := func(segments bool) (runs []int) {
			for _, m := range b.gather(n, segments) {
				runs = append(runs, int(m.hdr.Iovlen))
			}
			return runs
		}
		if got := messages(true); !slices.Equal(got, test.want) {
			t.Errorf("%v: messages of %v datagrams, want %v", test.sizes, got, test.want)
		}
		if got := messages(false); len(got) != n {
			t.Errorf("%v: %d messages without segments", test.sizes, len(got))
		}
	}
}

// An address of a dual-stack socket has its IPv4 form.
func TestSenderFamilies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name []byte
		want string
	}{
		{[]byte{2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, "127.0.0.1:8080"},
		{append([]byte{10, 0, 0x1f, 0x90, 0, 0, 0, 0}, append(net.ParseIP("::ffff:10.0.0.1").To16(), 0, 0, 0, 0)...), "10.0.0.1:8080"},
		{append([]byte{10, 0, 0, 53, 0, 0, 0, 0}, append(net.ParseIP("2001:db8::1").To16(), 0, 0, 0, 0)...), "[2001:db8::1]:53"},
		{[]byte{1, 0}, "invalid AddrPort"},
		{nil, "invalid AddrPort"},
	} {
		if len(test.name) > 1 { // the family is in the order of the processor
			binary.NativeEndian.PutUint16(test.name, uint16(test.name[0]))
		}
		if got := rawAddrPort(test.name).String(); got != test.want {
			t.Errorf("%v: %s, want %s", test.name, got, test.want)
		}
	}
}

// Datagrams of one size stay apart on their way to a Unix socket, which would
// ignore the size of segments and make one datagram of them.
func TestForwardToUnix(t *testing.T) {
	t.Parallel()
	front, i, port := bound(t, "127.0.0.1")
	c := dial(t, "127.0.0.1", port)
	for range 3 {
		if _, err := c.Write([]byte("same")); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(testkit.SocketDir(t), "s")
	target, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	_ = target.SetDeadline(time.Now().Add(testkit.Patience))
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(conn.(Conn), i)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Lost = func(peer string, err error) { t.Errorf("%s: %v", peer, err) }
	b := NewBatch("udp", BatchSize)
	n, err := front.Receive(b)
	if err != nil || n != 3 {
		t.Fatalf("%d datagrams: %v", n, err)
	}
	if err := s.Forward(b, []int{0, 1, 2}, nil); err != nil {
		t.Fatal(err)
	}
	for range n {
		if got := read(t, target); got != "same" {
			t.Errorf("%q", got)
		}
	}
}
