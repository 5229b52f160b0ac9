package main

import (
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/push"
	"purr/internal/testkit"
)

// A plain netcat at the other end.

// plainPeers are programs without purr's protocol, and how each listens on a
// port and writes its input to a file, and dials and sends a file.
var plainPeers = []struct{ name, listen, dial string }{
	{"nc.openbsd", `exec nc.openbsd -n -l 127.0.0.1 "$1" >"$2"`, `exec nc.openbsd -n -N 127.0.0.1 "$1" <"$2"`},
	{"nc.traditional", `exec nc.traditional -n -l -p "$1" >"$2"`, `exec nc.traditional -n -q 5 127.0.0.1 "$1" <"$2"`},
	{"ncat", `exec ncat -n -l 127.0.0.1 "$1" >"$2"`, `exec ncat -n 127.0.0.1 "$1" <"$2"`},
	{"socat", `exec socat -u TCP-LISTEN:"$1",bind=127.0.0.1 - >"$2"`, `exec socat -t 5 - TCP:127.0.0.1:"$1" <"$2"`},
}

// A netcat that listens gets the head of a request at most.
func TestPushToNetcat(t *testing.T) {
	t.Parallel()
	for _, nc := range plainPeers {
		for _, as := range []string{"--push", "--pull"} {
			t.Run(nc.name+" "+as, func(t *testing.T) {
				t.Parallel()
				if _, err := exec.LookPath(nc.name); err != nil {
					testkit.Missing(t, nc.name)
				}
				port := freePort(t, "tcp")
				into := filepath.Join(t.TempDir(), "f")
				shell(t, opts{openStdin: true}, nc.listen, port, into)
				from := testkit.TempFile(t, testkit.Noise(1000))
				if as == "--pull" {
					from = t.TempDir()
				}
				p := startPurr(t, opts{}, as, "--wait-for", "20", "--hello-timeout", "1", "127.0.0.1", port, from)
				p.ends(6)
				p.printed("")
				outcome := "no file data was sent; use --send-file"
				if as == "--pull" {
					outcome = "nothing was fetched; use --recv-file"
				}
				said(p, `^purr: 127\.0\.0\.1 port `+port+` accepted the connection but does not speak HTTP: a plain netcat\? `+outcome+`$`)
				if got := testkit.ReadFile(t, into); strings.Contains(got, testkit.Noise(1000)[:20]) || len(got) > 1000 {
					t.Errorf("%s got %s", nc.name, testkit.Brief(got))
				}
			})
		}
	}
}

// If a web server that is no purr refuses HTTP/2 in any way, it is not taken
// for a netcat.
func TestPushToWebServer(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "HTTP/1.0 505 Version Not Supported\r\n\r\n",
		"<!DOCTYPE HTML PUBLIC>\n<html></html>\n", "<html></html>\n", // Python's http.server, thttpd
	} {
		for _, as := range []string{"--push", "--pull"} {
			t.Run(as+" "+testkit.Brief(answer), func(t *testing.T) {
				t.Parallel()
				ln := listenTest(t)
				path := testkit.TempFile(t, testkit.Noise(1000))
				if as == "--pull" {
					path = t.TempDir()
				}
				p := startPurr(t, opts{}, as, "127.0.0.1", portOf(t, ln.Addr()), path)
				c := acceptTest(t, ln)
				testkit.ReadN(t, c, 14)
				writeAll(t, c, answer)
				_ = c.CloseWrite()
				_, _ = io.Copy(io.Discard, c) // a reset would take the answer away
				_ = c.Close()
				p.ends(6)
				said(p, `^purr: 127\.0\.0\.1 port \d+ speaks HTTP but is no purr: (no file data was sent|nothing was fetched); use curl\(1\)$`)
			})
		}
	}
}

// A netcat that dials learns that it is wrong here.
func TestNetcatToListener(t *testing.T) {
	t.Parallel()
	for _, nc := range plainPeers {
		for _, as := range []push.Role{push.Receiver, push.Sender} {
			t.Run(nc.name+" to a "+string(as), func(t *testing.T) {
				t.Parallel()
				if _, err := exec.LookPath(nc.name); err != nil {
					testkit.Missing(t, nc.name)
				}
				x := newTransfer(t, as, "s.bin")
				x.file("s.bin", testkit.Noise(1000))
				_, port, _ := net.SplitHostPort(strings.Join(x.listen(), ":"))
				// Longer than what the sockets hold, and it ends in nothing but bytes.
				n := shell(t, opts{}, nc.dial, port, testkit.TempFile(t, "\x00"+testkit.Noise(8_000_000)))
				p, other, hint := x.receiver, "sender: nothing stored", "--recv-file"
				if as == push.Sender {
					p, other, hint = x.sender, "receiver: nothing sent", "--send-file"
				}
				p.ends(6)
				said(p, `is not a purr `+other+`; for a plain netcat use `+hint+` FILE$`)
				p.printed("")
				n.status()
				if got := n.out.String(); !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") || !strings.Contains(got, "400 Bad Request: not a purr ") {
					t.Errorf("%s printed %s%s", nc.name, testkit.Brief(got), n.err)
				}
				x.leaves()
			})
		}
	}
}
