package copier

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/rate"
	"purr/internal/sys"
	"purr/internal/testkit"
)

func newInterrupt(t testing.TB) *fdio.Interrupt {
	t.Helper()
	i, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// An end is one side of a copier with the program at its other side.
type end struct {
	used  any                    // passed to the copier
	other io.ReadWriter          // the program's
	close func()                 // of the program's side, or nil
	all   func(n int) (b []byte) // everything that has arrived at a destination, once that is n bytes

	admitted *int // bytes that the limit of a destination was asked for; nil: it has none
}

// checkLimit checks that n bytes have passed the limit of a destination, and
// those of a splice that was refused.
func (e end) checkLimit(t *testing.T, n int) {
	t.Helper()
	if e.admitted != nil && (*e.admitted < n || *e.admitted > n+MaxSlice) {
		t.Errorf("the limit has admitted %d of %d bytes", *e.admitted, n)
	}
}

// newEnd makes a source or destination of some kind. content is what a file
// has.
func newEnd(t *testing.T, kind, content string, i *fdio.Interrupt) end {
	t.Helper()
	dir := t.TempDir()
	open := func(name string, flags int) *os.File {
		f, err := os.OpenFile(name, flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	file := func(flags int) end {
		path := filepath.Join(dir, "f")
		testkit.WriteFile(t, path, content)
		f := open(path, flags)
		return end{used: fdio.New(f, i), all: func(int) []byte { b, _ := os.ReadFile(path); return b }}
	}
	stream := func(ours, theirs net.Conn) end {
		return end{used: ours, other: theirs, close: func() { _ = theirs.Close() }, all: func(n int) []byte { return []byte(testkit.ReadN(t, theirs, n)) }}
	}
	switch kind {
	case "tcp":
		ours, theirs := testkit.TcpPair(t)
		return stream(ours, theirs)
	case "unix":
		ours, theirs := testkit.UnixPair(t)
		return stream(ours, theirs)
	case "pipe in":
		r, w := testkit.StdioPipe(t)
		return end{used: fdio.New(r, i), other: w, close: func() { _ = w.Close() }}
	case "pipe out":
		r, w := testkit.StdioPipe(t)
		return end{used: fdio.New(w, i), other: r, all: func(n int) []byte { return []byte(testkit.ReadN(t, r, n)) }}
	case "file":
		return file(os.O_RDWR)
	case "append":
		return file(os.O_WRONLY | os.O_APPEND)
	case "null":
		return end{used: fdio.New(open(os.DevNull, os.O_RDWR), i)}
	case "discard":
		return end{used: io.Discard}
	case "limited tcp":
		ours, theirs := testkit.TcpPair(t)
		e := stream(ours, theirs)
		e.admitted = new(int)
		e.used = &rate.Writer{Writer: ours, Limit: rate.New(1 << 40), Admit: func(n int) error { *e.admitted += n; return nil }}
		return e
	}
	t.Fatal(kind)
	return end{}
}

// Each pair is copied in the way that was measured to be the fastest, and every
// byte arrives.
func TestPairs(t *testing.T) {
	content := testkit.Noise(3<<20 + 4321)
	invert := func(b []byte) []byte {
		for i := range b {
			b[i] = ^b[i]
		}
		return b
	}
	for _, test := range []struct {
		src, dst string
		filter   Filter
		want     string
	}{
		{"tcp", "pipe out", nil, "splice"},
		{"unix", "pipe out", nil, "splice"},
		{"tcp", "file", nil, "buffer"},
		{"unix", "file", nil, "buffer"},
		{"tcp", "append", nil, "buffer"},
		{"tcp", "null", nil, "discard"},
		{"tcp", "discard", nil, "discard"},
		{"unix", "null", nil, "buffer"},
		{"tcp", "tcp", nil, "splice"},
		{"tcp", "unix", nil, "splice"},
		{"unix", "tcp", nil, "splice"},
		{"unix", "unix", nil, "splice"},
		{"tcp", "limited tcp", nil, "splice"},
		{"tcp", "tcp", invert, "buffer"},
		{"pipe in", "tcp", nil, "splice"},
		{"pipe in", "unix", nil, "splice"},
		{"pipe in", "limited tcp", nil, "splice"},
		{"file", "tcp", nil, "buffer"},
		{"file", "unix", nil, "buffer"},
		{"pipe in", "pipe out", nil, "buffer"},
		{"tcp", "pipe out", invert, "buffer"},
		{"pipe in", "tcp", invert, "buffer"},
	} {
		name := test.src + " to " + test.dst
		if test.filter != nil {
			name += ", filtered"
		}
		t.Run(name, func(t *testing.T) {
			i := newInterrupt(t)
			fileContent := ""
			if test.src == "file" {
				fileContent = content
			}
			src, dst := newEnd(t, test.src, fileContent, i), newEnd(t, test.dst, "", i)
			if src.other != nil {
				go func() { _, _ = io.WriteString(src.other, content); src.close() }()
			}
			var kinds []string
			TestHook = func(kind string) { kinds = append(kinds, kind) }
			defer func() { TestHook = nil }()
			var filters []Filter
			want := []byte(content)
			if test.filter != nil {
				filters, want = []Filter{test.filter}, test.filter(want)
			}
			c := New(dst.used.(io.Writer), src.used.(io.Reader), filters...)
			defer c.Close()
			moved, result := 0, make(chan error, 1)
			go func() { result <- Run(c, MaxSlice, func(n int) error { moved += n; return nil }) }()
			if dst.other != nil {
				if got := dst.all(len(want)); !bytes.Equal(got, want) {
					t.Error("other bytes arrived")
				}
			}
			if err := <-result; err != nil || moved != len(content) {
				t.Errorf("%d of %d bytes: %v", moved, len(content), err)
			}
			dst.checkLimit(t, moved)
			if dst.other == nil && dst.all != nil && !bytes.Equal(dst.all(0), want) {
				t.Error("other bytes were stored")
			}
			if len(kinds) != 1 || kinds[0] != test.want {
				t.Errorf("copied by %q, want %q", kinds, test.want)
			}
			if c.Blocked() {
				t.Error("blocked after the end")
			}
		})
	}
}

// A destination that takes nothing blocks the copier, which costs no processor
// time; the interrupt or the reader ends it.
func TestStall(t *testing.T) {
	type stall struct {
		name   string
		c      Copier
		dst    end
		sent   chan int
		result chan error
	}
	var all []stall
	for _, test := range []struct{ src, dst string }{
		{"tcp", "pipe out"}, {"pipe in", "unix"}, {"pipe in", "tcp"}, {"unix", "pipe out"}, {"tcp", "tcp"}, {"tcp", "unix"},
	} {
		i := newInterrupt(t)
		src, dst := newEnd(t, test.src, "", i), newEnd(t, test.dst, "", i)
		s := stall{test.src + " to " + test.dst, New(dst.used.(io.Writer), src.used.(io.Reader)), dst, make(chan int, 1), make(chan error, 1)}
		defer s.c.Close()
		go func() {
			n, _ := io.WriteString(src.other.(io.Writer), testkit.Noise(32<<20))
			src.close()
			s.sent <- n
		}()
		go func() { s.result <- Run(s.c, MaxSlice, func(int) error { return nil }) }()
		all = append(all, s)
	}
	for _, s := range all {
		testkit.Eventually(t, s.name+" blocks", s.c.Blocked)
	}
	time.Sleep(100 * time.Millisecond) // until the buffers in front of them are full
	before := processorTime(t)
	time.Sleep(300 * time.Millisecond)
	if busy := processorTime(t) - before; busy > 100*time.Millisecond {
		t.Errorf("used %v of the processor in 300 ms", busy)
	}
	for _, s := range all {
		if !s.c.Blocked() {
			t.Errorf("%s: no longer blocked", s.name)
		}
		// A reader that goes on gets every byte.
		go func() { _, _ = io.Copy(io.Discard, s.dst.other) }()
		if err := <-s.result; err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if n := <-s.sent; n != 32<<20 {
			t.Errorf("%s: %d bytes were taken", s.name, n)
		}
	}
}

func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// The interrupt of a file ends a copy that waits for it, on either side.
func TestInterrupted(t *testing.T) {
	for _, test := range []struct {
		src, dst string
		reading  bool
	}{{"pipe in", "tcp", true}, {"tcp", "pipe out", false}} {
		i := newInterrupt(t)
		src, dst := newEnd(t, test.src, "", i), newEnd(t, test.dst, "", i)
		if !test.reading {
			go func() { _, _ = io.Copy(src.other.(io.Writer), endless{}) }()
		}
		c := New(dst.used.(io.Writer), src.used.(io.Reader))
		result := make(chan error, 1)
		go func() { result <- Run(c, MaxSlice, func(int) error { return nil }) }()
		if !test.reading {
			testkit.Eventually(t, "the copier blocks", c.Blocked)
		}
		time.Sleep(50 * time.Millisecond)
		i.Fire()
		var copying *fdio.CopyError
		if err := <-result; !errors.As(err, &copying) || copying.Reading != test.reading || copying.Err != fdio.ErrInterrupted {
			t.Errorf("%s to %s: %v", test.src, test.dst, err)
		}
		c.Close()
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// The error has the end that failed.
func TestCopyErrors(t *testing.T) {
	i := newInterrupt(t)
	run := func(dst, src end) error {
		c := New(dst.used.(io.Writer), src.used.(io.Reader))
		defer c.Close()
		return Run(c, MaxSlice, func(int) error { return nil })
	}
	for _, kind := range []string{"pipe out", "file", "null", "tcp"} {
		src := newEnd(t, "tcp", "", i)
		testkit.Reset(t, src.other.(net.Conn))
		var copying *fdio.CopyError
		if err := run(newEnd(t, kind, "", i), src); !errors.As(err, &copying) || !copying.Reading || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a reset before %s: %v", kind, err)
		}
	}
	src, dst := newEnd(t, "tcp", "", i), newEnd(t, "pipe out", "", i)
	_ = dst.other.(*os.File).Close()
	_, _ = io.WriteString(src.other, "x")
	var copying *fdio.CopyError
	if err := run(dst, src); !errors.As(err, &copying) || copying.Reading || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a pipe without a reader: %v", err)
	}
	src, dst = newEnd(t, "tcp", "", i), newEnd(t, "tcp", "", i)
	testkit.Reset(t, dst.other.(net.Conn))
	sender := src.other
	go func() { // until the reset has arrived
		for {
			if _, err := io.WriteString(sender, "x"); err != nil {
				return
			}
		}
	}()
	if err := run(dst, src); !errors.As(err, &copying) || copying.Reading || !sys.IsReset(err) {
		t.Errorf("to a socket that was reset: %v", err)
	}
	src.close()
	stopped := errors.New("stopped by moved")
	src = newEnd(t, "tcp", "", i)
	_, _ = io.WriteString(src.other, "x")
	if err := Run(New(io.Discard, src.used.(io.Reader)), MaxSlice, func(int) error { return stopped }); err != stopped {
		t.Errorf("got %v", err)
	}
}

// An urgent byte, which splice does not pass, is passed; RFC 6093.
func TestUrgent(t *testing.T) {
	for _, kind := range []string{"pipe out", "file", "tcp"} {
		i := newInterrupt(t)
		src, dst := newEnd(t, "tcp", "", i), newEnd(t, kind, "", i)
		go func() {
			_, _ = io.WriteString(src.other, "before ")
			raw, _ := src.other.(*net.TCPConn).SyscallConn()
			_ = raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
			_, _ = io.WriteString(src.other, " after")
			src.close()
		}()
		c := New(dst.used.(io.Writer), src.used.(io.Reader))
		if err := Run(c, MaxSlice, func(int) error { return nil }); err != nil {
			t.Error(err)
		}
		c.Close()
		if out, ok := dst.used.(io.Closer); ok {
			_ = out.Close()
		}
		got := ""
		if dst.other != nil {
			got = testkit.ReadAll(t, dst.other)
		} else {
			got = string(dst.all(0))
		}
		if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
			t.Errorf("%s: got %q", kind, got)
		}
	}
}

// A hashing copier has the sum of the written bytes, whichever way they took,
// and writes nothing beyond its limit.
func TestHashing(t *testing.T) {
	content := testkit.Noise(1<<20 + 77)
	sum := sha256.Sum256([]byte(content))
	for _, kind := range []string{"file", "pipe out", "null"} {
		for _, limit := range []int64{-1, int64(len(content)), int64(len(content)) - 1} {
			t.Run(fmt.Sprint(kind, " ", limit), func(t *testing.T) {
				i := newInterrupt(t)
				src, dst := newEnd(t, "tcp", "", i), newEnd(t, kind, "", i)
				go func() { _, _ = io.WriteString(src.other, content); src.close() }()
				if dst.other != nil {
					go func() { _, _ = io.Copy(io.Discard, dst.other) }()
				}
				c, got := NewHashing(dst.used.(io.Writer), src.used.(io.Reader), limit)
				err := Run(c, MaxSlice, func(int) error { return nil })
				c.Close()
				var tooMuch LimitError
				if limit >= 0 && limit < int64(len(content)) {
					if !errors.As(err, &tooMuch) || tooMuch.Limit != limit {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil || got.Size != int64(len(content)) || !bytes.Equal(got.SHA256, sum[:]) {
					t.Errorf("%d bytes, sha256 %x, %v", got.Size, got.SHA256, err)
				}
			})
		}
	}
}
