package lineedit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"purr/internal/display"
	"purr/internal/fdio"
	"purr/internal/testkit"
)

// input returns a Reader of a pipe, and the end to write to.
func input(t *testing.T, o Options) (*Reader, *os.File) {
	t.Helper()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stop, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = feed.Close(); stop.Close() })
	r, err := New(fdio.New(in, stop), o)
	if err != nil {
		t.Fatal(err)
	}
	return r, feed
}

// The input passes unchanged, a line for each Read, until the quit word stands
// on a line of its own.
func TestLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxLine)
	for _, test := range []struct {
		quitWord, in string
		want         []string
		end          error
	}{
		{"", "one\n\r\ntwo\r\nrest", []string{"one\n", "\r\n", "two\r\n", "rest"}, io.EOF},
		{"", "", nil, io.EOF},
		{"q", "qq\n q\nq\nnever\n", []string{"qq\n", " q\n"}, ErrQuit},
		{"q", "a\nq\r\nnever\n", []string{"a\n"}, ErrQuit},
		{"q", "a\nq", []string{"a\n"}, ErrQuit},
		// The last piece of a line that is too long to be the word.
		{"q", long + "q\nmore\nq\nnever\n", []string{long, "q\n", "more\n"}, ErrQuit},
	} {
		r, feed := input(t, Options{QuitWord: test.quitWord})
		go func() {
			_, _ = io.WriteString(feed, test.in)
			_ = feed.Close()
		}()
		var got []string
		for {
			b := make([]byte, 2*maxLine)
			n, err := r.Read(b)
			if n > 0 {
				got = append(got, string(b[:n]))
			}
			if err != nil {
				if err != test.end {
					t.Errorf("%.20q ends with %v", test.in, err)
				}
				break
			}
		}
		if strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%.20q: got %.100q, want %.100q", test.in, got, test.want)
		}
	}
}

// A Read of less than a line leaves the rest, and Ready knows of it.
func TestReady(t *testing.T) {
	t.Parallel()
	r, feed := input(t, Options{})
	if r.Ready() || r.Kind() != fdio.Pipe || r.Output() != nil || r.Interrupted() {
		t.Errorf("ready %v, kind %v, output %v, interrupted %v", r.Ready(), r.Kind(), r.Output(), r.Interrupted())
	}
	_, _ = io.WriteString(feed, "hello\nworld\n")
	got := ""
	for range 4 {
		if !r.Ready() {
			t.Fatalf("not ready after %q", got)
		}
		b := make([]byte, 3)
		n, err := r.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got += string(b[:n]) + "|"
	}
	if got != "hel|lo\n|wor|ld\n|" {
		t.Errorf("got %q", got)
	}
	if r.Ready() {
		t.Error("ready without input")
	}
	_ = feed.Close()
	if n, err := r.Read(make([]byte, 3)); n != 0 || err != io.EOF {
		t.Errorf("%d bytes, %v", n, err)
	}
	r.Close()
}

// Whole lines appear at once, the beginning of one after a while.
func TestOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		o := newOutput(&screen)
		step := func(text string, wait time.Duration, want string) {
			t.Helper()
			if text != "" {
				testkit.WriteString(t, o, text)
			}
			time.Sleep(wait)
			synctest.Wait()
			o.mu.Lock()
			defer o.mu.Unlock()
			if got := screen.String(); got != want {
				t.Errorf("after %q: the screen shows %q, want %q", text, got, want)
			}
			screen.Reset()
		}
		step("one\r\ntwo\nlog", 0, "one\ntwo\n")
		step("in: ", partialDelay-1, "")
		step("", 1, "login: \n")
		step("\x1b[2J\x9b\n", 0, `\x1b[2J\x9b`+"\n")
		step(strings.Repeat("x", maxLine+1), 0, strings.Repeat("x", maxLine+1)+"\n")
		step("", time.Hour, "")
	})
}

// A screen that fails is the error of Write.
func TestOutputFails(t *testing.T) {
	t.Parallel()
	failure := errors.New("the terminal is gone")
	o := newOutput(failingWriter{failure})
	if n, err := io.WriteString(o, "line\n"); n != 0 || err != failure {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// However text arrives, its lines appear escaped and in order.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("one\r\ntwo\n\x1b[2J\n"), 3)
	f.Add([]byte("\xc3\xa9\n\xff\xc3\n"), 1)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		var screen bytes.Buffer
		o := newOutput(&screen)
		text = append(text, '\n')
		for rest := text; len(rest) > 0; {
			n := min(max(size, 1), len(rest))
			if _, err := o.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if len(text) > maxLine {
			return
		}
		var want strings.Builder
		for line := range strings.Lines(string(text)) {
			want.WriteString(display.Escape(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")) + "\n")
		}
		if screen.String() != want.String() {
			t.Errorf("the screen shows %q, want %q", screen.String(), want.String())
		}
	})
}
