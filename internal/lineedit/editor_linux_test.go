package lineedit

import (
	"errors"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/testkit"
)

// A terminalTest is a pseudo-terminal of 80 by 24, and an interrupt for its
// reader.
type terminalTest struct {
	tty    *os.File
	keys   *os.File        // a write is typed
	screen *testkit.Output // the output so far
	stop   *fdio.Interrupt
}

func newTerminal(t *testing.T) *terminalTest {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		testkit.Missing(t, "a pseudo-terminal: "+err.Error())
	}
	keys := os.NewFile(uintptr(fd), "/dev/ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		testkit.Missing(t, "a pseudo-terminal: "+err.Error())
	}
	stop, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	screen := &testkit.Output{More: make(chan struct{})}
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = io.Copy(screen, keys) // until the terminal is closed
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		<-shown
		_ = keys.Close()
		stop.Close()
	})
	return &terminalTest{tty, keys, screen, stop}
}

// edit returns a Reader with an editor on the terminal.
func (s *terminalTest) edit(t *testing.T, o Options) *Reader {
	t.Helper()
	o.Screen = s.tty
	r, err := New(fdio.New(s.tty, s.stop), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func (s *terminalTest) modes(t *testing.T) *unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (s *terminalTest) shows(t *testing.T, text string) {
	t.Helper()
	testkit.Eventually(t, text+" appears", func() bool { return strings.Contains(s.screen.String(), text) })
}

// A line is edited while output and messages appear above it, and at the end
// the terminal is as it was.
func TestEditor(t *testing.T) {
	t.Parallel()
	s := newTerminal(t)
	before := s.modes(t)
	var messages io.Writer
	r := s.edit(t, Options{QuitWord: "q", Redirect: func(w io.Writer) (restore func()) {
		messages = w
		return func() { messages = nil }
	}})
	if s.modes(t).Lflag&unix.ICANON != 0 || r.Kind() != fdio.Terminal {
		t.Error("the terminal is not in raw mode")
	}
	testkit.WriteString(t, s.keys, "abd\x1b[Dc\r") // Left
	line := make([]byte, 100)
	if n, err := r.Read(line); string(line[:n]) != "abcd\n" || err != nil {
		t.Errorf("got %q, %v", line[:n], err)
	}
	testkit.WriteString(t, r.Output(), "news \x1b[2J\x9b\r\n")
	testkit.WriteString(t, messages, "a message\n")
	s.shows(t, `news \x1b[2J\x9b`+"\r\n")
	s.shows(t, "a message\r\n")
	if strings.Contains(s.screen.String(), "\x1b[2J") {
		t.Errorf("the screen was cleared: %q", s.screen)
	}
	testkit.WriteString(t, r.Output(), "login: ")
	s.shows(t, "login: ")
	testkit.WriteString(t, s.keys, "q\r")
	if n, err := r.Read(make([]byte, 9)); n != 0 || err != ErrQuit || r.Interrupted() {
		t.Errorf("the quit word: %d bytes, %v, interrupted %v", n, err, r.Interrupted())
	}
	testkit.WriteString(t, s.keys, "\x04") // Ctrl-D
	if n, err := r.Read(make([]byte, 9)); n != 0 || err != io.EOF || r.Interrupted() {
		t.Errorf("Ctrl-D: %d bytes, %v, interrupted %v", n, err, r.Interrupted())
	}
	testkit.WriteString(t, r.Output(), "last words")
	r.Close()
	r.Close()
	s.shows(t, "last words")
	if after := s.modes(t); !reflect.DeepEqual(after, before) || messages != nil {
		t.Errorf("the terminal was\n%+v and is\n%+v; messages go to %v", before, after, messages)
	}
}

// Ctrl-C ends the input in the middle of a line.
func TestEditorCtrlC(t *testing.T) {
	t.Parallel()
	s := newTerminal(t)
	r := s.edit(t, Options{})
	testkit.WriteString(t, s.keys, "unfinished\x03")
	if n, err := r.Read(make([]byte, 99)); n != 0 || err != ErrInterrupted || !errors.Is(err, ErrQuit) || !r.Interrupted() {
		t.Errorf("%d bytes, %v, interrupted %v", n, err, r.Interrupted())
	}
}

// The interrupt ends a Read that waits for keys.
func TestEditorInterrupted(t *testing.T) {
	t.Parallel()
	s := newTerminal(t)
	r := s.edit(t, Options{})
	go s.stop.Fire()
	if n, err := r.Read(make([]byte, 99)); n != 0 || err != fdio.ErrInterrupted || r.Interrupted() {
		t.Errorf("%d bytes, %v, interrupted %v", n, err, r.Interrupted())
	}
}
