package datagram

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/testkit"
)

// A pipe and a socket get each datagram of a batch by a write of its own: here
// they keep what one write has put in apart. A file gets the same bytes.
func TestWriteToApart(t *testing.T) {
	t.Parallel()
	packets := make([]int, 2) // O_DIRECT in pipe(2)
	if err := unix.Pipe2(packets, unix.O_DIRECT|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"one", "two", "", "three", testkit.Noise(3000)}
	for name, ends := range map[string][]int{"pipe": packets, "socket": pair[:]} {
		r, w := os.NewFile(uintptr(ends[0]), name), os.NewFile(uintptr(ends[1]), name)
		defer r.Close()
		defer w.Close()
		for _, noNowait := range []bool{false, true} {
			writeBatch(t, w, want, noNowait)
			b := make([]byte, 1<<16)
			for _, d := range want {
				if d == "" {
					continue // nothing to write
				}
				if n, err := unix.Read(ends[0], b); err != nil || string(b[:n]) != d {
					t.Fatalf("%s: read %s (%v), want %s", name, testkit.Brief(string(b[:max(n, 0)])), err, testkit.Brief(d))
				}
			}
		}
	}
	path := testkit.TempFile(t, "")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	writeBatch(t, f, want, false)
	if got := testkit.ReadFile(t, path); got != "onetwothree"+testkit.Noise(3000) {
		t.Errorf("the file has %s", testkit.Brief(got))
	}
}

// writeBatch receives datagrams as one batch and writes it to w.
func writeBatch(t *testing.T, w *os.File, datagrams []string, noNowait bool) {
	t.Helper()
	s, i, port := bound(t, "127.0.0.1")
	c := dial(t, "127.0.0.1", port)
	for _, d := range datagrams {
		if _, err := c.Write([]byte(d)); err != nil {
			t.Fatal(err)
		}
	}
	b := NewBatch("udp", BatchSize)
	b.noNowait = noNowait
	n, err := s.Receive(b)
	if err != nil || n != len(datagrams) {
		t.Fatalf("%d datagrams of %d: %v", n, len(datagrams), err)
	}
	if err := b.WriteTo(fdio.New(w, i), n); err != nil {
		t.Fatal(err)
	}
}

// A pipe whose reader is slow is waited for, and nothing is lost or doubled.
func TestWriteToFullPipe(t *testing.T) {
	t.Parallel()
	r, w := testkit.StdioPipe(t)
	s, i, port := bound(t, "127.0.0.1")
	c := dial(t, "127.0.0.1", port)
	content := testkit.Noise(20 * 60_000)
	got := make(chan string, 1)
	go func() { got <- testkit.ReadAll(t, r) }()
	b, out := NewBatch("udp", BatchSize), fdio.New(w, i)
	for at := 0; at < len(content); at += 60_000 {
		if _, err := c.Write([]byte(content[at : at+60_000])); err != nil {
			t.Fatal(err)
		}
		receiveAll(t, s, b, 1, func(n int) {
			if err := b.WriteTo(out, n); err != nil {
				t.Fatal(err)
			}
		})
	}
	_ = w.Close()
	if text := <-got; text != content {
		t.Errorf("%d bytes of %d, or others", len(text), len(content))
	}
}
