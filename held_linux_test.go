package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/push"
	"purr/internal/testkit"
)

// stop returns when no thread of the process runs any more, until SIGCONT.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	testkit.Eventually(p.t, "a stopped process", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		return err != nil || strings.Contains(string(stat), ") T ")
	})
}

// Input that arrived while purr itself was held up for longer than -w is not
// lost: the bytes are read before the timeout counts.
func TestHeldUp(t *testing.T) {
	t.Parallel()
	const held = 1300 * time.Millisecond
	hold := func(t testing.TB, p *process, meanwhile func()) {
		t.Helper()
		p.stop()
		meanwhile()
		time.Sleep(held)
		p.signal(syscall.SIGCONT)
	}
	for _, args := range []string{"-l -w 1", "-l -w 1 --upper", "-l -w 1 --recv-file f", "-l -w 1 --echo"} {
		for range 2 {
			t.Run(args, func(t *testing.T) {
				t.Parallel()
				testkit.Fairly(t, 300*time.Millisecond, func(t testing.TB) {
					p := startPurr(t, opts{dir: t.TempDir()}, append(words(args), "127.0.0.1", "0")...)
					c := dialTest(t, "tcp", p.addr())
					writeAll(t, c, "HELLO ")
					if strings.Contains(args, "echo") {
						testkit.ReadN(t, c, 6)
					}
					hold(t, p, func() { writeAll(t, c, "HELLO") })
					if strings.Contains(args, "echo") {
						testkit.ReadN(t, c, 5)
					}
					_ = c.(*net.TCPConn).CloseWrite()
					p.ends(0)
					if strings.Contains(args, "recv-file") {
						hasContent(t, p.cmd.Dir+"/f", "HELLO HELLO")
					} else {
						p.printed("HELLO HELLO")
					}
				})
			})
		}
	}
	for _, network := range []string{"tcp", "udp"} {
		for range 2 {
			t.Run("stdin, "+network, func(t *testing.T) {
				t.Parallel()
				testkit.Fairly(t, 300*time.Millisecond, func(t testing.TB) {
					o, args := opts{openStdin: true}, []string{"-w", "1", "127.0.0.1"}
					if network == "udp" {
						c := listenUDPTest(t)
						p := startPurr(t, o, append(args, portOf(t, c.LocalAddr()), "-u")...)
						writeAll(t, p.stdin, "first")
						receiveFrom(t, c)
						hold(t, p, func() { writeAll(t, p.stdin, "second") })
						if got, _ := receiveFrom(t, c); got != "second" {
							t.Errorf("got %q", got)
						}
						p.ends(0)
						return
					}
					ln := listenTest(t)
					p := startPurr(t, o, append(args, portOf(t, ln.Addr()))...)
					c := acceptTest(t, ln)
					writeAll(t, p.stdin, "first")
					testkit.ReadN(t, c, 5)
					hold(t, p, func() { writeAll(t, p.stdin, "second") })
					testkit.ReadN(t, c, 6)
					_ = p.stdin.Close()
					_ = c.Close()
					p.ends(0)
				})
			})
		}
	}
}

// The same for -q.
func TestHeldUpAfterStdin(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "udp"} {
		for range 3 {
			t.Run(network, func(t *testing.T) {
				t.Parallel()
				testkit.Fairly(t, 300*time.Millisecond, func(t testing.TB) {
					args := []string{"-q", "1", "127.0.0.1"}
					var answer func()
					var p *process
					if network == "udp" {
						c := listenUDPTest(t)
						p = startPurr(t, opts{stdin: strings.NewReader("hello")}, append(args, portOf(t, c.LocalAddr()), "-u")...)
						_, from := receiveFrom(t, c)
						answer = func() {
							if _, err := c.WriteTo([]byte("answer"), from); err != nil {
								t.Error(err)
							}
						}
					} else {
						ln := listenTest(t)
						p = startPurr(t, opts{stdin: strings.NewReader("hello")}, append(args, portOf(t, ln.Addr()))...)
						c := acceptTest(t, ln)
						testkit.ReadN(t, c, 5)
						answer = func() { writeAll(t, c, "answer") }
					}
					time.Sleep(100 * time.Millisecond) // the end of stdin is booked
					p.stop()
					answer()
					time.Sleep(1300 * time.Millisecond)
					p.signal(syscall.SIGCONT)
					p.ends(0)
					p.printed("answer")
				})
			})
		}
	}
}

// The end that came while purr was held up, after stdout's reader had gone, is
// an end.
func TestHeldUpEnd(t *testing.T) {
	t.Parallel()
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			testkit.Fairly(t, lingerTime/2, func(t testing.TB) {
				p := startPurr(t, opts{ownStdout: true}, "-l", "127.0.0.1", "0")
				c := dialTest(t, "tcp", p.addr())
				writeAll(t, c, "0123456789")
				testkit.ReadN(t, p.stdout, 10)
				_ = p.stdout.Close()
				time.Sleep(lingerTime / 5) // the reader's end is noticed, and nothing else comes
				p.stop()
				_ = c.(*net.TCPConn).CloseWrite()
				time.Sleep(lingerTime * 6 / 5)
				p.signal(syscall.SIGCONT)
				p.ends(0)
				p.quiet()
			})
		})
	}
}

// The bytes that the reader of a socket has left unread are unknown, so its end
// is an error at once; a listener with -k ends with its reader, too.
func TestStdoutReaderUnknown(t *testing.T) {
	t.Parallel()
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
		defer ours.Close()
		p := startPurr(t, opts{stdout: theirs}, "-l", "127.0.0.1", "0")
		_ = theirs.Close()
		c := dialTest(t, "tcp", p.addr())
		writeAll(t, c, strings.Repeat("x", 100))
		testkit.ReadN(t, ours, 10)
		_ = ours.Close()
		p.ends(1)
		p.complains("write to stdout", "broken pipe")
	})
	t.Run("-k", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{ownStdout: true}, "-l", "-k", "127.0.0.1", "0")
		c := dialTest(t, "tcp", p.addr())
		writeAll(t, c, "hello")
		testkit.ReadN(t, p.stdout, 5)
		_ = p.stdout.Close()
		p.ends(1)
		p.complains("write to stdout", "broken pipe")
	})
}

// A sender that is stopped for longer than the receiver's idle timeout does not
// take the receiver's error for a refusal.
func TestPushSenderHeldUp(t *testing.T) {
	t.Parallel()
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			testkit.Fairly(t, 300*time.Millisecond, func(t testing.TB) {
				x := newTransfer(t, push.Receiver, "s.bin")
				x.file("s.bin", eightMB())
				x.take = []string{"--idle-timeout", "2"}
				x.send = []string{"--rate", "2M"}
				x.start()
				x.arrives(2 << 20)
				x.sender.stop()
				x.receiver.ends(3)
				said(x.receiver, `"s\.bin": transfer cut: (nothing heard|lost contact) for 2s; \d+ of 8000000 bytes kept in `)
				x.sender.signal(syscall.SIGCONT)
				x.sender.ends(3)
				said(x.sender, `^purr: s\.bin: not confirmed$`)
				if strings.Contains(x.sender.said(), "refused") {
					t.Error(x.sender.said())
				}
				x.leaves("part")
			})
		})
	}
}
