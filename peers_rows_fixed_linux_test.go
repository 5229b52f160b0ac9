package main

import (
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"purr/internal/testkit"
)

// Ports that the programs choose, in a network of the test's own.
func TestRowsOfFixedPorts(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	runRows(t, "ncat", "ncat", 1, []peerRow{
		{flag: "l", line: "ncat -l </dev/null", with: at("31337", clientAt(sends("x"))), want: rowEnd{status: "0", out: "x", got: "<FIN>"}},
		{flag: "l", line: "ncat -l 127.0.0.1 </dev/null", with: at("31337", clientAt(sends("x"))), want: rowEnd{status: "0", out: "x", got: "<FIN>"}},
		{flag: "l", line: "ncat -l -p 9000 127.0.0.1 </dev/null", with: at("31337", clientAt(sends("x"))), want: rowEnd{status: "0", out: "x", got: "<FIN>"},
			ours: &rowDiff{status: "stays", out: "-", got: "-"}, why: "Ncat forgets the port of -p"},
		{flag: "usage", line: "printf hello | ncat 127.0.0.1", with: at("31337", serverAt(answers("hello", "answer"))), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>"}},
		{flag: "proxy", line: "ncat --proxy 127.0.0.1 --proxy-type http localhost 80 </dev/null", with: at("3128", serverAt(refuses("CONNECT localhost:80"))), want: rowEnd{status: "1", got: "CONNECT localhost:80"}},
		{flag: "proxy", line: "ncat --proxy 127.0.0.1 --proxy-type socks5 localhost 80 </dev/null", with: at("1080", serverAt(refuses("\x05"))), want: rowEnd{status: "1", got: "\x05"}},
	})
	runRows(t, "nc.openbsd", "netcat-openbsd", 1, []peerRow{
		{flag: "x", line: "nc -x 127.0.0.1 localhost 80 </dev/null", with: at("1080", serverAt(refuses("\x05"))), want: rowEnd{status: "1", got: "\x05"}},
		{flag: "x", line: "nc -X connect -x 127.0.0.1 localhost 80 </dev/null", with: at("3128", serverAt(refuses("CONNECT localhost:80"))), want: rowEnd{status: "1", got: "CONNECT localhost:80"}},
	})
}

// at is a row with a fixed port, and so without others at the same time.
func at(port string, with func(*rowRun)) func(*rowRun) {
	return func(s *rowRun) {
		s.names["PORT"] = port
		with(s)
	}
}

// clientAt is a client of the fixed port.
func clientAt(f func(*rowRun, *net.TCPConn)) func(*rowRun) {
	return func(s *rowRun) {
		s.start()
		if s.want.status == "stays" { // on another port
			awaitPort(s.T, "tcp", "9000")
			return
		}
		s.dial(f)
	}
}

// serverAt is a server on the fixed port.
func serverAt(f func(*rowRun, *net.TCPConn)) func(*rowRun) {
	return func(s *rowRun) {
		ln, err := net.Listen("tcp", "127.0.0.1:"+s.names["PORT"])
		if err != nil {
			s.Fatal(err)
		}
		s.serve(ln.(*net.TCPListener), f)
	}
}

// refuses takes the beginning of a request to a proxy, and ends.
func refuses(request string) func(*rowRun, *net.TCPConn) {
	return func(s *rowRun, c *net.TCPConn) { s.take(c, len(request)) }
}

// Each option in the help of a peer has a row.
func TestRowsAreComplete(t *testing.T) {
	t.Parallel()
	covered := func(rows []peerRow, aliases map[string]string, help []string) {
		t.Helper()
		has := make(map[string]bool)
		for _, row := range rows {
			has[row.flag] = true
		}
		for _, option := range help {
			if alias, ok := aliases[option]; ok {
				option = alias
			}
			if !has[option] {
				t.Errorf("no row for the option %s", option)
			}
		}
	}
	covered(ncRows(), nil, optionsIn(t, testkit.Program(t, "nc.openbsd", "netcat-openbsd"), "-h", `(?m)^\t\t-(\w)`))
	covered(ncatRows(), map[string]string{
		"sh-exec": "c", "exec": "e", "max-conns": "m", "help": "h", "delay": "d", "output": "o", "hex-dump": "x", "idle-timeout": "i", "source-port": "p", "source": "s",
		"listen": "l", "keep-open": "k", "nodns": "n", "telnet": "t", "udp": "u", "unixsock": "U", "crlf": "C", "verbose": "v", "wait": "w",
	}, optionsIn(t, testkit.Program(t, "ncat", "ncat"), "--help", `(?m)^  (?:-\w, |    )--([a-z-]+)|^  -(\w) `))
}

// optionsIn returns the options in the help of a program.
func optionsIn(t testing.TB, program, help, pattern string) (options []string) {
	t.Helper()
	text, err := exec.Command(program, help).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		options = append(options, strings.Join(m[1:], ""))
	}
	if len(options) < 20 {
		t.Errorf("%s: only %d options: %q", program, len(options), options)
	}
	return options
}
