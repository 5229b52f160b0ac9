package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// A screen is a terminal in tmux with a shell in it.
type screen struct {
	t      *testing.T
	socket string
	dir    string
}

// newScreen starts a shell in a terminal of 80 by 24.
func newScreen(t *testing.T) *screen {
	t.Helper()
	testkit.Program(t, "tmux", "tmux")
	dir := testkit.SocketDir(t)
	s := &screen{t, filepath.Join(dir, "tmux"), dir}
	cmd := exec.Command("tmux", "-S", s.socket, "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "env PS1='$ ' sh")
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(purrPath(t))+":"+os.Getenv("PATH"), runAsPurr+"=1", "GORACE=atexit_sleep_ms=0", "LC_ALL=C.UTF-8", "TERM=screen")
	if out, err := cmd.CombinedOutput(); err != nil {
		testkit.NotHere(t, fmt.Sprintf("a tmux that can start: %v: %s", err, out))
	}
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", s.socket, "kill-server").Run() })
	s.shows(`(?m)^\$ *$`)
	return s
}

// press sends keys by their tmux names; each word is one key, or the text of
// it.
func (s *screen) press(keys ...string) {
	s.t.Helper()
	if out, err := exec.Command("tmux", append([]string{"-S", s.socket, "send-keys"}, keys...)...).CombinedOutput(); err != nil {
		s.t.Fatalf("tmux: %v: %s", err, out)
	}
}

// enter types text and presses Enter.
func (s *screen) enter(text string) {
	s.t.Helper()
	s.press("-l", text)
	s.press("Enter")
}

func (s *screen) text() string {
	s.t.Helper()
	out, err := exec.Command("tmux", "-S", s.socket, "capture-pane", "-p").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out)
}

// shows waits until the screen matches.
func (s *screen) shows(pattern string) {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.Now().Add(testkit.Patience)
	for {
		text := s.text()
		if re.MatchString(text) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the screen never matched %q:\n%s", pattern, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// modes returns the terminal's modes as stty prints them.
func (s *screen) modes() string {
	s.t.Helper()
	path := filepath.Join(s.dir, fmt.Sprintf("stty%d", time.Now().UnixNano()))
	s.enter("stty -a >" + path + ".part; mv " + path + ".part " + path)
	var b []byte
	testkit.Eventually(s.t, "stty has written", func() (ok bool) {
		var err error
		b, err = os.ReadFile(path)
		return err == nil
	})
	return string(b)
}

// status waits until the shell prints the exit status of the last command.
func (s *screen) status(want int) {
	s.t.Helper()
	s.shows(fmt.Sprintf(`(?m)STATUS %d$`, want))
}

// dial starts purr in the terminal against a listener of the test's.
func (s *screen) dial(flags string) *net.TCPConn {
	s.t.Helper()
	ln := listenTest(s.t)
	s.enter("clear; purr " + flags + " 127.0.0.1 " + portOf(s.t, ln.Addr()) + "; echo STATUS $?")
	return acceptTest(s.t, ln)
}

// --interactive: output of the peer appears above the line being typed, which
// stays as it is; control characters are shown and not obeyed.
func TestInteractive(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	before := s.modes()
	c := s.dial("--interactive")
	writeAll(t, c, "welcome\r\n")
	s.shows(`(?m)^welcome$`)
	s.press("-l", "half a li")
	s.shows(`(?m)^> half a li *$`)
	writeAll(t, c, "news \x1b[2J\x1b]0;owned\x07\x9b31m end\n")
	s.shows(`(?m)^news \\x1b\[2J\\x1b\]0;owned\\a\\x9b31m end$\n^> half a li *$`)
	if !strings.Contains(s.text(), "welcome") {
		t.Errorf("the screen was cleared by the peer:\n%s", s.text())
	}
	// The line goes out whole, and only when it is done.
	silent(t, c, 50*time.Millisecond)
	s.press("-l", "ne")
	s.press("Enter")
	if got := testkit.ReadN(t, c, 10+1); got != "half a line"[:11] {
		t.Errorf("got %q", got)
	}
	if got := testkit.ReadN(t, c, 1); got != "\n" {
		t.Errorf("got %q", got)
	}
	// The line can be edited: left, erased; and comes back from the history.
	s.press("-l", "abd")
	s.press("Left", "c")
	s.press("Enter")
	if got := testkit.ReadN(t, c, 5); got != "abcd\n" {
		t.Errorf("got %q", got)
	}
	s.press("Up")
	s.press("Up")
	s.press("BSpace", "Enter")
	if got := testkit.ReadN(t, c, 11); got != "half a lin\n" {
		t.Errorf("got %q", got)
	}
	// Own lines are marked, the peer's are not.
	if text := s.text(); !strings.Contains(text, "\n> half a line\n") || strings.Contains(text, "> welcome") {
		t.Errorf("the lines are not told apart:\n%s", text)
	}
	// A prompt without an end of line appears too.
	writeAll(t, c, "login: ")
	s.shows(`login:`)
	// Ctrl-D half-closes; later output is still shown.
	s.press("C-d")
	if got := testkit.ReadAll(t, c); got != "" {
		t.Errorf("got %q", got)
	}
	writeAll(t, c, "last words\n")
	s.shows(`(?m)^last words$`)
	_ = c.Close()
	s.status(0)
	if after := s.modes(); after != before {
		t.Errorf("the terminal was\n%sand is\n%s", before, after)
	}
}

// Ctrl-C quits, and gives the terminal back.
func TestInteractiveCtrlC(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	before := s.modes()
	c := s.dial("--interactive")
	writeAll(t, c, "welcome\n")
	s.shows(`(?m)^welcome$`)
	s.press("-l", "unfinished")
	s.shows(`unfinished`)
	s.press("C-c")
	s.shows(`(?m)^> unfinished$\n^STATUS 130$`)
	if got := testkit.ReadAll(t, c); got != "" {
		t.Errorf("an unfinished line was sent: %q", got)
	}
	if after := s.modes(); after != before {
		t.Errorf("the terminal was\n%sand is\n%s", before, after)
	}
}

// Wide characters, and the keys of every terminal, edit the line; function keys
// type nothing.
func TestInteractiveKeys(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	c := s.dial("--interactive")
	text := func(text string) []string { return []string{"-l", text} }
	wide := strings.Repeat("世", 50)
	for _, test := range []struct {
		keys  [][]string // for tmux send-keys
		sent  string
		shown string // on the screen, behind the prompt; "": as sent
	}{
		{[][]string{text("你好世界"), {"Left", "Left"}, text("X"), {"BSpace"}}, "你好世界", ""},
		{[][]string{text("你好世界"), {"Left", "Left"}, text("X")}, "你好X世界", ""},
		{[][]string{text("你好世界"), {"Left", "Left", "C-e", "C-u"}, text("ok")}, "ok", ""},
		{[][]string{text("bc"), {"Home"}, text("a"), {"End"}, text("d")}, "abcd", ""}, // ESC[1~ and ESC[4~
		{[][]string{{"F1", "F2", "F5", "F12", "S-F3"}, text("x"), {"PageUp", "IC"}, text("y")}, "xy", ""},
		{[][]string{text("one"), {"DC", "Home", "DC", "Left"}}, "ne", ""},
		{[][]string{text("e\u0301a"), {"Left", "BSpace"}}, "a", ""}, // e and its accent are one character
		{[][]string{text("two words"), {"C-w"}, text("w")}, "two w", ""},
		{[][]string{text(wide), {"Home"}, text("x")}, "x" + wide, "x" + wide[:38*3] + "\n" + wide[38*3:]},
	} {
		for _, keys := range append(test.keys, []string{"Enter"}) {
			s.press(keys...)
		}
		if got := testkit.ReadN(t, c, len(test.sent)+1); got != test.sent+"\n" {
			t.Errorf("%q: sent %q, want %q", test.keys, got, test.sent)
		}
		s.shows(`(?m)^> ` + regexp.QuoteMeta(cmp.Or(test.shown, test.sent)) + `$\n^>$`)
		s.press("C-l")
		s.shows(`^>\n`)
	}
}

// What the peer sends, and its end, leave the draft on a line of its own: the
// shell's prompt does not stick to it. Under -v Ctrl-C is no quit word.
func TestInteractiveDraftStays(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	c := s.dial("--interactive")
	writeAll(t, c, "welcome\n")
	s.shows(`(?m)^welcome\n^>$`)
	s.press("-l", "draft")
	s.shows(`(?m)^> draft$`)
	_ = c.Close()
	s.shows(`(?m)^> draft$\n^STATUS 0$\n^\$`)

	c = s.dial("--interactive")
	writeAll(t, c, "welcome\n")
	s.shows(`(?m)^welcome\n^>$`)
	_ = c.Close()
	s.shows(`(?m)^welcome$\n^STATUS 0$\n^\$`)

	c = s.dial("-v --interactive")
	writeAll(t, c, "welcome\n")
	s.shows(`(?m)^welcome\n^>$`)
	s.press("C-c")
	s.shows(`(?m)^interrupted; |127\.0\.0\.1 port \d+: interrupted; `)
	s.status(130)
	if strings.Contains(s.text(), "quit word") {
		t.Errorf("there was no quit word:\n%s", s.text())
	}
	_ = c.Close()
}

// The quit word ends the conversation and is not sent; so does the end of the
// peer, and a signal. The terminal is given back each time.
func TestInteractiveEndings(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	before := s.modes()
	c := s.dial("--interactive --quit-word q")
	writeAll(t, c, "welcome\n")
	s.shows(`(?m)^welcome$`)
	s.enter("quite")
	s.enter("q")
	if got := testkit.ReadAll(t, c); got != "quite\n" {
		t.Errorf("got %q", got)
	}
	_ = c.Close()
	s.status(0)
	if after := s.modes(); after != before {
		t.Errorf("after the quit word the terminal was\n%sand is\n%s", before, after)
	}

	c = s.dial("--interactive")
	writeAll(t, c, "bye\n")
	_ = c.Close()
	s.status(0)
	s.shows(`(?m)^bye$`)
	if after := s.modes(); after != before {
		t.Errorf("after the end of the peer the terminal was\n%sand is\n%s", before, after)
	}

	c = s.dial("--interactive")
	writeAll(t, c, "welcome\n")
	s.shows(`(?m)^welcome$`)
	testkit.Reset(t, c)
	s.status(1)
	s.shows(`purr: receive from 127.0.0.1 port \d+: connection reset by peer`)
	if after := s.modes(); after != before {
		t.Errorf("after a reset the terminal was\n%sand is\n%s", before, after)
	}

	terminate := func() {
		t.Helper()
		pid, err := os.ReadFile(s.dir + "/pid")
		if err != nil {
			t.Fatal(err)
		}
		if err := exec.Command("kill", "-TERM", strings.TrimSpace(string(pid))).Run(); err != nil {
			t.Fatal(err)
		}
	}
	s.enter("clear; sh -c 'echo $$ >" + s.dir + "/pid; exec purr --interactive -l 127.0.0.1 0'; echo STATUS $?")
	s.shows("Listening on")
	terminate()
	s.status(143)
	if after := s.modes(); after != before {
		t.Errorf("after SIGTERM the terminal was\n%sand is\n%s", before, after)
	}

	// In the middle of a conversation.
	ln := listenTest(t)
	s.enter("clear; sh -c 'echo $$ >" + s.dir + "/pid; exec purr --interactive 127.0.0.1 " + portOf(t, ln.Addr()) + "'; echo STATUS $?")
	c = acceptTest(t, ln)
	writeAll(t, c, "welcome\n")
	s.shows(`(?m)^welcome$`)
	terminate()
	s.status(143)
	if after := s.modes(); after != before {
		t.Errorf("after SIGTERM the terminal was\n%sand is\n%s", before, after)
	}
}

// Without --interactive a terminal works as in nc: lines out, raw bytes in; the
// peer's end is the end.
func TestPlainTerminal(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	before := s.modes()
	c := s.dial("")
	s.enter("hello")
	if got := testkit.ReadN(t, c, 6); got != "hello\n" {
		t.Errorf("got %q", got)
	}
	writeAll(t, c, "raw \x1b[7mbytes\x1b[0m\n")
	s.shows(`(?m)^raw bytes$`)
	s.press("C-d")
	if got := testkit.ReadAll(t, c); got != "" {
		t.Errorf("got %q", got)
	}
	writeAll(t, c, "answer\n")
	_ = c.Close()
	s.shows(`(?m)^answer$`)
	s.status(0)
	// The peer's end ends it, though the terminal is still open.
	c = s.dial("")
	writeAll(t, c, "banner\n")
	_ = c.Close()
	s.status(0)
	c = s.dial("")
	_ = c.CloseWrite()
	s.status(0)
	c = s.dial("")
	writeAll(t, c, "it is connected\n") // before that the signal ends purr, and with it bash's list
	s.shows(`(?m)^it is connected$`)
	s.press("C-c")
	s.status(130)
	if after := s.modes(); after != before {
		t.Errorf("the terminal was\n%sand is\n%s", before, after)
	}
}

// The upper-case server, line by line, in the tutorial's interactive client.
func TestInteractiveAgainstUpperServer(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{}, "-l", "-k", "--echo", "--upper", "127.0.0.1", "0")
	s := newScreen(t)
	s.enter("clear; purr --interactive --quit-word q 127.0.0.1 " + server.port() + "; echo STATUS $?")
	s.enter("hello")
	s.shows(`(?m)^HELLO$`)
	s.enter("straße é")
	s.shows(`(?m)^STRAßE é$`)
	s.enter("q")
	s.status(0)
	server.runs()
}

// tmux runs one of tmux's own commands.
func (s *screen) tmux(args ...string) {
	s.t.Helper()
	if out, err := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...).CombinedOutput(); err != nil {
		s.t.Fatalf("tmux: %v: %s", err, out)
	}
}
