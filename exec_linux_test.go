package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// children returns the processes whose environment has the mark.
func children(t *testing.T, mark string) (pids []string) {
	t.Helper()
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		if env, err := os.ReadFile(path); err == nil && bytes.Contains(env, []byte(mark)) {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

// The ways of a command's bytes: its own socket, or pipes.
var execWays = []string{"", "--upper", "-w 60", "--json", "-U", "-U --upper", "key"}

// pairOf returns the options of a listener and of a dialer of one of execWays,
// without the address.
func pairOf(t *testing.T, way string) (listener, dialer []string) {
	t.Helper()
	if way == "key" {
		key := testkit.SecretFile(t, tlsconn.NewKey().String())
		return []string{"--key-file", key}, []string{"--key-file", key}
	}
	listener = words(way)
	if strings.HasPrefix(way, "-U") {
		dialer = []string{"-U"}
	}
	return listener, dialer
}

// addressOf returns the operands that reach p.
func addressOf(p *process, path string) []string {
	if path == "" {
		host, port, _ := net.SplitHostPort(p.addr())
		return []string{host, port}
	}
	awaitUnix(p.t, path)
	return []string{path}
}

// A question gets its late answer after the half-close, and the status of the
// command is the listener's; with -k it is not.
func TestExecListener(t *testing.T) {
	t.Parallel()
	for _, way := range execWays {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprint(way, " ", keep), func(t *testing.T) {
				t.Parallel()
				path, operands := "", []string{"127.0.0.1", "0"}
				if strings.HasPrefix(way, "-U") {
					path = filepath.Join(testkit.SocketDir(t), "s")
					operands = []string{path}
				}
				listener, dialer := pairOf(t, way)
				args := append([]string{"-l", "-c", "n=$(wc -c); sleep 0.3; echo $n LATE; exit 3"}, listener...)
				if keep {
					args = append(args, "-k")
				}
				o := opts{}
				port := ""
				if way == "--json" {
					port = freePort(t, "tcp")
					operands[1] = port
				}
				server := startPurr(t, o, append(args, operands...)...)
				to := []string{"127.0.0.1", port}
				if port == "" {
					to = addressOf(server, path)
				} else {
					awaitPort(t, "tcp", port)
				}
				for range 2 {
					client := startPurr(t, opts{stdin: strings.NewReader("hello")}, append(dialer, append([]string{"-N"}, to...)...)...)
					client.ends(0)
					if got := strings.Join(strings.Fields(client.out.String()), " "); got != "5 LATE" {
						t.Errorf("%q%s", got, server.heard())
					}
					if !keep {
						server.ends(3)
						break
					}
					server.runs()
				}
				if strings.Contains(server.err.String(), "purr: ") {
					t.Errorf("it says %q", server.err)
				}
			})
		}
	}
}

// A dialer has the status of its command, also of one that a signal ended, and
// 2 where there is none, without a connection.
func TestExecDialer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args   []string
		got    string
		status int
	}{
		{[]string{"-e", `echo "a  b" 'c d' e\ f`}, "a  b c d e f\n", 0},
		{[]string{"-c", `echo $NCAT_PROTO $NC_REMOTE_ADDR; kill -9 $$`}, "TCP 127.0.0.1\n", 137},
		{[]string{"--sh-exec", "exit 200", "-w", "60"}, "", 200},
		{[]string{"--sh-exec", "echo x; kill -TERM $$", "-C"}, "x\r\n", 143},
	} {
		ln := listenTest(t)
		p := startPurr(t, opts{}, append(test.args, "127.0.0.1", portOf(t, ln.Addr()))...)
		c := acceptTest(t, ln)
		if got := testkit.ReadAll(t, c); got != test.got {
			t.Errorf("%q: %q", test.args, got)
		}
		_ = c.Close()
		p.ends(test.status)
		p.quiet()
	}
	ln := listenTest(t)
	p := startPurr(t, opts{}, "-e", "no-such-program x", "127.0.0.1", portOf(t, ln.Addr()))
	p.ends(2)
	p.complains("option -e: ", "no-such-program")
	_ = ln.SetDeadline(time.Now().Add(10 * time.Millisecond))
	if c, err := ln.Accept(); err == nil {
		t.Errorf("it has connected from %v", c.RemoteAddr())
	}
}

// 100 clients vanish, by a reset or in order, while their commands run and one
// ignores SIGTERM: no command is left, and the listener serves on. The end of
// the run ends those that are left, too.
func TestExecClientsVanish(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"", "--upper"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			mark := "VANISH_" + filepath.Base(t.TempDir()) + way + t.Name() + "=1"
			server := startPurr(t, opts{env: []string{mark}}, append(words("-l -k --exec-grace 0.3 "+way),
				"-c", `read -r how; echo READY; case $how in [Cc]*) exec cat;; [Ss]tubborn|STUBBORN) trap '' TERM; while :; do sleep 1; done;; *) sleep 1000; :;; esac`, "127.0.0.1", "0")...)
			addr := server.addr()
			var clients []net.Conn
			for i := range 100 {
				c := dialTest(t, "tcp", addr)
				writeAll(t, c, []string{"cat", "sleep", "stubborn", "sleep"}[i%4]+"\n")
				clients = append(clients, c)
			}
			for i, c := range clients {
				testkit.ReadN(t, c, 6)
				if i%4 == 0 {
					_ = c.Close()
				} else {
					testkit.Reset(t, c)
				}
			}
			testkit.Eventually(t, "only the listener is left", func() bool { return len(children(t, mark)) == 1 })
			c := dialTest(t, "tcp", addr)
			writeAll(t, c, "stubborn\n")
			testkit.ReadN(t, c, 6)
			server.signal(syscall.SIGTERM)
			server.ends(128 + int(syscall.SIGTERM))
			if left := children(t, mark); len(left) > 0 {
				t.Errorf("processes %v are left", left)
			}
			if _, err := io.ReadAll(c); err == nil {
				t.Error("the connection that was cut looks complete")
			}
		})
	}
}

// Over UDP the first sender has the command, which gets datagrams and answers
// with them.
func TestExecDatagrams(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "-u", "-l", "-c", `read -r a; echo "$a $NCAT_PROTO"; exit 7`, "127.0.0.1", "0")
	c := dialTest(t, "udp", p.addr())
	writeAll(t, c, "x\n")
	if got := pkt(t, c); got != "x UDP\n" {
		t.Errorf("%q", got)
	}
	p.ends(7)
	p.quiet()
	ln := listenUDPTest(t)
	p = startPurr(t, opts{}, "-u", "-c", `echo question; read -r a; echo "got $a"`, "127.0.0.1", portOf(t, ln.LocalAddr()))
	got, from := receiveFrom(t, ln)
	_, _ = ln.WriteTo([]byte("answer\n"), from)
	if next, _ := receiveFrom(t, ln); got != "question\n" || next != "got answer\n" {
		t.Errorf("%q, %q", got, next)
	}
	p.ends(0)
}

// -k over several clients takes no more commands than --max-conns; a client
// that is denied has none; without --allow a listener on every interface warns.
func TestExecWarnsAndLimits(t *testing.T) {
	t.Parallel()
	warning := regexp.MustCompile(`(?m)^purr: any client on every interface can run the command: --allow`)
	key := testkit.SecretFile(t, tlsconn.NewKey().String())
	ca := newTestCA(t).ca
	for args, warns := range map[string]bool{"0": true, "--ssl 0": true, "--key-file " + key + " 0": false, "--ssl-client-ca " + ca + " 0": false, "-u 0": true, "127.0.0.1 0": false, "--allow 127.0.0.1 0": false, "--deny 127.0.0.2 0": true} {
		p := startPurr(t, opts{}, append([]string{"-l", "-e", "cat"}, words(args)...)...)
		p.port()
		if got := warning.MatchString(p.err.String()); got != warns {
			t.Errorf("%s: %v%s", args, got, p.heard())
		}
		p.kill()
	}
	p := startPurr(t, opts{}, "-l", "-k", "--max-conns", "1", "-e", "cat", "127.0.0.1", "0")
	a, b := dialTest(t, "tcp", p.addr()), dialTest(t, "tcp", p.addr())
	writeAll(t, a, "a")
	writeAll(t, b, "b")
	if got := testkit.ReadN(t, a, 1); got != "a" {
		t.Errorf("%q", got)
	}
	_ = a.Close()
	if got := testkit.ReadN(t, b, 1); got != "b" {
		t.Errorf("%q", got)
	}
}

// Combinations that exclude each other name both options; -c counts pings with
// -z -u alone.
func TestExecUsage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"--exec cat -c cat h 80", "options --exec and --sh-exec (-c) exclude each other: "},
		{"-e cat -z h 80", "options --exec and -z exclude each other: "},
		{"-c cat --echo -l 80", "options --sh-exec and --echo exclude each other: the other end is a command or the peer itself"},
		{"-e cat --push -l 80 go.mod", "options --exec and --push or --pull exclude each other: "},
		{"-e cat --send-file go.mod -l 80", "options --exec and --send-file or --recv-file exclude each other: "},
		{"-e cat -L h:1 -l 80", "options -L and --exec exclude each other: the other end is a connection or a command"},
		{"-e cat --proxy-type http -l 80", "options --exec and --proxy-type with -l exclude each other: "},
		{"-e cat -F h 80", "option -F goes with HOST PORT and options of connecting only: "},
		{"-e cat -N h 80", "options --exec and -N, -q or --no-shutdown exclude each other: "},
		{"--exec-grace 1 h 80", "option --exec-grace needs --exec"},
		{"--count 3 h 80", "option --count needs -z -u: "},
		{"-zu -c x h 80", "option -c: the number of pings is invalid: x"},
	} {
		_, err := newConfig(words(test.args))
		if _, usage := err.(usageError); !usage || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.args, err, test.want)
		}
	}
	for _, quoted := range []string{`cat "x`, `cat \`, " ", `""`} {
		if _, err := newConfig([]string{"--exec", quoted, "h", "80"}); err == nil {
			t.Errorf("%q is accepted", quoted)
		}
	}
	for _, args := range []string{"-zu -c 3 h 80", "-zu --count 3 h 80"} {
		if c, err := newConfig(words(args)); err != nil || c.check.pings != 3 || !c.check.ping || c.exec != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}
