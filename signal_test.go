//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// SIGINT and SIGTERM end every mode at once, with the socket file removed.
func TestSignals(t *testing.T) {
	t.Parallel()
	modes := []struct {
		name string
		args []string
		unix bool
		busy bool // with a client connected
	}{
		{"listen", []string{"-l", "127.0.0.1", "0"}, false, false},
		{"listen, client", []string{"-l", "127.0.0.1", "0"}, false, true},
		{"listen -k", []string{"-l", "-k", "127.0.0.1", "0"}, false, false},
		{"listen -k, client", []string{"-l", "-k", "127.0.0.1", "0"}, false, true},
		{"echo", []string{"-l", "-k", "--echo", "--upper", "127.0.0.1", "0"}, false, true},
		{"send-file", []string{"-l", "-k", "--send-file", "go.mod", "127.0.0.1", "0"}, false, true},
		{"max-conns", []string{"-l", "-k", "--max-conns", "1", "127.0.0.1", "0"}, false, true},
		{"quit word", []string{"-l", "--quit-word", "q", "127.0.0.1", "0"}, false, true},
		{"interval", []string{"-l", "-i", "60", "127.0.0.1", "0"}, false, true},
		{"udp listen", []string{"-u", "-l", "127.0.0.1", "0"}, false, false},
		{"udp listen -k, client", []string{"-u", "-l", "-k", "127.0.0.1", "0"}, false, true},
		{"udp echo", []string{"-u", "-l", "-k", "--echo", "127.0.0.1", "0"}, false, true},
		{"unix", []string{"-v", "-l", "-U"}, true, false},
		{"unix, client", []string{"-v", "-l", "-U"}, true, true},
		{"unix -k, client", []string{"-v", "-l", "-k", "-U"}, true, true},
		{"unix echo, client", []string{"-v", "-l", "-k", "--echo", "-U"}, true, true},
		{"unix datagrams", []string{"-v", "-u", "-l", "-U"}, true, false},
		{"unix datagrams echo", []string{"-v", "-u", "-l", "-k", "--echo", "-U"}, true, false},
	}
	for _, mode := range modes {
		for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(mode.name+" "+s.String(), func(t *testing.T) {
				t.Parallel()
				args, network, udp := mode.args, "tcp", strings.HasPrefix(mode.name, "udp")
				path := filepath.Join(testkit.SocketDir(t), "s")
				if mode.unix {
					args, network = append(append([]string{}, args...), path), "unix"
				}
				p := startPurr(t, opts{openStdin: true}, args...)
				addr := path
				if mode.unix {
					p.waitErr(boundOn)
				} else {
					addr = p.addr()
				}
				if udp {
					network = "udp"
				}
				if mode.busy {
					c := dialTest(t, network, addr)
					writeAll(t, c, "x")
					if mode.name != "interval" {
						p.waitOut("x")
					}
				}
				if mode.unix {
					if _, err := os.Lstat(path); err != nil {
						t.Fatal(err)
					}
				}
				checkSignal(t, p, s)
				if mode.unix {
					testkit.Absent(t, path)
				}
			})
		}
	}
}

// checkSignal sends a signal and checks that the process ends at once by it,
// without output.
func checkSignal(t *testing.T, p *process, s syscall.Signal) {
	t.Helper()
	p.runs()
	asked := time.Now()
	p.signal(s)
	p.ends(128 + int(s))
	if took := testkit.Since(asked); took > testkit.Promptly() {
		t.Errorf("%v took %v", s, took)
	}
	for line := range strings.Lines(p.err.String()) {
		if strings.HasPrefix(line, "purr: ") && !strings.Contains(p.name, "-v") {
			t.Errorf("said %q", line)
		}
	}
}

func TestSignalsDialling(t *testing.T) {
	t.Parallel()
	file := testkit.TempFile(t, testkit.Noise(4*eight))
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, args := range [][]string{{}, {"--echo"}, {"--recv-only"}, {"--send-only"}, {"--send-file", file}, {"-i", "60"}, {"-C"}} {
			t.Run(s.String()+" "+strings.Join(args, " "), func(t *testing.T) {
				t.Parallel()
				ln := listenTest(t)
				p := startPurr(t, opts{openStdin: true}, append(args, "127.0.0.1", portOf(t, ln.Addr()))...)
				acceptTest(t, ln)
				writeAll(t, p.stdin, "a\nb\n")
				checkSignal(t, p, s)
			})
		}
		t.Run(s.String()+" udp", func(t *testing.T) {
			t.Parallel()
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			p := startPurr(t, opts{openStdin: true}, "-u", "127.0.0.1", portOf(t, conn.LocalAddr()))
			writeAll(t, p.stdin, "x")
			_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
			if _, _, err := conn.ReadFrom(make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			checkSignal(t, p, s)
		})
		t.Run(s.String()+" full socket", func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			p := startPurr(t, opts{stdin: endless{}}, "127.0.0.1", portOf(t, ln.Addr()))
			c := acceptTest(t, ln)
			testkit.ReadN(t, c, 1<<20)
			checkSignal(t, p, s)
		})
	}
}

// nohup: a SIGHUP that was ignored stays ignored.
func TestIgnoredHangup(t *testing.T) {
	t.Parallel()
	p := shell(t, opts{}, `trap "" HUP; exec purr -l 127.0.0.1 0`)
	c := dialTest(t, "tcp", p.addr())
	writeAll(t, c, "before ")
	p.waitOut("before ")
	p.signal(syscall.SIGHUP)
	writeAll(t, c, "after")
	p.waitOut("after")
	_ = c.Close()
	p.ends(0)
}

// A client that takes nothing cannot keep purr from ending.
func TestSignalsDeafClient(t *testing.T) {
	t.Parallel()
	file := testkit.TempFile(t, testkit.Noise(4*eight))
	for _, args := range [][]string{{"-l"}, {"-l", "-k"}, {"-l", "-k", "--send-file", file}, {"-l", "--send-file", file}, {"-l", "-C"}, {"-l", "-i", "0.001"}} {
		for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(strings.Join(args[:len(args)-1], " ")+" "+s.String(), func(t *testing.T) {
				t.Parallel()
				p := startPurr(t, opts{stdin: endless{}}, append(args, "127.0.0.1", "0")...)
				c := dialTest(t, "tcp", p.addr())
				testkit.ReadN(t, c, 1000)
				checkSignal(t, p, s)
			})
		}
	}
}

// A FIFO without a writer cannot either.
func TestSignalWhileFileOpens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := testkit.Mkfifo(path); err != nil {
		testkit.NotHere(t, "a FIFO: "+err.Error())
	}
	ln := listenTest(t)
	p := startPurr(t, opts{}, "--send-file", path, "127.0.0.1", portOf(t, ln.Addr()))
	acceptTest(t, ln)
	checkSignal(t, p, syscall.SIGTERM)
	for _, k := range []string{"-l", "-lk"} {
		p = startPurr(t, opts{}, k, "--send-file", path, "127.0.0.1", "0")
		dialTest(t, "tcp", p.addr())
		checkSignal(t, p, syscall.SIGINT)
	}
}

// Datagrams into a stdout without a reader: no processor time, and an end.
func TestStalledStdoutDatagrams(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-u", "-l"}, {"-u", "-l", "-k"}, {"-u", "-l", "-k", "--echo"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{ownStdout: true}, append(args, "127.0.0.1", "0")...)
			c := dialTest(t, "udp", p.addr())
			for range 200 {
				_, _ = c.Write([]byte(testkit.Noise(50_000)))
			}
			time.Sleep(500 * time.Millisecond)
			checkSignal(t, p, syscall.SIGTERM)
			limit := 300 * time.Millisecond
			if testkit.UnderRace {
				limit *= 3
			}
			if busy := p.busy(); busy > limit {
				t.Errorf("used %v of the processor", busy)
			}
		})
	}
}
