package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// Ncat.

func TestRowsOfNcat(t *testing.T) {
	t.Parallel()
	runRows(t, "ncat", "ncat", rowsAtOnce, ncatRows())
}

func ncatRows() []peerRow {
	return []peerRow{
		{flag: "4", line: "printf hello | ncat -4 localhost PORT", with: server(answers("hello", "answer")), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>"}},
		{flag: "4", line: "ncat -4 ::1 PORT", with: alone, want: rowEnd{status: "2", words: []string{"^Ncat: "}}},
		{flag: "6", line: "printf hello | ncat -6 ::1 PORT", with: served("::1", answers("hello", "answer")), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>"}},
		{flag: "U", line: "printf hello | ncat -U SOCKET", with: socketServer(unixAnswers), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>"}},
		{flag: "U", line: "printf hello | ncat -lU SOCKET", with: socketClient("", unixSends), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>"}},
		{flag: "U", line: "ncat -lU SOCKET", with: file, want: rowEnd{status: "2", got: "data", words: []string{"^Ncat: .*SOCKET: "}}},
		{flag: "vsock", cannot: "there is no virtual machine at the other end"},
		{flag: "C", line: `printf 'a\nb\r\nc' | ncat -C 127.0.0.1 PORT`, with: server(hears), want: rowEnd{status: "0", got: "a\r\nb\r\nc<FIN>"}},
		{flag: "c", line: `ncat -l 127.0.0.1 PORT -c 'read x; echo "$x $NCAT_PROTO $NCAT_REMOTE_ADDR"'`, with: client(exchanges("hi\n", "hi TCP 127.0.0.1\n")), want: rowEnd{status: "0", got: "hi TCP 127.0.0.1\n<FIN>"}},
		{flag: "c", line: "ncat -c 'read x; echo got $x' 127.0.0.1 PORT", with: server(exchanges("hi\n", "got hi\n")), want: rowEnd{status: "0", got: "got hi\n<FIN>"}},
		{flag: "c", line: "ncat -l 127.0.0.1 PORT -c 'exit 3'", with: client(hears), want: rowEnd{status: "0", got: "<FIN>"},
			ours: &rowDiff{status: "3"}, why: "the status of the command is passed on"},
		{flag: "c", line: "ncat -l 127.0.0.1 PORT -c 'cat >/dev/null; echo late'", with: client(sends("x")), want: rowEnd{status: "0", got: "<FIN>"},
			ours: &rowDiff{got: "late\n<FIN>"}, why: "Ncat drops an answer after the end of the question"},
		{flag: "c", line: "ncat -lk 127.0.0.1 PORT -c 'read x; echo got $x'", with: clients(exchanges("one\n", "got one\n"), exchanges("two\n", "got two\n")), want: rowEnd{status: "stays", got: "got one\n<FIN>got two\n<FIN>"}},
		{flag: "e", line: "ncat -l 127.0.0.1 PORT -e '/bin/echo a  b'", with: client(hears), want: rowEnd{status: "0", got: "a b\n<FIN>"}},
		{flag: "e", line: "ncat -lk 127.0.0.1 PORT -e /bin/cat", with: clients(exchanges("one", "one"), exchanges("two", "two")), want: rowEnd{status: "stays", got: "one<FIN>two<FIN>"}},
		{flag: "e", line: "ncat -l 127.0.0.1 PORT -e 'echo a'", with: client(hears), want: rowEnd{status: "0", got: "<FIN>", words: []string{"No such file"}},
			ours: &rowDiff{got: "a\n<FIN>", words: []string{"!."}}, why: "the command is searched in PATH"},
		{flag: "lua-exec", line: "ncat --lua-exec DIR/nosuch 127.0.0.1 PORT", with: alone, want: rowEnd{status: "2", words: []string{"^Ncat: .*Lua"}}},
		{flag: "g", line: "ncat -g 127.0.0.1 127.0.0.1 PORT", with: alone, want: rowEnd{status: "2"}},
		{flag: "G", line: "ncat -G 4 127.0.0.1 PORT", with: alone, want: rowEnd{status: "1"},
			ours: &rowDiff{status: "2", words: []string{"source routing"}}, why: "routers drop source routes (RFC 7126)"},
		{flag: "m", line: "ncat -lk -m 1 127.0.0.1 PORT", with: together, want: rowEnd{status: "stays", out: "x", got: "closed"},
			ours: &rowDiff{got: "-"}, why: "those above the limit wait in the listen queue"},
		{flag: "h", line: "ncat -h", with: alone, want: rowEnd{status: "0", out: "*", words: []string{"!."}}},
		{flag: "h", line: "ncat -h | grep -i ncat", with: alone, want: rowEnd{status: "0", out: "*"}},
		{flag: "d", line: "ncat -d 1s 127.0.0.1 PORT # lines are typed", with: untyped(server(seconds)), want: rowEnd{status: "0", got: "a\nb\nlater"}},
		{flag: "o", line: "printf hello | ncat -o DIR/out 127.0.0.1 PORT", with: noting(server(answers("hello", "answer"))), want: rowEnd{status: "0", out: "answer", got: "hello<FIN> helloanswer"}},
		{flag: "append-output", line: "printf hello | ncat --append-output -o DIR/old 127.0.0.1 PORT; cat DIR/old", with: noting(server(answers("hello", "answer"))), want: rowEnd{status: "0", out: "answeroldhelloanswer", got: "hello<FIN>"}},
		{flag: "x", line: "printf hello | ncat -x DIR/out 127.0.0.1 PORT; grep -c '^[<>] 00000000' DIR/out", with: server(answers("hello", "answer")), want: rowEnd{status: "1", out: "answer0\n", got: "hello<FIN>"},
			ours: &rowDiff{status: "0", out: "answer2\n"}, why: "each line has its direction, as with nc.traditional"},
		{flag: "i", line: "ncat -i 1 127.0.0.1 PORT", with: server(hears), want: rowEnd{status: "1", got: "<FIN>", words: []string{`^Ncat: Idle timeout expired \(1000 ms\)\.$`}},
			ours: &rowDiff{status: "0", words: []string{"!."}}, why: "both ends had finished before the second was over"},
		{flag: "i", line: "ncat -i 500ms 127.0.0.1 PORT # stdin is open and empty", with: untyped(server(idles)), want: rowEnd{status: "1", got: "<FIN>", words: []string{`^Ncat: Idle timeout expired \(500 ms\)\.$`}},
			ours: &rowDiff{words: []string{`^Ncat: .*idle for 500ms$`}}, why: "purr names the peer"},
		{flag: "i", line: "ncat -l -i 500ms 127.0.0.1 PORT # stdin is open and empty", with: untyped(client(idles)), want: rowEnd{status: "2", got: "<FIN>", words: []string{`^Ncat: Idle timeout expired \(500 ms\)\. QUITTING\.$`}},
			ours: &rowDiff{status: "1", words: []string{`^Ncat: .*idle for 500ms$`}}, why: "silence is a failure of the network at either end, and purr names the peer"},
		{flag: "p", line: "ncat -p OTHER 127.0.0.1 PORT", with: server(peerName), want: rowEnd{status: "0", got: "127.0.0.1:OTHER <FIN>"}},
		{flag: "s", line: "ncat -s 127.0.0.2 -p OTHER 127.0.0.1 PORT", with: server(peerName), want: rowEnd{status: "0", got: "127.0.0.2:OTHER <FIN>"}},
		{flag: "s", line: "ncat -l -s 127.0.0.1 -p PORT", with: client(sends("x")), want: rowEnd{status: "2", words: []string{"^Ncat: -l and -s are incompatible"}},
			ours: &rowDiff{status: "0", out: "x", got: "<FIN>", words: []string{"!."}}, why: "purr takes the forms of every netcat"},
		{flag: "l", line: "printf hello | ncat -l 127.0.0.1 PORT", with: client(answers("hello", "answer")), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>"}},
		{flag: "l", line: "printf hello | ncat -l 127.0.0.1 PORT", with: client(sends("answer")), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>"}},
		{flag: "l", line: "ncat -lv 127.0.0.1 PORT", with: client(sends("x")), want: rowEnd{status: "0", out: "x", got: "<FIN>", words: []string{`^Ncat: Listening on 127\.0\.0\.1:PORT$`, `^Ncat: Connection from 127\.0\.0\.1:[0-9]+\.$`}}},
		{flag: "l", line: "ncat -lv PORT </dev/null", with: sixth, want: rowEnd{status: "0", out: "x", got: "<FIN>", words: []string{`^Ncat: Listening on :::PORT$`, `^Ncat: Listening on 0\.0\.0\.0:PORT$`, `^Ncat: Connection from ::1:[0-9]+\.$`}}},
		{flag: "l", line: "ncat -l 127.0.0.1 PORT", with: portTaken, want: rowEnd{status: "2", words: []string{`^Ncat: bind to 127\.0\.0\.1:PORT: Address already in use\. QUITTING\.$`}},
			ours: &rowDiff{words: []string{`^Ncat: listen on 127\.0\.0\.1 PORT: Address already in use$`}}, why: "purr has one form for all that fails"},
		{flag: "l", line: "ncat -l 127.0.0.1 PORT <DIR/8M", with: whole(client(truncates)), want: rowEnd{status: "0", got: "a part"},
			ours: &rowDiff{got: "whole"}, why: "the half-close of the client ends Ncat, which drops the rest"},
		{flag: "l", line: "ncat -l 127.0.0.1 PORT >/dev/full # stdin is open and empty", with: untyped(client(sends("x"))), want: rowEnd{status: "2", got: "<FIN>"},
			ours: &rowDiff{got: "<RST>"}, why: "the client learns that its bytes were lost"},
		{flag: "l", line: "ncat --test -l 127.0.0.1 PORT", with: client(sends("x")), want: rowEnd{status: "0", out: "x", got: "<FIN>", words: []string{"^NCAT TEST: LISTEN$"}}},
		{flag: "k", line: "ncat -lk 127.0.0.1 PORT", with: clients(sends("one"), sends("two")), want: rowEnd{status: "stays", out: "onetwo", got: "<FIN><FIN>"}},
		{flag: "k", line: "ncat -k 127.0.0.1 PORT # stdin is open and empty", with: untyped(server(sends("banner"))), want: rowEnd{status: "2", words: []string{"^Ncat: Invalid option combination"}},
			ours: &rowDiff{status: "stays", out: "banner", words: []string{"!."}}, why: "later releases of Ncat stay after the end of the peer"},
		{flag: "n", line: "ncat -n localhost PORT", with: alone, want: rowEnd{status: "2", words: []string{"^Ncat: .*localhost"}}},
		{flag: "t", line: "ncat -t 127.0.0.1 PORT # stdin is open and empty", with: untyped(server(exchanges("\xff\xfd\x01login: ", "\xff\xfc\x01"))), want: rowEnd{status: "stays", out: "\xff\xfd\x01login: ", got: "\xff\xfc\x01"},
			ours: &rowDiff{status: "0", out: "login: ", got: "\xff\xfc\x01<FIN>"}, why: "purr takes the commands of Telnet out, and ends with the peer when there is nothing to send"},
		{flag: "u", line: "ncat -u 127.0.0.1 PORT # stdin is open", with: typed("hello", datagrams(replies("answer"))), want: rowEnd{status: "stays", out: "answer", got: "[hello]"}},
		{flag: "u", line: "printf hello | ncat -u 127.0.0.1 PORT", with: datagrams(delayed), want: rowEnd{status: "0", got: "[hello]"},
			ours: &rowDiff{out: "answer"}, why: "purr waits a second for the answer"},
		{flag: "u", line: "ncat -lu 127.0.0.1 PORT # stdin is open and empty", with: untyped(senders), want: rowEnd{status: "stays", out: "onethree"}},
		{flag: "u", line: "ncat -lku 127.0.0.1 PORT # stdin is open and empty", with: untyped(senders), want: rowEnd{status: "2", words: []string{"^Ncat: "}},
			ours: &rowDiff{status: "stays", out: "onetwothree", words: []string{"!."}}, why: "later releases of Ncat have it"},
		{flag: "u", line: "ncat -u 127.0.0.1 PORT # stdin is open", with: typed("x", alone), want: rowEnd{status: "1", words: []string{"^Ncat: .*Connection refused"}}},
		{flag: "sctp", line: "ncat --sctp 127.0.0.1 PORT", with: alone, want: rowEnd{status: "1"},
			ours: &rowDiff{status: "2", words: []string{"SCTP is not supported"}}, why: "the standard library of Go has none"},
		{flag: "v", line: "printf hello | ncat -v 127.0.0.1 PORT", with: server(answers("hello", "answer")), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>", words: []string{`^Ncat: Connected to 127\.0\.0\.1:PORT\.$`, `^Ncat: 5 bytes sent, 6 bytes received in`}},
			ours: &rowDiff{words: []string{`^Ncat: Connected to 127\.0\.0\.1:PORT\.$`, "sent 5 bytes, received 6 bytes in"}}, why: "purr's last line has the reason of the end, too"},
		{flag: "v", line: "ncat -v 127.0.0.1 PORT", with: alone, want: rowEnd{status: "1", words: []string{`^Ncat: .*Connection refused`}}},
		{flag: "w", line: "ncat -w 1 127.0.0.1 PORT", with: unanswered, want: rowEnd{status: "1", words: []string{`^Ncat: TIMEOUT\.$`}},
			ours: &rowDiff{words: []string{`^Ncat: connect to 127\.0\.0\.1 port PORT \(tcp\) timed out: `}}, why: "purr names the peer"},
		{flag: "w", line: "ncat -w 500ms 127.0.0.1 PORT", with: unanswered, want: rowEnd{status: "1"}},
		{flag: "w", line: "ncat -w 1 127.0.0.1 PORT", with: server(late), want: rowEnd{status: "0", out: "answer", got: "<FIN>"}},
		{flag: "z", line: "ncat -z 127.0.0.1 PORT", with: open, want: rowEnd{status: "0", words: []string{"!."}}},
		{flag: "z", line: "ncat -z 127.0.0.1 PORT", with: alone, want: rowEnd{status: "1", words: []string{"!."}}},
		{flag: "z", line: "ncat -z 127.0.0.1 PORT OTHER", with: alone, want: rowEnd{status: "2"}},
		{flag: "z", line: "ncat -zu 127.0.0.1 PORT", with: datagrams(counts), want: rowEnd{status: "0", got: "[\x00]"}},
		{flag: "send-only", line: "printf hello | ncat --send-only 127.0.0.1 PORT", with: server(hears), want: rowEnd{status: "0", got: "hello<FIN>"}},
		{flag: "send-only", line: "ncat -l --send-only 127.0.0.1 PORT <DIR/8M", with: whole(client(truncates)), want: rowEnd{status: "0", got: "whole"}},
		{flag: "recv-only", line: "printf hello | ncat --recv-only 127.0.0.1 PORT", with: server(sends("answer")), want: rowEnd{status: "0", out: "answer", got: "<FIN>"}},
		{flag: "no-shutdown", line: "printf hello | ncat --no-shutdown 127.0.0.1 PORT", with: server(answers("hello", "answer")), want: rowEnd{status: "0", out: "answer", got: "hello"}},
		{flag: "allow", line: "ncat -lk --allow 127.0.0.2 127.0.0.1 PORT </dev/null", with: client(hears), want: rowEnd{status: "stays", got: "<FIN>"}},
		{flag: "allow", line: "ncat -l --allow 127.0.0.0/8 127.0.0.1 PORT </dev/null", with: client(sends("x")), want: rowEnd{status: "0", out: "x", got: "<FIN>"}},
		{flag: "allow", line: "ncat -l --allow 10.0.0.0/40 127.0.0.1 PORT", with: alone, want: rowEnd{status: "2", words: []string{"10.0.0.0/40"}}},
		{flag: "allow", line: "ncat -l --allow '127.0.0.*' 127.0.0.1 PORT </dev/null", with: client(sends("x")), want: rowEnd{status: "0", out: "x", got: "<FIN>"},
			ours: &rowDiff{status: "2", out: "-", got: "-", words: []string{`"127\.0\.0\.\*" is no address, network or name`}}, why: "a list has networks (127.0.0.0/24) and ranges in place of nmap's patterns"},
		{flag: "allowfile", line: "echo 127.0.0.1 >DIR/f; ncat -l --allowfile DIR/f 127.0.0.1 PORT </dev/null", with: client(sends("x")), want: rowEnd{status: "0", out: "x", got: "<FIN>"}},
		{flag: "deny", line: "ncat -lkv --deny localhost 127.0.0.1 PORT </dev/null", with: client(hears), want: rowEnd{status: "stays", got: "<FIN>", words: []string{"denied"}}},
		{flag: "denyfile", line: "echo 127.0.0.1 >DIR/f; ncat -lk --denyfile DIR/f 127.0.0.1 PORT </dev/null", with: client(hears), want: rowEnd{status: "stays", got: "<FIN>"}},
		{flag: "broker", line: "ncat -l --broker 127.0.0.1 PORT </dev/null", with: brokerRow, want: rowEnd{status: "stays", got: "one"}},
		{flag: "chat", line: "ncat -l --chat 127.0.0.1 PORT </dev/null", with: brokerRow, want: rowEnd{status: "stays", got: "<user> one"},
			ours: &rowDiff{out: "*"}, why: "the talk is shown on stdout"},
		{flag: "proxy", line: "printf hello | ncat --proxy 127.0.0.1:RELAY localhost PORT", with: proxied(true), want: rowEnd{status: "0", out: "answer", got: "localhost:PORT hello<FIN>"}},
		{flag: "proxy-type", line: "printf hello | ncat --proxy 127.0.0.1:RELAY --proxy-type socks5 localhost PORT", with: proxied(false), want: rowEnd{status: "0", out: "answer", got: "localhost:PORT hello<FIN>"}},
		{flag: "proxy-type", line: "printf hello | ncat --proxy 127.0.0.1:RELAY --proxy-type socks4 127.0.0.1 80", with: socks4, want: rowEnd{status: "0", out: "answer", got: "\x04\x01\x00\x50\x7f\x00\x00\x01\x00 hello<FIN>"}},
		{flag: "proxy-dns", line: "printf hello | ncat --proxy 127.0.0.1:RELAY --proxy-type socks5 --proxy-dns local -4 localhost PORT", with: proxied(false), want: rowEnd{status: "0", out: "answer", got: "127.0.0.1:PORT hello<FIN>"}},
		{flag: "proxy-type", line: "ncat -l --proxy-type http 127.0.0.1 PORT", with: client(requests("GET /")), want: rowEnd{status: "stays", got: "400"}},
		{flag: "proxy-auth", line: "ncat -l --proxy-type http --proxy-auth user:pass 127.0.0.1 PORT", with: client(requests("CONNECT 127.0.0.1:1")), want: rowEnd{status: "stays", got: "407"}},
		{flag: "proxy-auth", line: "printf hello | ncat --proxy 127.0.0.1:RELAY --proxy-auth user:pass localhost PORT", with: proxiedFor(true, "user", "pass"), want: rowEnd{status: "0", out: "answer", got: "localhost:PORT hello<FIN>"}},
		{flag: "proxy-auth", line: "printf hello | NCAT_PROXY_AUTH=user:pass ncat --proxy 127.0.0.1:RELAY --proxy-type socks5 localhost PORT", with: proxiedFor(false, "user", "pass"), want: rowEnd{status: "0", out: "answer", got: "localhost:PORT hello<FIN>"}},
		{flag: "ssl", line: "printf hello | ncat --ssl localhost PORT", with: tlsServer("localhost"), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>", words: []string{"!."}},
			ours: &rowDiff{words: []string{"^Ncat: .*the certificate is not checked [(]without --ssl-verify[)]"}}, why: "what is not checked has one line"},
		{flag: "ssl", line: "ncat --ssl -l PORT", cannot: "Ncat takes seconds to make its key; --ssl-cert is run"},
		{flag: "ssl-cert", line: "printf hello | ncat --ssl -l --ssl-cert CERTFILE --ssl-key CERTFILE 127.0.0.1 PORT", with: tlsClient, want: rowEnd{status: "0", out: "answer", got: "ours hello<FIN>"}},
		{flag: "ssl-key", line: "printf hello | ncat --ssl -l --ssl-cert CAFILE --ssl-key CERTFILE 127.0.0.1 PORT", with: tlsClient, want: rowEnd{status: "0", out: "answer", got: "ours hello<FIN>"}},
		{flag: "ssl-verify", line: "printf hello | ncat --ssl-verify localhost PORT", with: tlsServer("localhost"), want: rowEnd{status: "1"}},
		{flag: "ssl-trustfile", line: "printf hello | ncat --ssl-verify --ssl-trustfile CAFILE localhost PORT", with: tlsServer("localhost"), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>"}},
		{flag: "ssl-trustfile", line: "printf hello | ncat --ssl-verify --ssl-trustfile CAFILE localhost PORT", with: tlsServer("other"), want: rowEnd{status: "2", words: []string{"ertificate"}},
			ours: &rowDiff{status: "1"}, why: "1 is a certificate that is not accepted, whatever is wrong with it"},
		{flag: "ssl-servername", line: "printf hello | ncat --ssl --ssl-servername other.example localhost PORT", with: tlsServer("localhost"), want: rowEnd{status: "0", out: "answer", got: "hello<FIN> for other.example"}},
		{flag: "ssl-alpn", line: "printf hello | ncat --ssl --ssl-alpn a,b localhost PORT", with: tlsServer("localhost"), want: rowEnd{status: "0", out: "answer", got: "hello<FIN> speaks b"}},
		{flag: "ssl-ciphers", line: "printf hello | ncat --ssl --ssl-ciphers HIGH localhost PORT", with: tlsServer("localhost"), want: rowEnd{status: "0", out: "answer", got: "hello<FIN>"},
			ours: &rowDiff{status: "2", out: "-", got: "-", words: []string{"leave --ssl-ciphers out"}}, why: "Go's ciphers are all sound, and cannot be chosen"},
		{flag: "version", line: "ncat --version", with: alone, want: rowEnd{status: "0", words: []string{`^Ncat: Version [0-9.]+ \( https://nmap.org/ncat \)$`}},
			ours: &rowDiff{out: "*", words: []string{"!."}}, why: "it is purr's version, on stdout"},
		{flag: "nsock-engine", line: "ncat --nsock-engine select 127.0.0.1 PORT", with: alone, want: rowEnd{status: "1"},
			ours: &rowDiff{status: "2", words: []string{"nsock-engine"}}, why: "purr has one engine"},
		{flag: "usage", line: "ncat", with: alone, want: rowEnd{status: "2", words: []string{"^Ncat: "}},
			ours: &rowDiff{words: []string{"^purr -l "}}, why: "purr has examples"},
		{flag: "usage", line: "ncat -Y 127.0.0.1 PORT", with: alone, want: rowEnd{status: "2", words: []string{"invalid option -- 'Y'"}}},
		{flag: "usage", line: "ncat 127.0.0.1 99999", with: alone, want: rowEnd{status: "2", words: []string{"^Ncat: .*99999"}}},
		{flag: "usage", line: "ncat nosuch.invalid PORT", with: alone, want: rowEnd{status: "2", words: []string{"^Ncat: .*nosuch.invalid"}}},
		{flag: "endings", line: "ncat 127.0.0.1 PORT", with: alone, want: rowEnd{status: "1", words: []string{`^Ncat: .*Connection refused`}}},
		{flag: "endings", line: "exec ncat -l 127.0.0.1 PORT", with: terminated, want: rowEnd{status: "143"}},
		{flag: "endings", line: "printf hello | ncat 127.0.0.1 PORT", with: server(resets("hello")), want: rowEnd{status: "1", got: "hello", words: []string{"^Ncat: Connection reset by peer.$"}},
			ours: &rowDiff{words: []string{"^Ncat: receive from .*: Connection reset by peer$"}}, why: "purr names the peer"},
		{flag: "endings", line: "ncat 127.0.0.1 PORT # stdin is open and empty", with: untyped(server(sends("banner"))), want: rowEnd{status: "stays", out: "banner"},
			ours: &rowDiff{status: "0", got: "<FIN>"}, why: "later releases of Ncat end with the peer, too"},
	}
}

// noting has a file DIR/old, and notes DIR/out.
func noting(with func(*rowRun)) func(*rowRun) {
	return func(s *rowRun) {
		testkit.WriteFile(s.T, filepath.Join(s.names["DIR"], "old"), "old")
		with(s)
		if s.p.status(); strings.Contains(s.row.line, "DIR/out") {
			s.note(" %s", testkit.ReadFile(s.T, filepath.Join(s.names["DIR"], "out")))
		}
	}
}

// tlsServer is a server with a certificate for a name, from the authority
// CAFILE.
func tlsServer(name string) func(*rowRun) {
	return func(s *rowRun) {
		ca := newTestCA(s.T)
		cert, err := tls.LoadX509KeyPair(ca.file("server", x509.Certificate{DNSNames: []string{name}}), filepath.Join(ca.dir, "server.pem"))
		if err != nil {
			s.Fatal(err)
		}
		s.names["CAFILE"] = ca.ca
		server(func(s *rowRun, c *net.TCPConn) {
			conn := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"b"}})
			defer conn.Close()
			if conn.Handshake() != nil {
				return
			}
			b := make([]byte, len("hello"))
			if _, err := io.ReadFull(conn, b); err != nil {
				return
			}
			s.note("%s", b)
			s.rest(conn)
			writeAll(s.T, conn, "answer")
			state := conn.ConnectionState()
			if state.ServerName != "localhost" {
				s.note(" for %s", state.ServerName)
			}
			if state.NegotiatedProtocol != "" {
				s.note(" speaks %s", state.NegotiatedProtocol)
			}
		})(s)
	}
}

// tlsClient is a client that notes the name in the certificate. CERTFILE is one
// with its key, and CAFILE the same without.
func tlsClient(s *rowRun) {
	ca := newTestCA(s.T)
	s.names["CAFILE"], s.names["CERTFILE"] = ca.ca, ca.write("ours", ca.cert, ca.key)
	client(func(s *rowRun, c *net.TCPConn) {
		conn := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		defer conn.Close()
		if err := conn.Handshake(); err != nil {
			s.Fatal(err)
		}
		s.note("%s ", conn.ConnectionState().PeerCertificates[0].Subject.CommonName)
		s.take(conn, len("hello"))
		writeAll(s.T, conn, "answer")
		_ = conn.CloseWrite()
		s.rest(conn)
	})(s)
}

// requests sends a request to a proxy, and notes the status.
func requests(line string) func(*rowRun, *net.TCPConn) {
	return func(s *rowRun, c *net.TCPConn) {
		writeAll(s.T, c, line+" HTTP/1.0\r\n\r\n")
		_, status, _ := strings.Cut(testkit.ReadAll(s.T, c), " ")
		s.note("%.3s", status)
	}
}

// brokerRow are two clients: one has the line that the other sends, in a chat
// with the name of the other. The number of the user is left out.
func brokerRow(s *rowRun) {
	client(func(s *rowRun, c *net.TCPConn) {
		other := dialTest(s.T, "tcp", c.RemoteAddr().String())
		lines := bufio.NewScanner(c)
		go func() {
			// A line that comes before the first client is accepted is lost.
			for !s.stopped.Load() {
				if _, err := io.WriteString(other, "one\n"); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		for lines.Scan() && !strings.HasSuffix(lines.Text(), "one") {
		}
		s.stopped.Store(true)
		s.note("%s", regexp.MustCompile("user[0-9]+").ReplaceAllString(lines.Text(), "user"))
	})(s)
}
