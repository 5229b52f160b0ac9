package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"purr/internal/datagram"
	"purr/internal/testkit"
)

// drained counts the bytes from c until its end or the deadline.
func drained(c net.Conn, within time.Duration) int64 {
	_ = c.SetReadDeadline(time.Now().Add(within))
	n, _ := io.Copy(io.Discard, c)
	return n
}

// taken reads n bytes from r, which may come as datagrams.
func taken(t testing.TB, r io.Reader, n int64) {
	t.Helper()
	b := make([]byte, 1<<16)
	for n > 0 {
		m, err := r.Read(b)
		if err != nil {
			t.Fatalf("with %d bytes to come: %v", n, err)
		}
		n -= int64(m)
	}
}

// --rate limits every kind of conversation. The bounds are wide, because other
// tests run at the same time; alone, over 10 s, the rate is within 3 %.
func TestRate(t *testing.T) {
	t.Parallel()
	const rate, lasts = 2 << 20, time.Second
	const size = int64(rate * lasts / time.Second)
	// It looks too fast only where this process comes late.
	const slack = 100 * time.Millisecond
	check := func(t testing.TB, begun time.Time) {
		t.Helper()
		if took := time.Since(begun); took < lasts*85/100 || testkit.Since(begun) > 2*lasts {
			t.Errorf("%d bytes in %v, want %v", size, took, lasts)
		}
	}
	file := testkit.TempFile(t, testkit.Noise(16<<20))
	for _, test := range []struct {
		args string
		in   func() io.Reader // nil: /dev/null
	}{
		{"--rate 2M", func() io.Reader { return endless{} }},
		{"--rate 2048k --upper", func() io.Reader { return endless{} }},
		{"--rate 2097152 -C", func() io.Reader { return endless{} }},
		{"--rate 2M", func() io.Reader { return opened(t, file) }},
		{"--rate 2M --send-file " + file, nil},
	} {
		t.Run(fmt.Sprintf("%s %T", strings.TrimSuffix(test.args, file), test.in), func(t *testing.T) {
			t.Parallel()
			testkit.Fairly(t, slack, func(t testing.TB) {
				ln := listenTest(t)
				o := opts{}
				if test.in != nil {
					o.stdin = test.in()
				}
				p := startPurr(t, o, append(words(test.args), "127.0.0.1", portOf(t, ln.Addr()))...)
				c := acceptTest(t, ln)
				begun := time.Now()
				taken(t, c, size)
				check(t, begun)
				p.kill()
			})
		})
	}
	t.Run("all clients together", func(t *testing.T) {
		t.Parallel()
		testkit.Fairly(t, slack, func(t testing.TB) {
			p := startPurr(t, opts{}, "-l", "-k", "--rate", "2M", "--send-file", file, "127.0.0.1", "0")
			p.addr()
			begun := time.Now()
			var all atomic.Int64
			counts := make(chan int64)
			for range 4 {
				c := dialTest(t, "tcp", p.addr())
				go func() {
					var got int64
					for b := make([]byte, 1<<16); all.Load() < size; {
						n, err := c.Read(b)
						if err != nil {
							break
						}
						got += int64(n)
						all.Add(int64(n))
					}
					counts <- got
				}()
			}
			for range 4 {
				if n := <-counts; n < size/16 {
					t.Errorf("one client got only %d bytes", n)
				}
			}
			if all.Load() < size {
				t.Errorf("only %d bytes came", all.Load())
			}
			check(t, begun)
			p.kill()
		})
	})
	t.Run("echo", func(t *testing.T) {
		t.Parallel()
		testkit.Fairly(t, slack, func(t testing.TB) {
			p := startPurr(t, opts{}, "-l", "-k", "--echo", "--rate", "2M", "127.0.0.1", "0")
			c := dialTest(t, "tcp", p.addr())
			begun := time.Now()
			go func() { _, _ = io.Copy(c, endless{}) }()
			taken(t, c, size)
			check(t, begun)
			_ = c.Close()
			p.kill()
		})
	})
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		testkit.Fairly(t, slack, func(t testing.TB) {
			conn := listenUDPTest(t)
			p := startPurr(t, opts{stdin: endless{}}, "-u", "--rate", "2M", "127.0.0.1", portOf(t, conn.LocalAddr()))
			taken(t, conn, 1)
			begun := time.Now()
			taken(t, conn, size)
			check(t, begun)
			p.kill()
		})
	})
	t.Run("datagram echo", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{}, "-u", "-l", "-k", "--echo", "--rate", "20k", "127.0.0.1", "0")
		c := dialTest(t, "udp", p.addr())
		begun := time.Now()
		for range 20 {
			writeAll(t, c, strings.Repeat("x", 1024))
		}
		for range 20 {
			testkit.ReadN(t, c, 1024)
		}
		if took := time.Since(begun); took < 850*time.Millisecond {
			t.Errorf("20 KiB took %v at 20 KiB/s", took)
		}
	})
}

// A small rate is smooth from the first byte on.
func TestSmallRate(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	p := startPurr(t, opts{stdin: strings.NewReader(testkit.Noise(2048))}, "--rate", "1k", "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	first := make([]byte, 4096)
	n, err := c.Read(first)
	if most := 200 + 1024*time.Since(p.begun).Seconds(); err != nil || float64(n) > most {
		t.Errorf("%d bytes came at once (%v), want at most %.0f", n, err, most)
	}
	rest := testkit.ReadAll(t, c)
	if got := string(first[:n]) + rest; got != testkit.Noise(2048) {
		t.Errorf("got %d bytes", len(got))
	}
	if took := time.Since(p.begun); took < 1800*time.Millisecond {
		t.Errorf("2 KiB took %v at 1 KiB/s", took)
	}
	_ = c.Close()
	p.ends(0)
}

// Waiting for --rate does not count as idle for -w.
func TestRateIsNotIdle(t *testing.T) {
	t.Parallel()
	const slack = 100 * time.Millisecond
	for _, in := range []string{"pipe", "file"} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			testkit.Fairly(t, slack, func(t testing.TB) {
				ln := listenTest(t)
				var stdin io.Reader = strings.NewReader("abcd")
				if in == "file" {
					stdin = opened(t, testkit.TempFile(t, "abcd"))
				}
				p := startPurr(t, opts{stdin: stdin}, "--rate", "2", "-w", "0.4", "127.0.0.1", portOf(t, ln.Addr()))
				c := acceptTest(t, ln)
				if got := testkit.ReadAll(t, c); got != "abcd" {
					t.Errorf("got %q", got)
				}
				_ = c.Close()
				p.ends(0)
				p.quiet()
			})
		})
	}
	t.Run("echo", func(t *testing.T) {
		t.Parallel()
		testkit.Fairly(t, slack, func(t testing.TB) {
			p := startPurr(t, opts{}, "-l", "--echo", "--rate", "2", "-w", "0.4", "127.0.0.1", "0")
			c := dialTest(t, "tcp", p.addr())
			writeAll(t, c, "abcd")
			_ = c.(*net.TCPConn).CloseWrite()
			if got := testkit.ReadAll(t, c); got != "abcd" {
				t.Errorf("got %q", got)
			}
			p.ends(0)
		})
	})
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		testkit.Fairly(t, slack, func(t testing.TB) {
			server := startPurr(t, opts{}, "-u", "-l", "127.0.0.1", "0")
			p := startPurr(t, opts{stdin: strings.NewReader("a\nb\nc\n")}, "-u", "-i", "0.001", "--rate", "4", "-w", "0.4", "127.0.0.1", server.port())
			server.waitOut(`^a\nb\nc\n$`)
			p.ends(0)
		})
	})
}

// Waiting ends with the session.
func TestRateWaitEnds(t *testing.T) {
	t.Parallel()
	file := testkit.TempFile(t, testkit.Noise(quick))
	for _, args := range []string{"--rate 1", "--rate 1 --upper", "--rate 1 --send-file " + file, "--rate 1 --echo", "--rate 1 -u"} {
		t.Run(strings.TrimSuffix(args, file), func(t *testing.T) {
			t.Parallel()
			if strings.HasSuffix(args, "-u") {
				server := startPurr(t, opts{}, "-u", "-l", "127.0.0.1", "0")
				p := startPurr(t, opts{stdin: strings.NewReader(testkit.Noise(2 * datagram.MaxPayload))}, append(words(args), "127.0.0.1", server.port())...)
				server.waitOut("(?s).")
				checkSignal(t, p, syscall.SIGINT)
				return
			}
			ln := listenTest(t)
			p := startPurr(t, opts{stdin: strings.NewReader(testkit.Noise(quick))}, append(words(args), "127.0.0.1", portOf(t, ln.Addr()))...)
			c := acceptTest(t, ln)
			writeAll(t, c, "hello")
			testkit.ReadN(t, c, 1)
			checkSignal(t, p, syscall.SIGINT)
		})
	}
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		p := startPurr(t, opts{stdin: strings.NewReader(testkit.Noise(quick))}, "--rate", "1", "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		testkit.ReadN(t, c, 1)
		testkit.Reset(t, c)
		begun := time.Now()
		p.ends(1)
		if took := testkit.Since(begun); took > testkit.Promptly() {
			t.Errorf("took %v", took)
		}
		p.complains("connection reset by peer")
	})
}

// The bar: on a terminal, for files, from the first second on; it fits, makes
// way for messages, and is gone at the end.
func TestProgressBar(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.SocketDir(t), "four\x1b[2Jteen")
	const size = 200 << 20
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	s := newScreen(t)
	s.enter("cd " + filepath.Dir(path))
	const bar = `(?m)^\S*four\\x1b\[2Jteen +\d+% \[=*>? *\] \(\d.* ?/200 MiB, .*iB/s\) ETA (\d+m)?\d+s$`
	ln := listenTest(t)
	s.enter("clear; sh -c 'echo $$ >pid; exec purr --send-file four* 127.0.0.1 " + portOf(t, ln.Addr()) + "'; echo STATUS $?")
	c := acceptTest(t, ln)
	// It is under way until all of it was seen.
	counted, seen := make(chan int64, 1), make(chan struct{})
	go func() {
		var n int64
		for paced := true; paced; {
			m, err := io.CopyN(io.Discard, c, 64<<10)
			n += m
			select {
			case <-seen:
				paced = false
			case <-time.After(30 * time.Millisecond):
				paced = err == nil
			}
		}
		rest, _ := io.Copy(io.Discard, c)
		_ = c.Close()
		counted <- n + rest
	}()
	s.shows(bar)
	// A message goes above it.
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(path), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("kill", "-USR1", strings.TrimSpace(string(pid))).Run(); err != nil {
		t.Fatal(err)
	}
	s.shows(`(?m)^purr: connected to 127\.0\.0\.1 port \d+; sent \d+ bytes(.*\n){1,3}.*left\n\S*four.*ETA (\d+m)?\d+s$`)
	// A narrower terminal gets a shorter one.
	s.tmux("resize-window", "-x", "50", "-y", "24")
	s.shows(`(?m)^four\S* +\d+% \[=*>? *\] \(\d.* ?/200 MiB, .*iB/s\) ETA (\d+m)?\d+s$`)
	close(seen)
	if n := <-counted; n != size {
		t.Errorf("sent %d bytes", n)
	}
	s.shows(`(?m)^STATUS 0\n\$ *\n`)
	// Text that a narrower terminal has wrapped stays in the row above.
	if text := s.text(); strings.Count(text, "% [") > 1 {
		t.Errorf("the bar is not gone:\n%s", text)
	}
}

// There is no bar without a terminal, if it was not asked for, or if it was
// switched off.
func TestNoProgressBar(t *testing.T) {
	t.Parallel()
	file := testkit.TempFile(t, testkit.Noise(1_400_000))
	for _, flags := range []string{"--no-progress --send-file " + file, "--quiet --send-file " + file, "--json --send-file " + file, "<" + file, "--send-file " + file + " 2>err"} {
		t.Run(strings.ReplaceAll(flags, file, "FILE"), func(t *testing.T) {
			t.Parallel()
			s := newScreen(t)
			s.enter("cd " + s.dir)
			c := s.dial("--rate 1M " + flags)
			seen := ""
			_ = c.SetReadDeadline(time.Now().Add(testkit.Patience))
			for b := make([]byte, 64<<10); ; {
				n, err := c.Read(b)
				seen += s.text()
				if n == 0 || err != nil {
					break
				}
			}
			_ = c.Close()
			s.status(0)
			if seen += s.text(); strings.Contains(seen, "% [") || strings.Contains(seen, "MiB") {
				t.Errorf("there was a bar:\n%s", s.text())
			}
			if b, _ := os.ReadFile(filepath.Join(s.dir, "err")); strings.Contains(string(b), "%") {
				t.Errorf("said %q", b)
			}
		})
	}
}

// --progress: lines where stderr is no terminal, events under --json.
func TestProgressLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"--progress", `(?m)^purr: 127\.0\.0\.1 port \d+: [0-9.]+ .*iB of [56]\.\d MiB \(\d+ %\), .*iB/s, after ([5-9]|\d\d)(\.\d+)?s, \d*s left\n`},
		{"--progress --json", `(?m)^\{"event":"progress","name":"127\.0\.0\.1 port \d+","moved":\d+,"size":6000000,"speed":[0-9.]+,"elapsed":([5-9]|\d\d)(\.\d+)?,"left":\d+\}\n`},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			stdin := opened(t, testkit.TempFile(t, testkit.Noise(6_000_000)))
			p := startPurr(t, opts{stdin: stdin}, append(words(test.args), "--rate", "1M", "127.0.0.1", portOf(t, ln.Addr()))...)
			c := acceptTest(t, ln)
			n := drained(c, testkit.Patience)
			_ = c.Close()
			p.ends(0)
			if n != 6_000_000 {
				t.Errorf("sent %d bytes", n)
			}
			if !regexp.MustCompile(test.want).MatchString(p.err.String()) {
				t.Errorf("said %s, want %s", p.err, test.want)
			}
		})
	}
}
