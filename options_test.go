package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"purr/internal/sock"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// The mode, address and ports of each form of a command line.
func TestConfig(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args string
		want string // of show
	}{
		{"h 80", "tcp dial h [80]"},
		{"h:80", "tcp dial h [80]"},
		{"127.0.0.1:80", "tcp dial 127.0.0.1 [80]"},
		{"[::1]:80", "tcp dial ::1 [80]"},
		{"::1 80", "tcp dial ::1 [80]"},
		{"[::1] 80", "tcp dial ::1 [80]"},
		{"-l [::1] 80", "tcp listen ::1 [80]"},
		{"fe80::1%eth0 80", "tcp dial fe80::1%eth0 [80]"},
		{"[fe80::1%eth0]:80", "tcp dial fe80::1%eth0 [80]"},
		{"help 80", "tcp dial help [80]"},
		{"h 80", "tcp dial h [80]"},
		{"h http", "tcp dial h [80]"},
		{"h:http", "tcp dial h [80]"},
		{"h http 20 22-23", "tcp dial h [80 20 22 23]"},
		{"h 80,8000-8002", "tcp dial h [80 8000 8001 8002]"},
		{"h 3-1", "tcp dial h [1 2 3]"},
		{"h:80-82", "tcp dial h [80 81 82]"},
		{"-u h domain", "udp dial h [53]"},
		{"-p 1000 h 80", "tcp dial h [80] from :1000"},
		{"-s 127.0.0.1 -p1000 h 80", "tcp dial h [80] from 127.0.0.1:1000"},
		{"-l 4444", "tcp listen  [4444]"},
		{"-l http", "tcp listen  [80]"},
		{"-l 0", "tcp listen  [0]"},
		{"-l 127.0.0.1 4444", "tcp listen 127.0.0.1 [4444]"},
		{"-l -p 4444", "tcp listen  [4444]"},
		{"-l -p 4444 127.0.0.1", "tcp listen 127.0.0.1 [4444]"},
		{"-s 127.0.0.1 -p 4444 -l", "tcp listen 127.0.0.1 [4444]"},
		{"-s 127.0.0.1 -l 4444", "tcp listen 127.0.0.1 [4444]"},
		{"-lvnp 4444", "tcp listen  [4444]"},
		{"-l h:80", "tcp listen h [80]"},
		{"-l :80", "tcp listen  [80]"},
		{"-l [::1]:80", "tcp listen ::1 [80]"},
		{"-l :: 80", "tcp listen :: [80]"},
		{"-lk 4444", "tcp listen  [4444]"},
		{"-u -l 4444", "udp listen  [4444]"},
		{"-U path", "unix dial path"},
		{"-lU path", "unix listen path"},
		{"-uU path", "unixgram dial path"},
		{"-ulU path", "unixgram listen path"},
		{"-uU -s own path", "unixgram dial path from own"},
		{"-U @abstract", "unix dial @abstract"},
		{"-U a:80", "unix dial a:80"},
		{"-- h 80", "tcp dial h [80]"},
	} {
		c, err := newConfig(words(test.args))
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
			continue
		}
		got := c.network + " dial "
		if c.listen {
			got = c.network + " listen "
		}
		if got += c.host + c.path; len(c.ports) > 0 {
			got += fmt.Sprintf(" %v", c.ports)
		}
		if c.unix && c.source != "" {
			got += " from " + c.source
		} else if c.source != "" || c.sourcePort != 0 {
			got += fmt.Sprintf(" from %s:%d", c.source, c.sourcePort)
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.args, got, test.want)
		}
	}
}

// Each option sets its fields.
func TestConfigValues(t *testing.T) {
	t.Parallel()
	parse := func(args string) *config {
		t.Helper()
		c, err := newConfig(words(args))
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		return c
	}
	for _, test := range []struct {
		args string
		ok   func(c *config) bool
	}{
		{"h 80", func(c *config) bool {
			return c.verbose == 0 && c.idleTimeout == 0 && c.connectTimeout == 0 && c.quitAfter < 0 && !c.noShutdown && c.socket.TOS == nil && c.keepalive.Enable
		}},
		{"-w 1 h 80", func(c *config) bool {
			return c.idleTimeout == time.Second && c.connectTimeout == time.Second && !c.quitAtOnce
		}},
		{"-w 1 --idle-timeout 2 h 80", func(c *config) bool { return c.idleTimeout == 2*time.Second && c.connectTimeout == time.Second }},
		{"-w 1 --connect-timeout 2 h 80", func(c *config) bool { return c.idleTimeout == time.Second && c.connectTimeout == 2*time.Second }},
		{"-w 1 -l 80", func(c *config) bool { return c.idleTimeout == time.Second && c.acceptTimeout == 0 }},
		{"--accept-timeout 3 -l 80", func(c *config) bool { return c.acceptTimeout == 3*time.Second && c.idleTimeout == 0 }},
		{"-q 5 h 80", func(c *config) bool { return c.quitAfter == 5*time.Second && !c.noShutdown }},
		{"-w0 h 80", func(c *config) bool { return c.quitAtOnce && c.idleTimeout == 0 && c.connectTimeout == 0 }},
		{"-w 0 -q 1 h 80", func(c *config) bool { return !c.quitAtOnce && c.quitAfter == time.Second }},
		{"-q 0 h 80", func(c *config) bool { return c.quitAfter < 0 && !c.noShutdown }},
		{"-q -1 h 80", func(c *config) bool { return c.quitAfter < 0 && c.noShutdown }},
		{"-N h 80", func(c *config) bool { return !c.noShutdown }},
		{"--no-shutdown h 80", func(c *config) bool { return c.noShutdown }},
		{"-d h 80", func(c *config) bool { return c.noStdin }},
		{"--recv-only h 80", func(c *config) bool { return c.noStdin }},
		{"-vvv h 80", func(c *config) bool { return c.verbose == 3 }},
		{"-v --verbose -v h 80", func(c *config) bool { return c.verbose == 3 }},
		{"-W 5 h 80", func(c *config) bool { return c.receiveLimit == 5 }},
		{"-I 64k -O 1M h 80", func(c *config) bool { return c.socket.ReceiveBuf == 64<<10 && c.socket.SendBuf == 1<<20 }},
		{"-M 1 -m 255 h 80", func(c *config) bool { return c.socket.TTL == 1 && c.socket.MinTTL == 255 }},
		{"-T lowdelay h 80", func(c *config) bool { return *c.socket.TOS == 0x10 }},
		{"-T 0 h 80", func(c *config) bool { return *c.socket.TOS == 0 }},
		{"--keepalive 30s,10s,3 h 80", func(c *config) bool {
			return c.keepalive.Enable && c.keepalive.Idle == 30*time.Second && c.keepalive.Interval == 10*time.Second && c.keepalive.Count == 3
		}},
		{"--keepalive 0 h 80", func(c *config) bool { return !c.keepalive.Enable }},
		{"-i 0.5 h 80", func(c *config) bool { return c.interval == time.Second/2 }},
		{"--max-conns 7 -lk 80", func(c *config) bool { return c.maxConns == 7 }},
		{"-b -D -r -n -C ::1 80", func(c *config) bool { return c.socket.Broadcast && c.shuffle && c.numeric && c.crlf }},
		{"--send-file go.mod h 80", func(c *config) bool { return c.sendFile == "go.mod" }},
		{"--send-file go.mod --sum h 80", func(c *config) bool { return c.file.sum }},
		{"--recv-file new h 80", func(c *config) bool {
			return c.file.recv == "new" && c.noStdin && c.file.expectSize < 0 && c.file.expectSHA256 == nil && !c.file.direct
		}},
		{"-l --recv-file go.mod --force --keep-partial 80", func(c *config) bool { return c.file.force && c.file.keepPartial }},
		{"--recv-file /dev/null h 80", func(c *config) bool { return c.file.direct }},
		{"-U --recv-file new --expect-size 5G path", func(c *config) bool { return c.file.expectSize == 5<<30 }},
		{"--recv-file new --expect-size 0 h 80", func(c *config) bool { return c.file.expectSize == 0 }},
		{"--recv-file new --expect-sha256 " + strings.Repeat("aB", 32) + " h 80", func(c *config) bool {
			return string(c.file.expectSHA256) == strings.Repeat("\xab", 32)
		}},
		{"--rate 20M h 80", func(c *config) bool { return c.pace.rate == 20<<20 && c.check.rate == 0 }},
		{"-zu --rate 20 h 80", func(c *config) bool { return c.pace.rate == 0 && c.check.rate == 20 }},
		{"-w 1 -w 2 h 80", func(c *config) bool { return c.idleTimeout == 2*time.Second }}, // the last one counts
	} {
		if c := parse(test.args); !test.ok(c) {
			t.Errorf("%s: %+v", test.args, c)
		}
	}
}

// Every wrong command line, with its message. Status 2 and the promise that
// nothing is opened come with the type of the error.
func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, test := range []struct{ args, want string }{
		// The conflicts, in the order of their list.
		{"-4 -6 h 80", "options -4 and -6 exclude each other: leave both out to use whichever answers"},
		{"-46 -l 80", "options -4 and -6 exclude each other: leave both out to use whichever answers"},
		{"-U -4 path", "options -U and -4 exclude each other: a Unix socket has no IP address, leave -4 out"},
		{"-U -6 path", "options -U and -6 exclude each other: a Unix socket has no IP address, leave -6 out"},
		{"-U -p 80 path", "options -U and -p exclude each other: a Unix socket has a path and no port, leave -p out"},
		{"-U -s own path", `option -s goes with -U only in "purr -u -U -s OWN_PATH PATH": give the path as the operand`},
		{"-ulU -s own path", `option -s goes with -U only in "purr -u -U -s OWN_PATH PATH": give the path as the operand`},
		{"-k h 80", "option -k needs -l: to keep a connection alive, say --keepalive; to listen again after each client, say -l -k"},
		{"--max-conns 5 -l 80", "option --max-conns needs -l -k: without -k there is only one connection"},
		{"--max-conns 5 h 80", "option --max-conns needs -l -k: without -k there is only one connection"},
		{"--max-conns 5 -ulk 80", "options --max-conns and -u exclude each other: datagrams have no connections to count"},
		{"--accept-timeout 5 h 80", "option --accept-timeout needs -l: for a dialer, say --connect-timeout"},
		{"--connect-timeout 5 -l 80", "options --connect-timeout and -l exclude each other: for a listener, say --accept-timeout"},
		{"--connect-timeout 5 -u h 80", "options --connect-timeout and -u exclude each other: UDP has no connection to wait for, -w limits the wait for an answer"},
		{"--send-only --recv-only h 80", "options --send-only and --recv-only (or -d) exclude each other: leave both out to do both"},
		{"--send-only -d h 80", "options --send-only and --recv-only (or -d) exclude each other: leave both out to do both"},
		{"-d --send-file go.mod h 80", "options -d (or --recv-only) and --send-file exclude each other: --send-file reads no stdin anyway, leave -d out"},
		{"-d --interactive h 80", "options -d (or --recv-only) and --interactive exclude each other: the line editor reads stdin"},
		{"-d --quit-word q h 80", "options -d (or --recv-only) and --quit-word exclude each other: the word is read from stdin"},
		{"--send-only --interactive h 80", "options --send-only and --interactive exclude each other: leave one out"},
		{"-N --no-shutdown h 80", "options -N and --no-shutdown (or -q -1) exclude each other: the first half-closes at the end of stdin, the second never does; leave one out"},
		{"-N -q -1 h 80", "options -N and --no-shutdown (or -q -1) exclude each other: the first half-closes at the end of stdin, the second never does; leave one out"},
		{"--echo-any --echo -l 80", "option --echo-any needs -u --echo: only UDP's senders can be forged, so that two echoes answer each other"},
		{"--echo-any -ul 80", "option --echo-any needs -u --echo: only UDP's senders can be forged, so that two echoes answer each other"},
		{"--echo-any --echo -ulU path", "option --echo-any needs -u --echo: only UDP's senders can be forged, so that two echoes answer each other"},
		{"--echo --send-file go.mod -l 80", "options --echo and --send-file exclude each other: an echo sends only what it received"},
		{"--echo --send-only -l 80", "options --echo and --send-only or --recv-only exclude each other: an echo does both"},
		{"--echo --recv-only -l 80", "options --echo and --send-only or --recv-only exclude each other: an echo does both"},
		{"--echo --interactive h 80", "options --echo and --interactive or --quit-word exclude each other: an echo reads no stdin"},
		{"--echo --quit-word q h 80", "options --echo and --interactive or --quit-word exclude each other: an echo reads no stdin"},
		{"--echo -C -l 80", "options --echo and -C or -i exclude each other: they change what is read from stdin, and an echo reads none"},
		{"--echo -i 1 -l 80", "options --echo and -C or -i exclude each other: they change what is read from stdin, and an echo reads none"},
		{"--send-file go.mod -u h 80", `options --send-file and -u exclude each other: datagrams have no end and may get lost; use TCP, or "purr -u HOST PORT <FILE"`},
		{"--send-file go.mod --interactive h 80", "options --send-file and --interactive or --quit-word exclude each other: --send-file reads no stdin"},
		{"--send-file go.mod --quit-word q h 80", "options --send-file and --interactive or --quit-word exclude each other: --send-file reads no stdin"},
		{"--send-file go.mod -C h 80", `options --send-file and -C or -i exclude each other: --send-file sends exactly the file; for changed lines say "purr ... <FILE"`},
		{"--send-file go.mod -i 1 h 80", `options --send-file and -C or -i exclude each other: --send-file sends exactly the file; for changed lines say "purr ... <FILE"`},
		{"--interactive -lk 80", "options --interactive and -k exclude each other: the line editor talks to one peer"},
		{"--quit-word q -lk 80", "options --quit-word and -k exclude each other: the word ends one conversation"},
		{"-t -u h 80", "options -t and -u exclude each other: Telnet runs over TCP"},
		{"-t --echo -l 80", "options -t and --echo exclude each other: an echo answers with what it received"},
		{"--keepalive 5 -u h 80", "option --keepalive needs TCP: leave out -u or -U"},
		{"--keepalive 0 -U path", "option --keepalive needs TCP: leave out -u or -U"},
		{"-M 5 -U path", "options -M and -U exclude each other: a Unix socket has no TTL"},
		{"-m 5 -U path", "options -m and -U exclude each other: a Unix socket has no TTL"},
		{"--progress --no-progress h 80", "options --progress and --no-progress exclude each other: leave both out to see the progress of files on a terminal"},
		{"--quiet -v h 80", "options --quiet and -v exclude each other: leave one out"},
		{"--interactive --progress h 80", "options --interactive and --progress exclude each other: the last line of the terminal is the one being typed"},
		{"--interactive --json h 80", "options --interactive and --json exclude each other: the line editor is for a person, the events are for a program"},
		{"-d --rate 5 h 80", "options -d (or --recv-only, --recv-file) and --rate exclude each other: --rate limits what is sent, give it to the sender"},
		{"-T 5 -U path", "options -T and -U exclude each other: a Unix socket has no TOS"},

		// Raw files.
		{"--recv-file new --send-file go.mod h 80", "options --recv-file and --send-file exclude each other: send with one run and receive with another"},
		{"--recv-file new -u -l 80", `options --recv-file and -u exclude each other: datagrams have no end and may get lost; use TCP, or "purr -u -l PORT >FILE"`},
		{"--recv-file new -lk 80", "options --recv-file and -k exclude each other: one name is for one client, leave -k out"},
		{"--recv-file new --echo h 80", `options --recv-file and --echo exclude each other: for a copy of what is echoed, say "purr --echo ... >FILE"`},
		{"--recv-file new --interactive h 80", "options --recv-file and --interactive or --quit-word exclude each other: --recv-file reads no stdin"},
		{"--recv-file new --quit-word q h 80", "options --recv-file and --interactive or --quit-word exclude each other: --recv-file reads no stdin"},
		{"--recv-file new --send-only h 80", "options --recv-file and --send-only exclude each other: leave one out"},
		{"--recv-file new -z h 80", "options --recv-file and -z exclude each other: -z exchanges no data; for what a port says, say --banner"},
		{"--recv-file new -C h 80", "options --recv-file and -C or -i exclude each other: they are about lines, and a file is stored as it comes"},
		{"--recv-file new -t h 80", "options --recv-file and -t exclude each other: -t takes Telnet's commands out of what arrives, and a file is stored as it comes"},
		{"--send-file go.mod -t h 80", "options --send-file and -t exclude each other: -t answers Telnet's commands among the bytes of the file"},
		{"--recv-file new -i 1 h 80", "options --recv-file and -C or -i exclude each other: they are about lines, and a file is stored as it comes"},
		{"--recv-file new -W 1 h 80", "options --recv-file and -W exclude each other: a file is whole when its sender ends; for its size, say --expect-size"},
		{"--recv-file new --wait-for 1 h 80 -- sh", `option --recv-file and a command after -- exclude each other: say "purr --wait-for TIME HOST PORT -- purr --recv-file FILE HOST PORT"`},
		{"--recv-file new --sum h 80", "options --sum and --recv-file exclude each other: --recv-file says the SHA-256 anyway, leave --sum out"},
		{"--sum h 80", `option --sum needs --send-file: for stdin, say "tee >(sha256sum >&2) <FILE | purr ..."`},
		{"--expect-size 1 h 80", `option --expect-size needs --recv-file: say "purr ... --recv-file FILE"`},
		{"--expect-sha256 " + strings.Repeat("00", 32) + " h 80", `option --expect-sha256 needs --recv-file: say "purr ... --recv-file FILE"`},
		{"--keep-partial h 80", `option --keep-partial needs --recv-file: say "purr ... --recv-file FILE"`},
		{"--pull --rate 1M h 80", "options --pull and --rate exclude each other: --rate limits what is sent, give it to the sender"},
		{"--force h 80", "option --force needs --pull or --recv-file: the receiver decides what it replaces"},
		{"--recv-file new --pull h 80", "options --recv-file and --push or --pull exclude each other: --pull is the checked way, --recv-file is for a peer without purr"},
		{"--recv-file new --expect-size -1 h 80", "option --expect-size: size too small: -1"},
		{"--recv-file new --expect-size 8589934592G h 80", "option --expect-size: size too large: 8589934592G"},
		{"--recv-file new --expect-size 1P h 80", "option --expect-size: size invalid: 1P (bytes, or a number with k, M, G or T)"},
		{"--recv-file new --expect-size 1kk h 80", "option --expect-size: size invalid: 1kk (bytes, or a number with k, M, G or T)"},
		{"--recv-file new --expect-size k h 80", "option --expect-size: size invalid: k (bytes, or a number with k, M, G or T)"},
		{"--recv-file new --expect-sha256 00 h 80", "option --expect-sha256: SHA-256 invalid: 00 (64 hexadecimal digits)"},
		{"--recv-file '' h 80", "option --recv-file: the name of the file is empty"},
		{"--send-file '' h 80", "option --send-file: the name of the file is empty"},
		{"--recv-file new h 80 81", "option --recv-file: one name is for one conversation: give one port"},
		{"--recv-file - h 80", "option --recv-file: - is no file: leave the option out to write to stdout, or say ./-"},

		{"--push", `no address, or half of one: say "purr --push HOST PORT PATH..."`},
		{"--pull -l", `no address, or half of one: say "purr --pull -l PORT [DIR]"`},
		{"--push -U s", `nothing to push: say "purr --push -U SOCKET PATH..."`},
		{"--push h 80 go.mod ./go.mod", `option --push: go.mod and ./go.mod have the same name at the other end: push them one after the other, into two directories`},
		{"--push h 80 . ./go.mod", `option --push: ./go.mod, and what is in ., have the same name at the other end: leave one out, or push them one after the other, into two directories`},
		{"--push h 80 internal .", `option --push: internal, and what is in ., have the same name at the other end: leave one out, or push them one after the other, into two directories`},
		{"--push -l -p 80 127.0.0.1", `nothing to push: say "purr --push -l PORT PATH..."`},

		// Operands.
		{"-v", `no host and port: say "purr HOST PORT", or "purr -l PORT" to listen`},
		{"h", `no port in h: say "purr h PORT"`},
		{"80", `no host in 80: say "purr HOST 80", or "purr -l 80" to listen`},
		{":80", `no host and port in :80: say "purr HOST PORT", "purr HOST:PORT" or "purr [IPV6]:PORT"`},
		{"'' 80", `the host is empty: say "purr HOST PORT"`},
		{"-l", `no port: say "purr -l PORT" (-l 0 takes a free one and says which)`},
		{"-l a b c", `too many operands: say "purr -l PORT", "purr -l HOST PORT" or "purr -l -p PORT HOST"`},
		{"-l -p 80 a 81", `too many operands: say "purr -l PORT", "purr -l HOST PORT" or "purr -l -p PORT HOST"`},
		{"-l -s 127.0.0.1 127.0.0.2 80", "option -s 127.0.0.1 and the operand 127.0.0.2 both name the address to listen on: leave one out"},
		{"-U", `option -U takes the path of one Unix socket: say "purr -U PATH" or "purr -l -U PATH"`},
		{"-U a b", `option -U takes the path of one Unix socket: say "purr -U PATH" or "purr -l -U PATH"`},
		{"-U ''", `option -U takes the path of one Unix socket: say "purr -U PATH" or "purr -l -U PATH"`},
		{"-U " + strings.Repeat("x", sock.MaxPath+1), fmt.Sprintf("the path %s is too long for a Unix socket: at most %d bytes", strings.Repeat("x", sock.MaxPath+1), sock.MaxPath)},

		// Ports.
		{"h 99999", "port number too large: 99999"},
		{"h 65536", "port number too large: 65536"},
		{"h 99999999999999999999", "port number too large: 99999999999999999999"},
		{"h 0", "port number too small: 0"},
		{"h -- -1", "port number too small: -1"},
		{"h nosuchsvc", "port number invalid: nosuchsvc"},
		{"h 0x50", "port number invalid: 0x50"},
		{"h 8_0", "port number invalid: 8_0"},
		{"h +80", "port number invalid: +80"},
		{"h ''", "a port number is missing"},
		{"h 80,", "a port number is missing"},
		{"h 80-", "a port number is missing"},
		{"h 0-80", "port number too small: 0"},
		{"h 80-65536", "port number too large: 65536"},
		{"-l 65536", "port number too large: 65536"},
		{"-l nosuchsvc", "port number invalid: nosuchsvc"},
		{"-l 80-90", "port number invalid: 80-90"},
		{"-p 0 h 80", "option -p: port number too small: 0"},
		{"-p 99999 h 80", "option -p: port number too large: 99999"},
		{"-p x h 80", "option -p: port number invalid: x"},

		// Values.
		{"-w -1 h 80", "option -w: timeout too small: -1"},
		{"-w x h 80", "option -w: timeout invalid: x (seconds, or a number with ms, s, m or h)"},
		{"--wait 1d h 80", "option --wait: timeout invalid: 1d (seconds, or a number with ms, s, m or h)"},
		{"--idle-timeout x h 80", "option --idle-timeout: timeout invalid: x (seconds, or a number with ms, s, m or h)"},
		{"-W 0 h 80", "option -W: receive limit too small: 0"},
		{"-W x h 80", "option -W: receive limit invalid: x"},
		{"-M 256 h 80", "option -M: ttl too large: 256"},
		{"-m 0 h 80", "option -m: minimum ttl too small: 0"},
		{"-T x h 80", "option -T: illegal tos value x"},
		{"-T 256 h 80", "option -T: illegal tos value 256"},
		{"-I 0 h 80", "option -I: size too small: 0"},
		{"-O 4G h 80", "option -O: size too large: 4"},
		{"--keepalive 1,2,3,4 h 80", "option --keepalive: keepalive invalid: 1,2,3,4 (IDLE[,INTERVAL[,COUNT]])"},
		{"--keepalive 0.5 h 80", "option --keepalive: keepalive time too small: 0.5 (at least 1 s)"},
		{"--max-conns 0 -lk 80", "option --max-conns: connection limit too small: 0"},
		{"--rate 0 h 80", "option --rate: rate too small: 0"},
		{"--send-file " + dir + "/missing h 80", "option --send-file: stat " + dir + "/missing: no such file or directory"},
		{"--send-file " + dir + " h 80", "option --send-file: " + dir + ` is a directory: say "tar c ` + dir + ` | purr ..."`},
	} {
		c, err := newConfig(words(test.args))
		if err == nil {
			t.Errorf("%s: accepted as %+v", test.args, c)
			continue
		}
		if _, usage := err.(usageError); !usage {
			t.Errorf("%s: %v is no usageError", test.args, err)
		}
		if got := err.Error(); got != test.want {
			t.Errorf("%s: %q, want %q", test.args, got, test.want)
		}
	}
}

// words splits a row of a table; two quotes are an empty word.
func words(s string) []string {
	out := strings.Fields(s)
	for i, w := range out {
		if w == "''" {
			out[i] = ""
		}
	}
	return out
}

// Every name that rules and defaults ask for is the canonical name of an
// option.
func TestGivenNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, o := range newCommandLine().Options() {
		names = append(names, o.Names[0])
	}
	asked := 0
	for _, file := range []string{"options.go", "rules.go", "operands.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:given|Typed)\("([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
			asked++
			if !slices.Contains(names, m[1]) {
				t.Errorf("%s: no option has the canonical name %s", file, m[1])
			}
		}
	}
	if asked < 30 {
		t.Errorf("%d names were found", asked)
	}
}

// Every message follows the rules of log.go: lower case, no full stop,
// printable.
func TestConflictWording(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("rules.go")
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, m := range regexp.MustCompile(`(?m)^\t\t\{.*?, "(.*)"\},$`).FindAllStringSubmatch(string(text), -1) {
		rules++
		if strings.HasSuffix(m[1], ".") || !strings.HasPrefix(m[1], "option") || !strings.Contains(m[1], ":") {
			t.Errorf("%q", m[1])
		}
	}
	if rules < 30 {
		t.Errorf("%d rules were read; has their list moved?", rules)
	}
}

// Options of other netcats fail with a message that names the alternative.
func TestForeignOptions(t *testing.T) {
	t.Parallel()
	own := make(map[string]bool)
	for _, o := range newCommandLine().Options() {
		for _, name := range o.Names {
			own[name] = true
		}
	}
	for _, letter := range []string{"g", "G", "S", "V", "Z"} {
		if _, err := newConfig([]string{"-" + letter, "h", "80"}); err == nil {
			t.Errorf("-%s is accepted", letter)
		}
	}
	for name, why := range foreign() {
		if own[name] {
			t.Errorf("%s is an option of purr's own", name)
		}
		if alias, isAlias := foreign()[why]; isAlias {
			why = alias
		}
		if len(strings.Fields(why)) < 4 || strings.HasSuffix(why, ".") || strings.Contains(why, "\n") {
			t.Errorf("%s: %q is no help", name, why)
		}
		typed := "-" + name
		if len(name) > 1 {
			typed = "--" + name
		}
		_, err := newConfig([]string{typed, "h", "80"})
		if want := "option " + typed + ": " + why; err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", typed, err, want)
		}
		if _, usage := err.(usageError); !usage {
			t.Errorf("%s: %v is no usageError", typed, err)
		}
		// The words of the help name real options.
		for _, mentioned := range regexp.MustCompile(`(^|[^-\w])--([a-z-]+)`).FindAllStringSubmatch(why, -1) {
			if m := mentioned[2]; !own[m] && !strings.Contains(typed+why, "ncat --"+m) && typed != "--"+m && foreign()[m] == "" {
				t.Errorf("%s: the advice names --%s, which there is not", typed, m)
			}
		}
	}
}

// The help, the manual page and the flag table name the same options.
func TestHelpFlagsAndManualAgree(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("purr.1")
	if err != nil {
		t.Error(err)
	}
	_, topics, _ := strings.Cut(help, "\n# ") // the overview has some of them again
	var names []string
	for _, o := range newCommandLine().Options() {
		for _, name := range o.Names {
			names = append(names, name)
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			// In the help an option stands in a line that begins with one.
			inHelp := regexp.MustCompile(`(?m)^(?:  |      )(-\S+( [A-Z]+)?, )*` + dashes + regexp.QuoteMeta(name) + `(,| |$)( [A-Z]|[A-Z])?`)
			if n := len(inHelp.FindAllString(topics, -1)); n != 1 && (n != 2 || name != "c") { // -c has two meanings
				t.Errorf("%s%s is described %d times in the topics of the help", dashes, name, n)
			}
			if o.TakesValue && !regexp.MustCompile(`(?m)`+dashes+regexp.QuoteMeta(name)+`[ ,]+(--[a-z-]+ )?[A-Z]`).MatchString(topics) {
				t.Errorf("the help shows no value for %s%s", dashes, name)
			}
			// mdoc writes --listen as "Fl -listen" and -l as "Fl l".
			if err == nil {
				inPage := regexp.MustCompile(`(?m)^\.It (.* )?Fl ` + regexp.QuoteMeta(strings.TrimPrefix(dashes, "-")+name) + `( |$)`)
				if !inPage.Match(page) {
					t.Errorf("%s%s is not in purr.1", dashes, name)
				}
			}
		}
	}
	// And the other way round. Prose may name a foreign option.
	for line := range strings.Lines(help) {
		if !strings.HasPrefix(strings.TrimSpace(line), "-") {
			continue
		}
		head, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
		for _, m := range regexp.MustCompile(`(?:^|[ ,])--?([a-zA-Z0-9][a-z0-9-]*)`).FindAllStringSubmatch(head, -1) {
			if !slices.Contains(names, m[1]) {
				t.Errorf("the help names %s, which there is not: %s", m[0], line)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\.It Fl .*$`).FindAllString(string(page), -1) {
		for _, fl := range regexp.MustCompile(`Fl -?([a-zA-Z0-9-]+)`).FindAllStringSubmatch(m, -1) {
			if !slices.Contains(names, fl[1]) {
				t.Errorf("purr.1 names %s, which there is not", fl[0])
			}
		}
	}
	for line := range strings.Lines(help) {
		if n := len(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("a line of the help is %d wide: %s", n, line)
		}
	}
}

// The command lines that the help shows are right. An example is indented by
// two blanks, and its description is two blanks away or in the next line.
func TestExamplesParse(t *testing.T) {
	t.Parallel()
	count := 0
	key := testkit.SecretFile(t, tlsconn.NewKey().String())
	words := strings.NewReplacer("PORT", "9000", "--send-file F", "--send-file go.mod", "--recv-file F", "--recv-file new", "PATH...", "go.mod", "[DIR]", ".", "DIR", ".",
		"CMD", os.Args[0], "exec bc", "exec "+os.Args[0], "--key-file key", "--key-file "+key, "--port-file port", "--port-file new", "PROXY:9000", "PROXY:1080")
	for line := range strings.Lines(examples + help) {
		line, _, _ = strings.Cut(strings.TrimRight(strings.TrimPrefix(line, "  "), "\n"), "   ")
		if strings.HasPrefix(line, " ") || strings.Contains(line, "[options]") || strings.Contains(line, "--push [-l]") || strings.Contains(line, "--pull [-l]") {
			continue
		}
		for _, command := range regexp.MustCompile(`(?:^|, |\| )purr (-[^|<>]*?|[A-Z][^|<>]*?|example\.org[^|<>]*?|\[[^|<>]*?)(?:$|, purr|  | [|<>])`).FindAllStringSubmatch(line, -1) {
			text := command[1]
			args := strings.Fields(words.Replace(text))
			if from := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "'") }); from >= 0 { // 'a line of the shell'
				to := slices.IndexFunc(args, func(a string) bool { return strings.HasSuffix(a, "'") })
				args = slices.Replace(args, from, to+1, strings.Trim(strings.Join(args[from:to+1], " "), "'"))
			}
			count++
			if _, err := newConfig(args); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
	if count < 60 {
		t.Errorf("%d examples were found", count)
	}
}

// A file that --send-file names is only looked at: a FIFO without a writer does
// not make the command line wait.
func TestCheckFileDoesNotWait(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := testkit.Mkfifo(path); err != nil {
		testkit.NotHere(t, "a FIFO: "+err.Error())
	}
	done := make(chan error, 1)
	go func() {
		_, err := newConfig([]string{"--send-file", path, "h", "80"})
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testkit.Patience):
		t.Error("it waits for a writer")
	}
}
