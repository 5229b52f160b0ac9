package main

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// The same command lines that fail, or print, under the names and as the
// programs of these names: the status is the same, nothing is on stdout that is
// not there too, and stderr has the words that scripts look for.
func TestNamesAsThePeers(t *testing.T) {
	t.Parallel()
	closed := closedPorts(t, 1)[0]
	for _, test := range []struct {
		peer, args string
		status     int
		words      []string // in both outputs together, one after the other
		not        string
	}{
		{"nc.openbsd", "", 1, []string{"usage: nc ", "-q seconds"}, ""},
		{"nc.openbsd", "-h", 0, []string{"OpenBSD netcat", "usage: nc ", "-N\t\tShutdown", "-q secs", `"5" (SOCKS)`}, "ncat"},
		{"nc.openbsd", "-q", 1, []string{"option requires an argument -- 'q'\n"}, ""},
		{"nc.openbsd", "-zvw", 1, []string{"option requires an argument -- 'w'\n"}, ""},
		{"nc.openbsd", "-Q", 1, []string{"invalid option -- 'Q'"}, ""},
		{"nc.openbsd", "127.0.0.1 99999", 1, []string{"port number too large: 99999"}, ""},
		{"nc.openbsd", "127.0.0.1 nosuchservice", 1, []string{"port number invalid: nosuchservice"}, ""},
		{"nc.openbsd", "-n localhost 80", 1, nil, ""},
		{"nc.openbsd", "nosuch.invalid 80", 1, []string{`getaddrinfo for host "nosuch.invalid" port 80: `}, ""},
		{"nc.openbsd", "-v 127.0.0.1 " + closed, 1, []string{"connect to 127.0.0.1 port " + closed + " (tcp) failed: Connection refused\n"}, ""},
		{"nc.openbsd", "-z 127.0.0.1 " + closed, 1, nil, "refused"},
		{"nc.openbsd", "-zv 127.0.0.1 " + closed, 1, []string{"connect to 127.0.0.1 port " + closed + " (tcp) failed: Connection refused\n"}, ""},
		{"nc.openbsd", "-vU /nosuch", 1, []string{"/nosuch", "No such file or directory\n"}, ""},
		{"nc.openbsd", "-l 192.0.2.1 9", 1, []string{"annot assign requested address\n"}, ""},
		{"nc.openbsd", "-k 127.0.0.1 9", 1, []string{"-k"}, ""},

		{"ncat", "", 2, nil, ""},
		{"ncat", "-h", 0, []string{"Usage: ncat [options] [hostname] [port]", "-k, --keep-open", "--ssl-verify"}, ""},
		{"ncat", "-w", 2, []string{"option requires an argument -- 'w'\n"}, ""},
		{"ncat", "--wait", 2, []string{"option '--wait' requires an argument\n"}, ""},
		{"ncat", "--nosuch", 2, []string{"unrecognized option '--nosuch'"}, ""},
		{"ncat", "127.0.0.1 99999", 2, nil, ""},
		{"ncat", "nosuch.invalid 80", 2, []string{"nosuch.invalid", "\n"}, ""},
		{"ncat", "127.0.0.1 " + closed, 1, []string{"Ncat: ", "Connection refused"}, ""},
		{"ncat", "-zu 127.0.0.1 " + closed, 1, nil, ""},
		{"ncat", "-U /nosuch", 1, []string{"Ncat: ", "No such file or directory"}, ""},
		{"ncat", "-l 192.0.2.1 9", 2, []string{"Ncat: ", "annot assign requested address"}, ""},
		{"ncat", "--allow 192.0.2.1 127.0.0.1 9", 2, nil, ""},
	} {
		testkit.Program(t, test.peer, map[string]string{"nc.openbsd": "netcat-openbsd", "ncat": "ncat"}[test.peer])
		peer := start(t, opts{}, test.peer, strings.Fields(test.args)...)
		ours := startAs(t, test.peer, opts{}, strings.Fields(test.args)...)
		for _, p := range []*process{peer, ours} {
			p.ends(test.status)
			all := p.out.String() + p.err.String()
			if test.not != "" && strings.Contains(strings.ToLower(all), test.not) {
				t.Errorf("%s: %q is there: %s", p.name, test.not, p.heard())
			}
			for _, word := range test.words {
				_, rest, found := strings.Cut(all, word)
				if !found {
					t.Errorf("%s: no %q%s", p.name, word, p.heard())
				}
				all = rest
			}
		}
		if (peer.out.String() == "") != (ours.out.String() == "") {
			t.Errorf("%s %s: stdout is %q, and %q as %s", test.peer, test.args, ours.out, peer.out, test.peer)
		}
	}
}

// A listener and a dialler under -v: the same lines as those of the peer, port
// numbers apart. purr's own may be more: it listens on both families in the
// case without a host, and Ncat's name adds what became of the connection.
func TestNamesVerbose(t *testing.T) {
	t.Parallel()
	port, service := regexp.MustCompile(`\b\d{4,5}\b`), regexp.MustCompile(`\[tcp/[^]]*\]`)
	for _, test := range []struct{ peer, listener, dialler string }{
		{"nc.openbsd", "-v -l 127.0.0.1 PORT", "-N -v 127.0.0.1 PORT"},
		{"nc.openbsd", "-v -l localhost PORT", "-4 -N -v localhost PORT"},
		{"nc.openbsd", "-v -n -l 127.0.0.1 PORT", "-N -v -n 127.0.0.1 PORT"},
		{"nc.openbsd", "-v -l -U PATH", "-N -v -U PATH"},
		{"ncat", "-v -l 127.0.0.1 PORT", "-v 127.0.0.1 PORT"},
		{"ncat", "-v -l localhost -4 PORT", "-4 -v localhost PORT"},
		{"ncat", "-v -l -U PATH", "-v -U PATH"},
	} {
		testkit.Program(t, test.peer, "netcat-openbsd or ncat")
		lines := make(map[bool][2][]string)
		for _, isPeer := range []bool{true, false} {
			starting := func(o opts, args ...string) *process {
				if isPeer {
					return start(t, o, test.peer, args...)
				}
				return startAs(t, test.peer, o, args...)
			}
			words := strings.NewReplacer("PORT", freePort(t, "tcp"), "PATH", filepath.Join(testkit.SocketDir(t), "s"))
			l := starting(opts{}, strings.Fields(words.Replace(test.listener))...)
			l.waitErr(regexp.MustCompile(`(?m)^(Ncat: )?Listening on .*\n`))
			d := starting(opts{}, strings.Fields(words.Replace(test.dialler))...)
			d.ends(0)
			l.ends(0)
			var both [2][]string
			for i, p := range []*process{l, d} {
				said := service.ReplaceAllString(p.err.String(), "[tcp/*]") // a free port may have a name
				for line := range strings.Lines(words.Replace(said)) {
					both[i] = append(both[i], port.ReplaceAllString(strings.ReplaceAll(line, words.Replace("PATH"), "PATH"), "N"))
				}
			}
			lines[isPeer] = both
		}
		for i, who := range []string{"listener", "dialler"} {
			theirs, ours := lines[true][i], lines[false][i]
			for _, line := range theirs {
				switch {
				case strings.HasPrefix(line, "Ncat: Version"), strings.Contains(line, "bytes sent"), // purr's own line has them
					line == "Ncat: Connection from 127.0.0.1.\n", line == "Ncat: Connection from .\n": // the next line has the port
				case len(ours) == 0 || ours[0] != line && !strings.Contains(strings.Join(ours, ""), line):
					t.Errorf("%s %+v: no line %q, but %q", who, test, line, ours)
				}
			}
			if test.peer == "nc.openbsd" && len(ours) != len(theirs) {
				t.Errorf("%s %+v: %q, and nc has %q", who, test, ours, theirs)
			}
		}
	}
}

// A UDP port that does not answer: status 0 and no line under both names, and
// the truth under -v. ncat sends one NUL. purr itself has status 3.
func TestNamesProbe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, args string
		status     int
		said       bool
	}{
		{"nc", "-zu", 0, false}, {"nc", "-zuv", 0, true}, {"ncat", "-zu", 0, false}, {"ncat", "-zuv", 0, true}, {"purr", "-zu", 3, false},
	} {
		silent, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		p := startAs(t, test.name, opts{}, test.args, "-w", "1", "127.0.0.1", portOf(t, silent.LocalAddr()))
		p.ends(test.status)
		said := p.err.String()
		if honest := strings.Contains(said, "no-answer"); honest != test.said || !test.said && said != "" || strings.Contains(said, "succeeded") {
			t.Errorf("%s %s: %s", test.name, test.args, p.heard())
		}
		if test.name != "purr" && p.out.String() != "" {
			t.Errorf("%s %s: %s", test.name, test.args, p.heard())
		}
		var sent []string
		b := make([]byte, 100)
		_ = silent.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // purr has ended: all of it is here
		for {
			n, _, err := silent.ReadFrom(b)
			if err != nil {
				break
			}
			sent = append(sent, string(b[:n]))
		}
		if test.name == "ncat" && (len(sent) != 1 || sent[0] != "\x00") {
			t.Errorf("ncat sent %q", sent)
		}
	}
}

// As nc, a Unix datagram dialler stays after the end of stdin: an answer after
// more than purr's second arrives.
func TestNamesUnixDatagrams(t *testing.T) {
	t.Parallel()
	c, path := unixgramTest(t)
	p := startAs(t, "nc", opts{stdin: strings.NewReader("hi")}, "-v", "-u", "-U", path)
	b := make([]byte, 100)
	n, from, err := c.ReadFrom(b)
	if err != nil || string(b[:n]) != "hi" {
		t.Fatal(err, string(b[:n]))
	}
	if bound := p.waitErr(boundLine); bound[1] != from.String() {
		t.Errorf("it is bound to %s, and prints %s", from, bound[1])
	}
	time.Sleep(replyWait + 300*time.Millisecond)
	p.runs()
	if _, err := c.WriteTo([]byte("late"), from); err != nil {
		t.Fatal(err)
	}
	p.waitOut("^late$")
}

// As ncat, --ssl does not check a certificate unless --ssl-verify asks for it,
// and says so.
func TestNamesTLS(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args   string
		status int
		said   string
		got    string
	}{{"--ssl", 0, "the certificate is not checked (without --ssl-verify)", "hello\n"}, {"--ssl --ssl-verify", 1, "certificate", ""}} {
		l := startPurr(t, opts{}, "-l", "-v", "--ssl", "127.0.0.1", "0")
		p := startAs(t, "ncat", opts{stdin: strings.NewReader("hello\n")}, append(strings.Fields(test.args), "127.0.0.1", l.port())...)
		p.ends(test.status)
		if said := p.err.String(); strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "Ncat: ") || !strings.Contains(said, test.said) {
			t.Errorf("%s: %s", test.args, p.heard())
		}
		if test.status == 0 {
			l.ends(0)
			l.printed(test.got)
			continue
		}
		l.kill()
		if l.out.String() != "" {
			t.Errorf("the listener got %q", l.out)
		}
	}
}

// As ncat, the end of stdin is close_notify at once, except at TLS 1.2: the
// answer would be dropped.
func TestNamesTLSHalfClose(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	for version, first := range map[uint16]bool{tls.VersionTLS13: true, tls.VersionTLS12: false} {
		ln := listenTest(t)
		p := startAs(t, "ncat", opts{stdin: strings.NewReader("question\n")}, "--ssl", "127.0.0.1", portOf(t, ln.Addr()))
		c, socket := tlsPeer(t, a, ln, version)
		testkit.ReadN(t, c, 9)
		if first {
			if rest := testkit.ReadAll(t, c); rest != "" {
				t.Errorf("after the question %q", rest)
			}
		} else {
			_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("before the answer %d, %v", n, err)
			}
		}
		writeAll(t, c, "answer\n")
		_ = c.CloseWrite()
		_ = socket.CloseWrite()
		p.ends(0)
		p.printed("answer\n")
	}
}

// As ncat, --test prints a line once clients can connect.
func TestNamesAnnounce(t *testing.T) {
	t.Parallel()
	p := startAs(t, "ncat", opts{}, "--test", "-l", "127.0.0.1", "0")
	port := p.waitErr(listening)[1]
	p.waitErr(regexp.MustCompile(`(?m)^NCAT TEST: LISTEN\n`))
	c := dialTest(t, "tcp", "127.0.0.1:"+port)
	_ = c.Close()
	p.ends(0)
}

// The files of -o and -x, as ncat: the first has the bytes that the peer's has,
// in the same order.
func TestNamesTranscripts(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "ncat", "ncat")
	for _, args := range []string{"-o out", "-o out --append-output", "-d 1ms -o out -x hex"} {
		var both []string
		for _, isPeer := range []bool{true, false} {
			dir := t.TempDir()
			testkit.WriteFile(t, filepath.Join(dir, "out"), "old\n")
			ln := listenTest(t)
			args := append(strings.Fields(args), "127.0.0.1", portOf(t, ln.Addr()))
			o := opts{dir: dir, stdin: strings.NewReader("question\n")}
			var p *process
			if isPeer {
				p = start(t, o, "ncat", args...)
			} else {
				p = startAs(t, "ncat", o, args...)
			}
			c := acceptTest(t, ln)
			testkit.ReadAll(t, c)
			writeAll(t, c, "answer\n")
			_ = c.Close()
			p.ends(0)
			p.printed("answer\n")
			both = append(both, testkit.ReadFile(t, filepath.Join(dir, "out")))
			if !isPeer && slices.Contains(args, "-x") && !strings.Contains(testkit.ReadFile(t, filepath.Join(dir, "hex")), "> 00000000 71 75 65") {
				t.Errorf("%v: no line of hex", args)
			}
		}
		if both[0] != both[1] || !strings.HasSuffix(both[0], "question\nanswer\n") {
			t.Errorf("%s: purr has %q, and ncat %q", args, both[1], both[0])
		}
	}
}
