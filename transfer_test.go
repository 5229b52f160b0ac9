package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// testRun makes a run of the program without the process around it: the
// command line is real, and so are the files. A nil file is /dev/null.
func testRun(t testing.TB, stdin, stdout *os.File, args ...string) (*run, context.Context) {
	t.Helper()
	cfg, err := newConfig(append([]string{"--no-sandbox"}, args...)) // it would hold for all tests
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	if stdin == nil {
		stdin = null
	}
	if stdout == nil {
		stdout = null
	}
	ctx, stop := context.WithCancelCause(t.Context())
	t.Cleanup(func() { stop(nil) })
	log := &logger{out: &testkit.Output{More: make(chan struct{})}, level: cfg.verbose}
	return newRun(cfg, stdin, stdout, log.out, log, stop), ctx
}

// ends waits for the error of a conversation.
func ends(t testing.TB, result <-chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(testkit.Patience):
		t.Fatal("the conversation does not end")
		return nil
	}
}

// converses runs a conversation of c in the background.
func converses(p *run, ctx context.Context, c net.Conn) <-chan error {
	result := make(chan error, 1)
	go func() {
		err := p.talk.handler()(ctx, c)
		_ = c.Close()
		result <- err
	}()
	return result
}

// After a conversation in good order nothing is left of it.
func TestSessionLeavesNothing(t *testing.T) {
	for _, args := range []string{"h 80", "--upper h 80", "-w 5 h 80", "-l 80", "-l -w 5 80", "-lk 80", "-i 0.01 h 80", "--send-only h 80", "--send-file go.mod h 80", "--quit-word q h 80", "--echo h 80", "-t -C h 80"} {
		t.Run(args, func(t *testing.T) {
			testkit.NoLeaks(t)
			in, feed := testkit.StdioPipe(t)
			drain, out := testkit.StdioPipe(t)
			p, ctx := testRun(t, in, out, words(args)...)
			ours, theirs := testkit.TcpPair(t)
			result := converses(p, ctx, ours)
			go func() { _, _ = io.Copy(io.Discard, drain) }()
			testkit.WriteString(t, feed, "hello\n")
			_ = feed.Close()
			testkit.WriteString(t, theirs, "hello\n")
			_ = theirs.CloseWrite()
			_, _ = io.Copy(io.Discard, theirs)
			if err := ends(t, result); err != nil {
				t.Error(err)
			}
			_ = out.Close()
			p.stop(nil)
		})
	}
}

// A stop of the run, or a reset of the peer's, ends a conversation while stdin
// is silent and stdout takes nothing. It leaves no goroutine.
func TestSessionEndsWhileStdioStalls(t *testing.T) {
	testkit.NoLeaks(t)
	t.Run("each", func(t *testing.T) { // it ends with the last of them
		for _, args := range []string{"h 80", "--upper h 80", "-l 80", "-lk 80", "--echo -lk 80", "-i 30 h 80", "--quit-word q h 80"} {
			for _, how := range []string{"stopped", "reset", "closed here"} {
				if runtime.GOOS != "linux" && how != "stopped" {
					continue // only splice looks at the connection while stdout stalls
				}
				t.Run(args+" "+how, func(t *testing.T) {
					t.Parallel()
					in, feed := testkit.StdioPipe(t)
					drain, out := testkit.StdioPipe(t)
					p, ctx := testRun(t, in, out, words(args)...)
					ours, theirs := testkit.TcpPair(t)
					result := converses(p, ctx, ours)
					// Until nothing moves any more.
					chunk := make([]byte, 64<<10)
					for i := range chunk {
						chunk[i] = "x\n"[i%2]
					}
					for {
						_ = theirs.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
						if _, err := theirs.Write(chunk); err != nil {
							break
						}
					}
					begun := time.Now()
					switch how {
					case "stopped":
						p.stop(errors.New("stopped by the test"))
					case "reset":
						_ = theirs.SetLinger(0)
						_ = theirs.Close()
					case "closed here":
						_ = ours.Close()
					}
					stuck := strings.Contains(args, "echo") || how != "stopped" // only the end of stdout's reader ends the write
					if stuck {
						_ = drain.Close()
					}
					if err := ends(t, result); err == nil {
						t.Error("an ending of which nobody is told: bytes were lost")
					}
					if took := testkit.Since(begun); took > testkit.Promptly() {
						t.Errorf("took %v", took)
					}
					// A write that had begun ends with its reader.
					_ = drain.Close()
					_ = feed.Close()
					p.stop(nil)
				})
			}
		}
	})
}

// The listener under -k: everything ends with the run, whatever its clients do.
func TestServeLeavesNothing(t *testing.T) {
	for _, args := range []string{"-lk 127.0.0.1 0", "-lk --echo 127.0.0.1 0", "-lk --send-file go.mod 127.0.0.1 0", "-l 127.0.0.1 0", "-lk --max-conns 1 127.0.0.1 0"} {
		t.Run(args, func(t *testing.T) {
			testkit.NoLeaks(t)
			in, feed := testkit.StdioPipe(t)
			p, ctx := testRun(t, in, nil, words(args)...)
			result := make(chan error, 1)
			go func() { result <- p.listener.listen(ctx, p.talk.handler()) }()
			m := p.log.out.(*testkit.Output).Wait(regexp.MustCompile(`Listening on (\S+) (\d+)`))
			if m == nil {
				t.Fatal("it does not listen")
			}
			var clients []net.Conn
			for range 5 {
				c, err := net.Dial("tcp", net.JoinHostPort(m[1], m[2]))
				if err != nil {
					break // the listener without -k has its client
				}
				clients = append(clients, c)
				_, _ = c.Write([]byte("hello"))
			}
			testkit.WriteString(t, feed, "to all")
			p.stop(errors.New("stopped by the test"))
			if err := ends(t, result); err == nil || err.Error() != "stopped by the test" {
				t.Errorf("got %v", err)
			}
			for _, c := range clients {
				_ = c.Close()
			}
			if c, err := net.Dial("tcp", net.JoinHostPort(m[1], m[2])); err == nil {
				_ = c.Close()
				t.Error("it still listens")
			}
		})
	}
}

// Datagram conversations leave nothing either.
func TestDatagramsLeaveNothing(t *testing.T) {
	for _, args := range []string{"-u -l 127.0.0.1 0", "-u -l -k 127.0.0.1 0", "-u -l -k --echo 127.0.0.1 0", "-u -l -w 5 127.0.0.1 0"} {
		t.Run(args, func(t *testing.T) {
			testkit.NoLeaks(t)
			in, feed := testkit.StdioPipe(t)
			drain, out := testkit.StdioPipe(t)
			p, ctx := testRun(t, in, out, words(args)...)
			result := make(chan error, 1)
			go func() { result <- p.packets.listenPackets(ctx) }()
			m := p.log.out.(*testkit.Output).Wait(regexp.MustCompile(`Bound on (\S+) (\d+)`))
			if m == nil {
				t.Fatal("it is not bound")
			}
			c, err := net.Dial("udp", net.JoinHostPort(m[1], m[2]))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			testkit.WriteString(t, c, "hello")
			got := make([]byte, 5)
			if _, err := io.ReadFull(drain, got); err != nil || string(got) != "hello" {
				t.Errorf("printed %q (%v)", got, err)
			}
			p.stop(errors.New("stopped by the test"))
			if err := ends(t, result); err == nil || err.Error() != "stopped by the test" {
				t.Errorf("got %v", err)
			}
			_ = feed.Close()
		})
	}
}

// What afterPeer does with each kind of stdin is tested with whole programs
// (ending_test.go); here is what the session returns.
func TestSessionErrors(t *testing.T) {
	t.Run("stdin fails", func(t *testing.T) {
		dir, err := os.Open(t.TempDir()) // a directory can be opened, and not read
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		p, ctx := testRun(t, dir, nil, "h", "80")
		ours, theirs := testkit.TcpPair(t)
		result := converses(p, ctx, ours)
		if _, err := io.Copy(io.Discard, theirs); err == nil {
			t.Error("the peer saw an orderly end")
		}
		if err := ends(t, result); err == nil || !strings.HasPrefix(err.Error(), "read from stdin: ") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("reset", func(t *testing.T) {
		p, ctx := testRun(t, nil, nil, "-l", "80")
		ours, theirs := testkit.TcpPair(t)
		result := converses(p, ctx, ours)
		_ = theirs.SetLinger(0)
		_ = theirs.Close()
		err := ends(t, result)
		if !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix(err.Error(), "receive from 127.0.0.1 port ") {
			t.Errorf("got %v", err)
		}
	})
}
