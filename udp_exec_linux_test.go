package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"purr/internal/testkit"
)

// marked starts a listener of commands whose processes children finds by the
// mark.
func marked(t *testing.T, args ...string) (p *process, mark string) {
	t.Helper()
	mark = "DATAGRAMS_" + filepath.Base(t.TempDir()) + t.Name() + "=1"
	return startPurr(t, opts{env: []string{mark}}, append([]string{"-u", "-l", "-k"}, args...)...), mark
}

// countsLines answers each line with its number.
const countsLines = `n=0; while read -r l; do n=$((n+1)); echo "$n $l $NCAT_PROTO ${NCAT_REMOTE_ADDR##*/}"; done`

// lineAsked sends a line and checks the answer.
func lineAsked(t *testing.T, c net.Conn, question, want string) {
	t.Helper()
	writeAll(t, c, question+"\n")
	if got := pkt(t, c); got != want+"\n" {
		t.Errorf("asked %q, got %q, want %q", question, got, want)
	}
}

// With -u -k each sender has a command of its own, which keeps its state, over
// UDP and Unix sockets and whatever passes the datagrams; the end of the run
// ends all of them.
func TestExecSenders(t *testing.T) {
	t.Parallel()
	for _, options := range []string{"", "-v", "--json", "--rate 10M --delay 1ms", "--max-conns 3 --allow 127.0.0.0/8", "-U"} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			protocol, args := "UDP", append(words(options), "-c", countsLines)
			path := filepath.Join(testkit.SocketDir(t), "s")
			if options == "-U" {
				protocol, args = "UNIX", append(args, "-v", path)
			} else {
				args = append(args, "127.0.0.1", "0")
			}
			p, mark := marked(t, args...)
			var senders []net.Conn
			names := []string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}
			for n := range names {
				if options == "-U" {
					p.waitErr(boundOn)
					names[n] = fmt.Sprint("c", n)
					senders = append(senders, unixClient(t, path, names[n]))
				} else {
					senders = append(senders, dialTest(t, "udp", packetAddr(p)))
				}
			}
			for n := 1; n <= 4; n++ {
				for who, c := range senders {
					lineAsked(t, c, fmt.Sprint("of ", who), fmt.Sprintf("%d of %d %s %s", n, who, protocol, names[who]))
				}
			}
			if got := len(children(t, mark)); got != 4 {
				t.Errorf("%d processes, want purr and 3 commands", got)
			}
			p.signal(syscall.SIGTERM)
			p.ends(128 + int(syscall.SIGTERM))
			if left := children(t, mark); len(left) > 0 {
				t.Errorf("processes %v are left", left)
			}
			p.printed("")
			said := p.said()
			if strings.Contains(said, "dropped") || strings.Contains(said, "warning") {
				t.Error(said)
			}
			if met, left := strings.Count(said, `"event":"connect"`), strings.Count(said, `"event":"disconnect"`); options == "--json" && (met != 3 || left != 3) {
				t.Errorf("%d senders came, %d left: %s", met, left, said)
			}
		})
	}
}

// A command that ends is started again for the next datagram of its sender,
// which may come at any time: each question has its answer. The status is
// logged under -v alone, and is not the run's.
func TestExecSenderComesBack(t *testing.T) {
	t.Parallel()
	for _, verbose := range []bool{true, false} {
		args := []string{"-c", `read -r l; echo "$l of $NCAT_REMOTE_PORT"; exit 5`, "127.0.0.1", "0"}
		if verbose {
			args = append(args, "-v")
		}
		p, mark := marked(t, args...)
		c, other := dialTest(t, "udp", p.addr()), dialTest(t, "udp", p.addr())
		for n := range 20 {
			lineAsked(t, c, fmt.Sprint(n), fmt.Sprint(n, " of ", portOf(t, c.LocalAddr())))
			lineAsked(t, other, "x", "x of "+portOf(t, other.LocalAddr()))
		}
		testkit.Eventually(t, "no command is left", func() bool { return len(children(t, mark)) == 1 })
		if !verbose {
			p.signal(syscall.SIGTERM)
			p.ends(128 + int(syscall.SIGTERM))
			p.quiet()
			continue
		}
		p.asked(`bound on localhost \d+, clients: 0 now, \d+ so far; sent .*`)
		ended := fmt.Sprintf("127.0.0.1 port %s: the command has ended", portOf(t, c.LocalAddr()))
		if got := strings.Count(p.err.String(), ended+" with status 5\n"); got != 20 {
			t.Errorf("%d lines about a status: %s", got, p.err)
		}
		if !strings.Contains(p.err.String(), ended+"; sent ") {
			t.Errorf("said %s", p.err)
		}
	}
}

// 100 senders whose commands never read, and one of which floods its own, take
// nothing from the others; the end of the run ends those that ignore SIGTERM,
// too.
func TestExecSendersNeverRead(t *testing.T) {
	t.Parallel()
	p, mark := marked(t, "-v", "--exec-grace", "0.3", "127.0.0.1", "0", "-c", `case $HOW in never) ;; *) read -r how;; esac
		case $how in cat) echo READY; exec cat;; esac; trap '' TERM; echo READY; while :; do sleep 1; done`)
	addr := p.addr()
	var last net.Conn
	for range 100 {
		last = dialTest(t, "udp", addr)
		lineAsked(t, last, "never", "READY")
	}
	c := dialTest(t, "udp", addr)
	lineAsked(t, c, "cat", "READY")
	for flooding := true; flooding; flooding = !strings.Contains(p.err.String(), "send to the command: its queue of datagrams is full") {
		for range 100 {
			writeAll(t, last, testkit.Noise(1000))
		}
		lineAsked(t, c, "still here?", "still here?")
	}
	p.signal(syscall.SIGTERM)
	p.ends(128 + int(syscall.SIGTERM))
	if left := children(t, mark); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if !regexp.MustCompile(`dropped \d+ datagrams`).MatchString(p.said()) {
		t.Error("the dropped datagrams are not counted")
	}
}

// Silence for -w ends the input of a sender's command, and after the grace the
// command, and that sender may come back; a sender beyond --max-conns takes the
// place of one that its command has not answered.
func TestExecSenderLeaves(t *testing.T) {
	t.Parallel()
	got := filepath.Join(t.TempDir(), "got")
	for _, test := range []struct{ rest, ends string }{
		{"cat >/dev/null; echo END >>" + got + "; exit 3", "END\n"},
		{"while :; do sleep 0.02; done", "TERM\n"},
	} {
		testkit.WriteFile(t, got, "")
		p, mark := marked(t, "-v", "-w", "0.5", "--exec-grace", "0.5", "-c", `trap 'echo TERM >>`+got+`; exit 3' TERM; echo "hello $(head -c 2)"; `+test.rest, "127.0.0.1", "0")
		c := dialTest(t, "udp", p.addr())
		for n := range 2 {
			lineAsked(t, c, "a", "hello a")
			testkit.Eventually(t, "the end of the sender", func() bool {
				said := p.err.String()
				return strings.Count(said, ": idle for 500ms; sent ") == n+1 && strings.Count(said, "the command has ended with status 3") == n+1
			})
			testkit.HasContent(t, got, strings.Repeat(test.ends, n+1))
			if left := children(t, mark); len(left) != 1 {
				t.Errorf("processes %v are left", left)
			}
		}
	}
	p, mark := marked(t, "-v", "--max-conns", "1", "-c", `read -r l; case $l in quiet) echo asleep >`+got+`; exec sleep 1000;; esac; echo "$l"; exec cat`, "127.0.0.1", "0")
	quiet, second, third := dialTest(t, "udp", p.addr()), dialTest(t, "udp", p.addr()), dialTest(t, "udp", p.addr())
	writeAll(t, quiet, "quiet\n")
	testkit.Eventually(t, "its command", func() bool { return testkit.ReadFile(t, got) == "asleep\n" })
	lineAsked(t, second, "b", "b")
	p.waitErr(regexp.MustCompile(`the command has ended with status 143`))
	writeAll(t, third, "c\n")
	p.waitErr(regexp.MustCompile(`no place is free`))
	lineAsked(t, second, "again", "again")
	if got := len(children(t, mark)); got != 2 {
		t.Errorf("%d processes, want purr and 1 command", got)
	}
}

// Datagrams of a sender that is denied are dropped and start nothing.
func TestExecSenderDenied(t *testing.T) {
	t.Parallel()
	started := filepath.Join(t.TempDir(), "started")
	p, _ := marked(t, "-v", "--deny", "127.0.0.2", "-c", "echo $NCAT_REMOTE_ADDR >>"+started+"; exec cat", "127.0.0.1", "0")
	to, err := net.ResolveUDPAddr("udp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	denied, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, to)
	if err != nil {
		testkit.NotHere(t, "a second loopback address: "+err.Error())
	}
	defer denied.Close()
	writeAll(t, denied, "x\n")
	p.waitErr(regexp.MustCompile(`127\.0\.0\.2`))
	lineAsked(t, dialTest(t, "udp", p.addr()), "y", "y")
	if got := testkit.ReadFile(t, started); got != "127.0.0.1\n" {
		t.Errorf("commands for %q", got)
	}
}

// Ncat's command line serves Ncat's clients.
func TestExecSendersOfNcat(t *testing.T) {
	t.Parallel()
	ncat := testkit.Program(t, "ncat", "ncat")
	link := filepath.Join(t.TempDir(), "ncat")
	if err := os.Symlink(purrPath(t), link); err != nil {
		t.Fatal(err)
	}
	port := freePort(t, "udp")
	server := start(t, opts{}, link, "-v", "-luk", "127.0.0.1", port, "-c", "stdbuf -o0 tr a-z A-Z")
	server.waitErr(regexp.MustCompile(`Listening on`))
	var clients []*process
	for range 3 {
		clients = append(clients, start(t, opts{openStdin: true}, ncat, "-u", "127.0.0.1", port))
	}
	for n, c := range clients {
		writeAll(t, c.stdin, fmt.Sprintf("client %d\n", n))
	}
	for n, c := range clients {
		c.waitOut(fmt.Sprintf("^CLIENT %d\n$", n))
		c.kill()
	}
	server.signal(syscall.SIGTERM)
	server.ends(128 + int(syscall.SIGTERM))
}

// An option that would change datagrams names what to use instead.
func TestExecSendersUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"-e cat -ulk --upper 80": "options --exec and -C, --upper or -i with -u -k exclude each other: datagrams pass as they are; say --sh-exec 'CMD | tr a-z A-Z'",
		"-c cat -ulk -C 80":      "options --sh-exec and -C, --upper or -i with -u -k exclude each other: ",
		"-c cat -ulk -i 1 80":    "options --sh-exec and -C, --upper or -i with -u -k exclude each other: ",
		"-c cat -ulk -W 1 80":    "options --sh-exec and -W exclude each other: ",
		"-c cat -ul -t -k 80":    "options -t and -u exclude each other: ",
		"-ulk --max-conns 2 80":  "options --max-conns and -u exclude each other: ",
	} {
		_, err := newConfig(words(args))
		if _, usage := err.(usageError); !usage || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	for _, args := range []string{"-c cat -ulk --max-conns 2 80", "-e cat -lkuU /tmp/s", "-c cat -ul --upper -C -i 1 80"} {
		if _, err := newConfig(words(args)); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}
