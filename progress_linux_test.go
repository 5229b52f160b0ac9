package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// trickle writes to c, a little at a time, until the returned function is
// called, which also half-closes c.
func trickle(t *testing.T, c net.Conn) (stop func()) {
	t.Helper()
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := io.WriteString(c, strings.Repeat("x", 1000)); err != nil {
				return
			}
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() {
		close(over)
		<-done
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}
}

// --progress: files that stdin or stdout come from or go to have a bar,
// although the other is the terminal, until payload goes to that.
func TestProgressOfRedirected(t *testing.T) {
	t.Parallel()
	t.Run("stdin", func(t *testing.T) {
		t.Parallel()
		s := newScreen(t)
		file := testkit.TempFile(t, testkit.Noise(eight))
		c := s.dial("--rate 500K --progress <" + file)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		s.shows(`(?m)^127\S+ port \d+ +\d+% \[=*>? *\] \(.*/8\.0 MiB, .*iB/s\) ETA \d+s$`)
		writeAll(t, c, "an answer\nand a half")
		s.shows(`(?m)^an answer\nand a half *$`)
		writeAll(t, c, " more\n")
		s.shows(`(?m)^an answer\nand a half more *$`)
		seen := s.text()
		time.Sleep(500 * time.Millisecond) // in which there would be two bars
		if seen += s.text(); strings.Contains(seen, "% [") {
			t.Errorf("there is a bar beside the payload:\n%s", seen)
		}
		s.press("C-c")
		s.status(130)
	})
	for _, flags := range []string{"--progress", "--progress --quiet"} {
		t.Run("stdout "+flags, func(t *testing.T) {
			t.Parallel()
			s := newScreen(t)
			c := s.dial(flags + " >" + t.TempDir() + "/f")
			stop := trickle(t, c)
			s.shows(`(?m)^127\S+ port \d+ [|/\\-] \(.*iB, .*iB/s\)$`)
			stop()
			_ = c.Close()
			s.status(0)
			if text := s.text(); strings.Contains(text, "iB/s") || strings.Contains(text, "purr: ") {
				t.Errorf("the bar is not gone, or a line came:\n%s", text)
			}
		})
	}
	t.Run("a conversation", func(t *testing.T) {
		t.Parallel()
		s := newScreen(t)
		c := s.dial("--progress")
		time.Sleep(1500 * time.Millisecond) // a bar would be there after a second
		s.enter("typed")
		if got := testkit.ReadN(t, c, 6); got != "typed\n" {
			t.Errorf("got %q", got)
		}
		if text := s.text(); strings.Contains(text, "(0 B") || strings.Contains(text, "(6 B") {
			t.Errorf("there is a bar:\n%s", text)
		}
		s.press("C-c")
		s.status(130)
	})
}

// --progress --quiet is the bar of a file without its last lines, and Ctrl-C
// leaves nothing of it.
func TestProgressQuiet(t *testing.T) {
	t.Parallel()
	file := testkit.TempFile(t, testkit.Noise(eight))
	for _, interrupt := range []bool{false, true} {
		s := newScreen(t)
		c := s.dial("--progress --quiet --rate 3M --send-file " + file)
		go func() {
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}()
		s.shows(`(?m)^\S+ +\d+% \[=*>? *\] \(.*/8\.0 MiB, .*iB/s\) ETA \d+s$`)
		if interrupt {
			s.press("C-c")
			s.status(130)
		} else {
			s.status(0)
		}
		if text := s.text(); strings.Contains(text, "iB/s") || strings.Contains(text, "purr: ") || strings.Contains(text, "^C") || strings.Contains(text, "]") {
			t.Errorf("interrupted %v: something remains:\n%s", interrupt, text)
		}
	}
	// Without a terminal there is nothing to show, and no lines either.
	ln := listenTest(t)
	p := startPurr(t, opts{}, "--progress", "--quiet", "--rate", "1200K", "--send-file", file, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
	p.ends(0)
	p.quiet()
	_ = os.Remove(file)
}

// Of a tree, both ends show the same size and the name of the file under way.
func TestProgressOfTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 40 {
		testkit.WriteFile(t, fmt.Sprintf("%s/tree/sub%d/f%d", dir, i/10, i), testkit.Noise(100<<10))
	}
	receiver := startPurr(t, opts{dir: t.TempDir()}, "-v", "--pull", "-l", "127.0.0.1", "0", ".")
	sender := startPurr(t, opts{dir: dir}, "--push", "--rate", "1M", "127.0.0.1", receiver.port(), "tree")
	receiver.waitErr(regexp.MustCompile(`(?m)^Connection received`))
	re := regexp.MustCompile(`; tree/sub\d/f\d+: [0-9.]+ [KM]iB of 3\.9 MiB \((\d+) %\)`)
	for _, p := range []*process{sender, receiver} {
		testkit.Eventually(t, p.name+" shows the size of all", func() bool {
			p.runs()
			p.signal(syscall.SIGUSR1)
			m := re.FindStringSubmatch(p.err.String())
			return m != nil
		})
	}
	sender.ends(0)
	receiver.ends(0)
}
