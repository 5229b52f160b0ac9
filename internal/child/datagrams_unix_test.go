//go:build unix

package child

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/datagram"
	"purr/internal/testkit"
)

// A senderTest is a sender of datagrams with its command.
type senderTest struct {
	t        *testing.T
	conn     net.Conn
	statuses chan int
	leave    context.CancelCauseFunc
}

// A commandsTest has the statuses of the commands of each sender, by its name.
type commandsTest struct {
	*Datagrams
	statuses sync.Map
}

func (c *commandsTest) of(peer string) chan int {
	all, _ := c.statuses.LoadOrStore(peer, make(chan int, 1000))
	return all.(chan int)
}

// datagramsOf returns Datagrams for a script.
func datagramsOf(t *testing.T, script string, limit int, grace time.Duration) *commandsTest {
	t.Helper()
	r := &Runner{Command: Shell(script), Grace: grace, Stderr: os.Stderr}
	t.Cleanup(r.Close)
	c := &commandsTest{}
	c.Datagrams = NewDatagrams(r, limit, nil, func(peer string, status int) { c.of(peer) <- status })
	return c
}

// senderOf returns a sender, which has variables in place of those of Env.
func senderOf(t *testing.T, c *commandsTest, env ...string) *senderTest {
	t.Helper()
	ctx, leave := context.WithCancelCause(t.Context())
	peer := rand.Text()
	s := &senderTest{t: t, statuses: c.of(peer), leave: leave}
	var err error
	if s.conn, err = c.dial(ctx, &bridge{Datagrams: c.Datagrams, peer: peer, env: env}); err != nil {
		t.Fatal(err)
	}
	_ = s.conn.SetDeadline(time.Now().Add(testkit.Patience))
	t.Cleanup(func() { leave(nil); _ = s.conn.Close() })
	return s
}

// next returns the next datagram of the command.
func (s *senderTest) next() string {
	s.t.Helper()
	b := make([]byte, 1<<17)
	n, err := s.conn.Read(b)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b[:n])
}

// answer returns the next datagram that does not mark an end.
func (s *senderTest) answer() string {
	s.t.Helper()
	for {
		if d := s.next(); d != "" {
			return d
		}
	}
}

func (s *senderTest) ended(sent int) error {
	return s.conn.(interface{ Ended(int) error }).Ended(sent)
}

// endsWith waits for the end of a command, with its status.
func (s *senderTest) endsWith(want int) {
	s.t.Helper()
	select {
	case status := <-s.statuses:
		if status != want {
			s.t.Errorf("status %d, want %d", status, want)
		}
	case <-time.After(testkit.Patience):
		s.t.Fatal("the command does not end")
	}
}

// A shell's read gets whole lines of datagrams, each write of its output is a
// datagram, and the variables are those of the sender.
func TestDatagramBoundaries(t *testing.T) {
	testkit.NoLeaks(t)
	d := datagramsOf(t, `n=0; while read -r l; do n=$((n+1)); echo "$WHO $n $l"; done; exit 4`, 2, testkit.Patience)
	a, b := senderOf(t, d, "WHO=a"), senderOf(t, d, "WHO=b")
	for _, test := range []struct {
		sender     *senderTest
		text, want string
	}{
		{a, "one\nth", "a 1 one\n"},
		{b, "other\n", "b 1 other\n"},
		{a, "", ""},
		{a, "ree\n", "a 2 three\n"},
		{a, "last\n", "a 3 last\n"},
	} {
		testkit.WriteString(t, test.sender.conn, test.text)
		if test.want == "" {
			continue
		}
		if got := test.sender.next(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
	if err := a.ended(4); err != nil {
		t.Error(err)
	}
}

// Long input arrives whole, and long output in datagrams that UDP can carry.
func TestDatagramsLong(t *testing.T) {
	testkit.NoLeaks(t)
	s := senderOf(t, datagramsOf(t, "cat", 1, testkit.Patience))
	content := testkit.Noise(200_000)
	testkit.WriteString(t, s.conn, content)
	var got strings.Builder
	for got.Len() < len(content) {
		d := s.next()
		if len(d) > datagram.MaxPayload || d == "" {
			t.Fatalf("a datagram of %d bytes", len(d))
		}
		got.WriteString(d)
	}
	if got.String() != content {
		t.Error("other bytes")
	}
}

// A datagram that a command does not read starts the next one: a sender that
// asks as soon as it has an answer, or faster, gets all answers, each of
// another process.
func TestDatagramsCommandEnds(t *testing.T) {
	if runtime.GOOS != "linux" {
		testkit.NotHere(t, "the number of unread bytes in a pipe")
	}
	testkit.NoLeaks(t)
	s := senderOf(t, datagramsOf(t, `read -r l; echo "$$ $l"; exit 7`, 1, testkit.Patience))
	pids := make(map[string]bool)
	check := func(n int) {
		t.Helper()
		pid, got, _ := strings.Cut(s.answer(), " ")
		if got != fmt.Sprintf("%d\n", n) || pids[pid] {
			t.Errorf("question %d: %q of process %s", n, got, pid)
		}
		pids[pid] = true
		s.endsWith(7)
	}
	for n := range 30 {
		testkit.WriteString(t, s.conn, fmt.Sprintln(n))
		check(n)
	}
	for n := range 30 {
		testkit.WriteString(t, s.conn, fmt.Sprintln(n))
	}
	for n := range 30 {
		check(n)
	}
	for s.ended(60) == nil {
		if d := s.next(); d != "" {
			t.Fatalf("%q", d)
		}
	}
	if err := s.ended(60); err != ErrEnded {
		t.Error(err)
	}
	if err := s.ended(61); err != nil { // one is still on its way
		t.Error(err)
	}
}

// A command that reads nothing runs once for each datagram, and no more often.
// One that begins to read a datagram has it: its rest starts nothing.
func TestDatagramsUnread(t *testing.T) {
	if runtime.GOOS != "linux" {
		testkit.NotHere(t, "the number of unread bytes in a pipe")
	}
	testkit.NoLeaks(t)
	for _, test := range []struct {
		name, script string
		want         []string
	}{
		{"nothing", "echo hi", []string{"hi\n", "hi\n", "hi\n", "hi\n"}},
		{"a part", `printf '%s.' "$(dd bs=1 count=3 2>/dev/null)"`, []string{"abc.", "ghi."}},
	} {
		t.Run(test.name, func(t *testing.T) {
			sent := filepath.Join(t.TempDir(), "sent")
			d := datagramsOf(t, "while [ ! -e "+sent+" ]; do sleep 0.01; done; "+test.script, 1, testkit.Patience)
			s := senderOf(t, d)
			for _, text := range []string{"ab", "cdef", "gh", "ij"} {
				testkit.WriteString(t, s.conn, text)
			}
			testkit.WriteFile(t, sent, "")
			for _, want := range test.want {
				if got := s.answer(); got != want {
					t.Errorf("%q, want %q", got, want)
				}
				s.endsWith(0)
			}
			for s.ended(4) == nil {
				if d := s.next(); d != "" {
					t.Fatalf("%q", d)
				}
			}
		})
	}
}

// The first command may end before the datagram arrives that it was started
// for: that one does not start a second.
func TestDatagramsCommandEndsFirst(t *testing.T) {
	testkit.NoLeaks(t)
	s := senderOf(t, datagramsOf(t, "echo hi", 1, testkit.Patience))
	if got := s.next(); got != "hi\n" {
		t.Errorf("%q", got)
	}
	s.endsWith(0)
	if err := s.ended(1); err != nil {
		t.Errorf("before the datagram: %v", err)
	}
	for n := range 2 {
		testkit.WriteString(t, s.conn, "x")
		for n == 1 {
			if got := s.next(); got != "" {
				if got != "hi\n" {
					t.Errorf("%q", got)
				}
				break
			}
		}
		if got := s.next(); got != "" || s.ended(n+1) != ErrEnded {
			t.Errorf("datagram %d: %q, %v", n+1, got, s.ended(n+1))
		}
	}
	s.endsWith(0)
	select {
	case status := <-s.statuses:
		t.Errorf("a third command, with status %d", status)
	default:
	}
}

// The queue of a command that never reads gets full, others go on, and when its
// sender is gone, nothing is left.
func TestDatagramsNeverRead(t *testing.T) {
	testkit.NoLeaks(t)
	dir := t.TempDir()
	d := datagramsOf(t, `case $WHO in hog) echo $$; exec sleep 1000;; esac; exec cat`, 8, testkit.Patience)
	first := senderOf(t, d)
	testkit.WriteString(t, first.conn, "warm")
	first.next()
	before := descriptors(dir)
	var hogs []*senderTest
	var pids []int
	for range 5 {
		s := senderOf(t, d, "WHO=hog")
		var pid int
		fmt.Sscan(s.next(), &pid)
		hogs, pids = append(hogs, s), append(pids, pid)
		_ = s.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for err := error(nil); err == nil; {
			_, err = s.conn.Write([]byte("more"))
		}
	}
	testkit.WriteString(t, first.conn, "again")
	if got := first.next(); got != "again" {
		t.Errorf("%q", got)
	}
	for i, s := range hogs {
		s.leave(nil)
		s.endsWith(128 + int(syscall.SIGTERM))
		_ = s.conn.Close()
		if err := syscall.Kill(-pids[i], 0); err != syscall.ESRCH {
			t.Errorf("process %d: %v", pids[i], err)
		}
	}
	testkit.Eventually(t, "no descriptor is left", func() bool { return descriptors(dir) <= before })
}

// descriptors returns how many descriptors this process has open, 0 if that is
// unknown. Where they have no directory, dir stands for it.
func descriptors(dir string) int {
	if runtime.GOOS == "linux" {
		dir = "/proc/self/fd"
	}
	names, _ := os.ReadDir(dir)
	return len(names)
}

// A sender beyond the limit waits until a command has really ended, also one
// that ignores SIGTERM, or until it is gone itself.
func TestDatagramsLimit(t *testing.T) {
	testkit.NoLeaks(t)
	d := datagramsOf(t, `trap '' TERM; echo $$; while :; do sleep 0.02; done`, 1, 200*time.Millisecond)
	first := senderOf(t, d)
	var pid int
	fmt.Sscan(first.next(), &pid)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := d.dial(ctx, &bridge{Datagrams: d.Datagrams}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	first.leave(nil)
	second := senderOf(t, d)
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d: %v", pid, err)
	}
	first.endsWith(128 + int(syscall.SIGKILL))
	second.next()
}

// When the sender is gone its command's input ends, and it gets SIGTERM.
func TestDatagramsSenderGone(t *testing.T) {
	testkit.NoLeaks(t)
	s := senderOf(t, datagramsOf(t, `trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done`, 1, testkit.Patience))
	s.next()
	s.leave(nil)
	s.endsWith(9)
}

// So do the processes of its group that have outlived it and hold its output.
func TestDatagramsSenderGoneFromGroup(t *testing.T) {
	testkit.NoLeaks(t)
	d := datagramsOf(t, "sleep 1000 & echo ready", 1, 50*time.Millisecond)
	for range 20 { // which of two ends is noticed first is left to chance
		held, holder, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		d.runner.Stderr = holder
		s := senderOf(t, d)
		_ = holder.Close()
		s.next()
		onlyProcessEnds(t, d)
		s.leave(nil)
		s.endsWith(0)
		_ = held.SetReadDeadline(time.Now().Add(testkit.Patience))
		if _, err := held.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("a process is left: %v", err)
		}
	}
}

// Also at the end of the run, which comes together with that of the senders.
func TestDatagramsRunEndsWithGroup(t *testing.T) {
	testkit.NoLeaks(t)
	held, holder, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	d := datagramsOf(t, "sleep 1000 & echo ready", 1, 50*time.Millisecond)
	d.runner.Stderr = holder
	s := senderOf(t, d)
	_ = holder.Close()
	s.next()
	onlyProcessEnds(t, d)
	s.leave(nil)
	d.runner.Close()
	raw, err := held.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { _, err = unix.Read(int(fd), make([]byte, 1)) })
	if err != nil {
		t.Errorf("a process is left: %v", err)
	}
	s.endsWith(0)
}

// onlyProcessEnds waits for the end of the only command.
func onlyProcessEnds(t *testing.T, d *commandsTest) {
	t.Helper()
	d.runner.mu.Lock()
	defer d.runner.mu.Unlock()
	for p := range d.runner.live {
		<-p.done
	}
}

// The silence of a sender ends the input of its command, and terminates it only
// after the grace.
func TestDatagramsSenderSilent(t *testing.T) {
	testkit.NoLeaks(t)
	for _, test := range []struct {
		script string
		grace  time.Duration
		status int
	}{
		{`trap 'exit 9' TERM; echo ready; cat >/dev/null; sleep 0.1; exit 6`, testkit.Patience, 6},
		{`trap 'exit 9' TERM; echo ready; exec >&-; cat >/dev/null; sleep 0.1; exit 6`, testkit.Patience, 6},
		{`trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done`, 50 * time.Millisecond, 9},
	} {
		s := senderOf(t, datagramsOf(t, test.script, 1, test.grace))
		s.next()
		s.leave(os.ErrDeadlineExceeded)
		s.endsWith(test.status)
	}
}

// A command that cannot be started is an error, of Dial or later of Ended, and
// takes no place.
func TestDatagramsStartFails(t *testing.T) {
	testkit.NoLeaks(t)
	d := datagramsOf(t, "read -r l; echo $l", 1, testkit.Patience)
	shell := d.runner.Path
	d.runner.Path = filepath.Join(t.TempDir(), "none")
	if _, err := d.dial(t.Context(), &bridge{Datagrams: d.Datagrams}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	d.runner.Path = shell
	s := senderOf(t, d)
	d.runner.Path = filepath.Join(t.TempDir(), "none")
	testkit.WriteString(t, s.conn, "a\n")
	if got := s.next(); got != "a\n" {
		t.Errorf("%q", got)
	}
	if got := s.next(); got != "" || s.ended(1) != ErrEnded {
		t.Errorf("%q, %v", got, s.ended(1))
	}
	testkit.WriteString(t, s.conn, "b\n")
	if got := s.next(); got != "" || !errors.Is(s.ended(2), os.ErrNotExist) {
		t.Errorf("%q, %v", got, s.ended(2))
	}
}
