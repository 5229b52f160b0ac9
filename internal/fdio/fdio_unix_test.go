//go:build unix

package fdio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

func newInterrupt(t testing.TB) *Interrupt {
	t.Helper()
	i, err := NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// fill writes into a pipe until it takes no more.
func fill(t testing.TB, w *os.File) {
	t.Helper()
	fd := New(w, nil).FD()
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); err != syscall.EAGAIN; _, err = syscall.Write(fd, make([]byte, 4096)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}

// An interrupt ends every kind of wait, whether it fires before or during it.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		wait func(t *testing.T, i *Interrupt) func() error
	}{
		{"read", func(t *testing.T, i *Interrupt) func() error {
			r, _ := testkit.StdioPipe(t)
			return func() error { _, err := New(r, i).Read(make([]byte, 1)); return err }
		}},
		{"write", func(t *testing.T, i *Interrupt) func() error {
			_, w := testkit.StdioPipe(t)
			fill(t, w)
			return func() error { _, err := New(w, i).Write([]byte("x")); return err }
		}},
		{"wait for the reader's end", func(t *testing.T, i *Interrupt) func() error {
			_, w := testkit.StdioPipe(t)
			return New(w, i).WaitBroken
		}},
		{"wait with a deadline", func(t *testing.T, i *Interrupt) func() error {
			r, _ := testkit.StdioPipe(t)
			return func() error { return i.Wait(New(r, i).FD(), 0, time.Now().Add(testkit.Patience)) }
		}},
		{"sleep", func(_ *testing.T, i *Interrupt) func() error {
			return func() error { return i.Sleep(testkit.Patience) }
		}},
		{"channel", func(_ *testing.T, i *Interrupt) func() error {
			return func() error { <-i.Done(); return ErrInterrupted }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			i := newInterrupt(t)
			wait := test.wait(t, i)
			result := make(chan error, 1)
			go func() { result <- wait() }()
			select {
			case err := <-result:
				t.Fatalf("did not wait: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			i.Fire()
			i.Fire()
			if err := <-result; err != ErrInterrupted {
				t.Errorf("during the wait: %v", err)
			}
			if err := wait(); err != ErrInterrupted {
				t.Errorf("before the wait: %v", err)
			}
		})
	}
}

// A closed interrupt has fired.
func TestInterruptClose(t *testing.T) {
	t.Parallel()
	i := newInterrupt(t)
	r, _ := testkit.StdioPipe(t)
	i.Close()
	if err := New(r, i).WaitReadable(); err != ErrInterrupted {
		t.Errorf("got %v", err)
	}
}

// A wait ends with its event, or with its deadline and not before it.
func TestWait(t *testing.T) {
	t.Parallel()
	i := newInterrupt(t)
	r, w := testkit.StdioPipe(t)
	fd := New(r, i).FD()
	begun := time.Now()
	const limit = 30*time.Millisecond + 100*time.Microsecond
	if err := i.Wait(fd, 1, begun.Add(limit)); err != os.ErrDeadlineExceeded {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took < limit {
		t.Errorf("the deadline passed after %v", took)
	}
	testkit.WriteString(t, w, "x")
	if err := i.Wait(fd, 1, time.Now().Add(-time.Hour)); err != nil {
		t.Errorf("input that is there: %v", err)
	}
	if err := i.Wait(fd, 1, time.Time{}); err != nil {
		t.Errorf("without a deadline: %v", err)
	}
}

// A read waits for input and returns it, then the end.
func TestRead(t *testing.T) {
	t.Parallel()
	i := newInterrupt(t)
	r, w := testkit.StdioPipe(t)
	in := New(r, i)
	if in.Ready() || in.Used() {
		t.Errorf("ready %v, used %v before there is anything", in.Ready(), in.Used())
	}
	time.AfterFunc(20*time.Millisecond, func() { _, _ = io.WriteString(w, "hello"); _ = w.Close() })
	b, err := io.ReadAll(in)
	if string(b) != "hello" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	if !in.Ready() || !in.Used() {
		t.Errorf("ready %v, used %v after the end", in.Ready(), in.Used())
	}
}

// A descriptor that another holder makes non-blocking, before the first write
// or between two, is waited for: EAGAIN is no error, and nothing is lost or
// doubled.
func TestNonblocking(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(2 << 20) // each half is more than a pipe holds
	half := len(content) / 2
	for _, early := range []bool{false, true} {
		for _, interruptible := range []bool{false, true} {
			t.Run(fmt.Sprintf("early %v, interruptible %v", early, interruptible), func(t *testing.T) {
				t.Parallel()
				var i *Interrupt
				if interruptible {
					i = newInterrupt(t)
				}
				r, w := testkit.StdioPipe(t)
				in, out := New(r, i), New(w, i)
				change := func() {
					for _, f := range []*File{in, out} {
						if err := syscall.SetNonblock(f.FD(), true); err != nil {
							t.Error(err)
						}
					}
				}
				if early {
					change()
				}
				go func() {
					defer w.Close()
					n, err := out.WriteString(content[:half])
					change()
					if err == nil {
						var more int
						more, err = out.Write([]byte(content[half:]))
						n += more
					}
					if n != len(content) || err != nil {
						t.Errorf("wrote %d of %d bytes: %v", n, len(content), err)
					}
				}()
				b, err := io.ReadAll(in)
				if string(b) != content || err != nil {
					t.Errorf("%d of %d bytes, or others: %v", len(b), len(content), err)
				}
			})
		}
	}
}

// The end of a reader is noticed without a write.
func TestBroken(t *testing.T) {
	t.Parallel()
	i := newInterrupt(t)
	r, w := testkit.StdioPipe(t)
	out := New(w, i)
	if out.Broken() {
		t.Error("broken before the reader has gone")
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = r.Close() })
	if err := out.WaitBroken(); err != nil {
		t.Error(err)
	}
	if !out.Broken() {
		t.Error("not broken after the reader has gone")
	}
}

func TestRemaining(t *testing.T) {
	t.Parallel()
	path := testkit.TempFile(t, "0123456789")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := New(f, nil)
	if n := in.Remaining(); n != 10 {
		t.Errorf("%d bytes of 10", n)
	}
	_, _ = f.Seek(4, io.SeekStart)
	if n := in.Remaining(); n != 6 {
		t.Errorf("%d bytes of 6", n)
	}
	_, _ = f.Seek(0, io.SeekEnd)
	if n := in.Remaining(); n != -1 {
		t.Errorf("%d bytes at the end", n)
	}
	r, _ := testkit.StdioPipe(t)
	if n := New(r, nil).Remaining(); n != -1 {
		t.Errorf("%d bytes of a pipe", n)
	}
}

// A CopyError has the cause's text, and ClosedHere finds our own close in it.
func TestErrors(t *testing.T) {
	t.Parallel()
	_, err := os.Open(filepath.Join(t.TempDir(), "none"))
	copying := &CopyError{Reading: true, Err: err}
	if copying.Error() != "no such file or directory" || !errors.Is(copying, os.ErrNotExist) {
		t.Errorf("%q", copying.Error())
	}
	for _, test := range []struct {
		err  error
		want bool
	}{{ErrInterrupted, true}, {&CopyError{Err: os.ErrClosed}, true}, {io.EOF, false}, {copying, false}, {nil, false}} {
		if got := ClosedHere(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}
