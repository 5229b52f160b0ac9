package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/push"
	"purr/internal/store"
	"purr/internal/testkit"
)

// A purr at the other end that means harm.

// sealed makes a line of a transfer of any text.
func sealed(text string) string {
	return fmt.Sprintf("%s\t%.4x\n", text, testkit.SHA256(text))
}

// sum is the digest of a content as it stands in a line.
func sum(content string) string { return base64.StdEncoding.EncodeToString(testkit.SHA256(content)) }

// welcome answers the hello of a purr.
func welcome(as push.Role) string {
	return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + push.Protocol + "\r\nPurr: " + string(as) + "\r\nWant-Repr-Digest: sha-256=10\r\n\r\n"
}

// hello begins a transfer with a listener, and waits for its answer.
func hello(t testing.TB, addr string, as push.Role) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := dialTest(t, "tcp", addr)
	writeAll(t, c, "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: "+push.Protocol+"\r\nPurr: "+string(as)+"\r\nWant-Repr-Digest: sha-256=10\r\n\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	return c, in
}

// hostile listens, reads the head of a hello, sends a text, and goes on
// reading.
func hostile(t testing.TB, text string) (host, port string) {
	t.Helper()
	ln := listenTest(t)
	_ = ln.SetDeadline(time.Time{})
	go func() {
		for {
			c, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				_, _ = io.WriteString(c, text)
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return "127.0.0.1", portOf(t, ln.Addr())
}

// tame checks that an ended process failed, and that the peer's bytes do not
// control the terminal.
func tame(p *process) {
	p.t.Helper()
	if p.status() == 0 {
		p.t.Errorf("%s: status 0%s", p.name, p.heard())
	}
	if s := p.err.String(); strings.ContainsAny(s, "\x1b\r\a\u009b\u202e") {
		p.t.Errorf("%s: raw control characters on stderr: %q", p.name, s)
	}
	if n := p.err.Len(); n > 100_000 {
		p.t.Errorf("%s: said %d bytes", p.name, n)
	}
}

const escapes = "\x1b[2J\x1b]0;owned\a\rharmless\u009b31m\u202e"

func TestHostileReceiver(t *testing.T) {
	t.Parallel()
	quoted := `\u001b[2J\u001b]0;owned\u0007\rharmless\u009b31m\u202e`
	listens := welcome(push.Receiver)
	end := sealed(`{"end":{"worst":"refused"}}`)
	for name, text := range map[string]string{
		"refuses in escapes":   "HTTP/1.1 503 Busy\r\nPurr: receiver\r\nContent-Length: 99\r\n\r\n" + escapes,
		"role in escapes":      strings.Replace(listens, "receiver", "sender\x1b[2J", 1),
		"version in escapes":   "HTTP/1.1 426 Old\x1b[2J\r\nPurr: receiver\r\nContent-Length: 99\r\n\r\n" + escapes,
		"result in escapes":    listens + sealed(`{"op":"result","id":1,"result":"failed","kind":"refused","error":"`+quoted+`"}`) + end,
		"stored in escapes":    listens + sealed(`{"op":"result","id":1,"result":"stored","size":7,"as":"a%1b%5b2J%0d","digest":"`+sum("content")+`"}`) + end,
		"failure in escapes":   listens + sealed(`{"op":"fail","kind":"violation","error":"`+quoted+`"}`),
		"op in escapes":        listens + sealed(`{"op":"`+quoted+`","id":-1}`),
		"a lie about a digest": listens + sealed(`{"op":"result","id":1,"result":"stored","size":7,"digest":"`+sum("other")+`"}`) + sealed(`{"end":{}}`),
		"an end at once":       listens + sealed(`{"end":{}}`),
		"a line without end":   listens + strings.Repeat("x", 1<<20),
		"a head without end":   "HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", 1<<20),
		"no JSON":              listens + sealed(escapes),
		"no line":              listens + escapes + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := hostile(t, text)
			dir := t.TempDir()
			testkit.WriteFile(t, filepath.Join(dir, "f"), "content")
			p := startPurr(t, opts{dir: dir}, "--push", "--hello-timeout", "2", "--idle-timeout", "2", host, port, "f")
			tame(p)
		})
	}
}

func TestHostileSender(t *testing.T) {
	t.Parallel()
	id := 0
	file := func(path string) string {
		id++
		return sealed(fmt.Sprintf(`{"op":"file","id":%d,"path":%q,"size":4,"n":4,"digest":%q}`, id, path, sum("evil"))) + "evil"
	}
	other := func(format string, args ...any) string {
		id++
		return sealed(fmt.Sprintf(`{"id":%d,`, id) + fmt.Sprintf(format, args...) + "}")
	}
	end := sealed(`{"end":{"streams":1}}`)
	outside := t.TempDir()
	for name, lines := range map[string]string{
		"up":                 file("../x") + end,
		"escaped up":         file("%2e%2e/x") + end,
		"absolute":           file("%2ftmp%2fpurr-evil") + end,
		"control":            file("a%1b[2J%0dharmless") + end,
		"through a link":     other(`"op":"link","path":"l","target":%q`, outside) + file("l/x") + end,
		"link upwards":       other(`"op":"link","path":"l","target":"../.."`) + end,
		"link over a file":   file("f") + other(`"op":"link","path":"f","target":"x"`) + end,
		"link in escapes":    other(`"op":"link","path":"l","target":"a%%1b[2J"`) + end,
		"directory upwards":  other(`"op":"dir","path":"..","mode":511`) + end,
		"hidden":             file(".ssh/authorized_keys") + end,
		"partial":            file(".purr-part-0123456789abcdef") + end,
		"negative size":      other(`"op":"file","path":"f","size":-4`) + end,
		"huge body":          other(`"op":"file","path":"f","size":1099511627776,"n":1099511627776`) + "evil",
		"huge file":          other(`"op":"offer","path":"f","size":9223372036854775807`) + end,
		"many files":         strings.Repeat(other(`"op":"offer","path":"f","size":1000000`), 9) + end,
		"bad digest":         other(`"op":"file","path":"f","size":4,"n":4,"digest":"AAAA"`) + "evil" + end,
		"reason in escapes":  sealed(`{"op":"left","path":"f","error":"\u001b[2J\rharmless\u202e"}`) + end,
		"failure in escapes": sealed(`{"op":"fail","kind":"\u001b[2J","error":"\u001b[2J\rharmless\u202e"}`),
		"a line without end": strings.Repeat("x", 1<<20),
		"odd kind":           sealed(`{"op":"left","path":"f","kind":"fine","error":"no"}`) + sealed(`{"end":{"worst":"fine"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := hostile(t, welcome(push.Sender)+lines)
			above := t.TempDir()
			into := filepath.Join(above, "in")
			if err := os.Mkdir(into, 0o755); err != nil {
				t.Fatal(err)
			}
			p := startPurr(t, opts{}, "--pull", "--hello-timeout", "5", "--idle-timeout", "5", host, port, into)
			tame(p)
			for dir, most := range map[string]int{above: 1, outside: 0, into: 1} {
				if found, _ := os.ReadDir(dir); len(found) > most {
					t.Errorf("%s holds %v", dir, found)
				}
			}
			testkit.Absent(t, "/tmp/purr-evil")
		})
	}
}

// Bytes that begin like HTTP/2 and are none end the connection, not the
// listener.
func TestPullGarbage(t *testing.T) {
	t.Parallel()
	p, addr, into := startPull(t, "-k", "--hello-timeout", "5")
	for _, garbage := range []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + testkit.Noise(100_000), "PUT /f HTTP/1.1\r\n" + testkit.Noise(1000), "GET " + strings.Repeat("/", 200_000), "PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nevil!"} {
		c := dialTest(t, "tcp", addr)
		_, _ = io.WriteString(c, garbage)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	}
	if resp, body := ask(t, addr, putRequest("/good")); resp.StatusCode != http.StatusCreated {
		t.Errorf("%s %q", resp.Status, body)
	}
	p.runs()
	(&transfer{t: t, into: into}).leaves("good")
}

// A client that begins a transfer and closes, or sends an invalid message.
func TestHostileClient(t *testing.T) {
	t.Parallel()
	t.Run("gone at once", func(t *testing.T) {
		t.Parallel()
		p, addr, into := startPull(t)
		c, _ := hello(t, addr, push.Sender)
		testkit.Reset(t, c)
		p.ends(3)
		said(p, `purr: 127\.0\.0\.1 port \d+: transfer cut: the other end closed the connection$`)
		(&transfer{t: t, into: into}).leaves()
	})
	for name, line := range map[string]string{"no line": `{"op":"want","id":1}`, "no name": `{"op":"link","id":1,"path":"%zz"}`, "no JSON": "}", "twice the same id": `{"op":"link","id":0,"path":"l"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, addr, _ := startPull(t, "-k")
			c, _ := hello(t, addr, push.Sender)
			writeAll(t, c, sealed(line))
			p.waitErr(regexp.MustCompile(`purr: 127\.0\.0\.1 port \d+: .+\n`))
			p.runs()
			p, addr, _ = startPull(t)
			c, in := hello(t, addr, push.Sender)
			writeAll(t, c, sealed(line))
			if answer, err := in.ReadString('\n'); !strings.HasPrefix(answer, `{"op":"fail",`) {
				t.Errorf("%q, %v", answer, err)
			}
			_ = c.Close()
			p.ends(6)
		})
	}
	t.Run("a damaged line", func(t *testing.T) {
		t.Parallel()
		p, addr, into := startPull(t)
		c, _ := hello(t, addr, push.Sender)
		writeAll(t, c, strings.Replace(sealed(`{"op":"file","id":1,"path":"a","size":4,"n":4,"digest":"`+sum("evil")+`"}`), `"a"`, `"b"`, 1)+"evil")
		_ = c.Close()
		p.ends(5)
		said(p, `transfer cut: a line was damaged on the way$`)
		(&transfer{t: t, into: into}).leaves()
	})
	t.Run("an end at once", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		testkit.WriteFile(t, filepath.Join(dir, "small"), "content")
		testkit.WriteFile(t, filepath.Join(dir, "large"), testkit.Noise(store.SmallFile+1))
		for _, name := range []string{"small", "large"} {
			p, addr := startPush(t, dir, name)
			c, in := hello(t, addr, push.Receiver)
			_, _ = in.ReadString('\n')
			writeAll(t, c, sealed(`{"end":{}}`))
			go io.Copy(io.Discard, in)
			_ = c.(*net.TCPConn).CloseWrite()
			p.ends(6)
			said(p, `purr: 127\.0\.0\.1 port \d+: an end without an answer about every file$`)
		}
	})
}

// A receiver that dials and confirms content that it was not sent.
func TestHostileDigest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	testkit.WriteFile(t, filepath.Join(dir, "small"), "content")
	testkit.WriteFile(t, filepath.Join(dir, "large"), testkit.Noise(store.SmallFile+1))
	for _, name := range []string{"small", "large"} {
		for _, line := range []string{
			`{"op":"result","id":1,"result":"stored","size":7,"digest":"` + sum("other") + `"}`,
			`{"op":"result","id":1,"result":"identical","size":7,"digest":"` + sum("other") + `"}`,
			`{"op":"result","id":1,"result":"stored","size":7}`,
		} {
			p, addr := startPush(t, dir, name)
			c, in := hello(t, addr, push.Receiver)
			if offer, err := in.ReadString('\n'); !strings.Contains(offer, name) {
				t.Fatalf("%q, %v", offer, err)
			}
			writeAll(t, c, sealed(line))
			for heard := ""; !strings.Contains(heard, `{"end"`); {
				var err error
				if heard, err = in.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			writeAll(t, c, sealed(`{"end":{}}`))
			go io.Copy(io.Discard, in)
			_ = c.(*net.TCPConn).CloseWrite()
			p.ends(5)
			said(p, `^purr: `+name+`: digest mismatch: what is stored there is not what was sent$`)
		}
	}
}

// A listener that answers the hello of a further connection with fields that
// have no end.
func TestHostileStream(t *testing.T) {
	t.Parallel()
	p, addr, into := startPull(t, "-k", "--hello-timeout", "5")
	const most = 100 << 20
	flood := listenTest(t)
	go func() {
		for n := 0; ; n++ {
			in, err := flood.AcceptTCP()
			if err != nil {
				return
			}
			if n == 0 { // the first one
				out := dialTest(t, "tcp", addr).(*net.TCPConn)
				go func() { _, _ = io.Copy(out, in); _ = out.CloseWrite() }()
				go func() { _, _ = io.Copy(in, out); _ = in.CloseWrite() }()
				continue
			}
			go func() {
				defer in.Close()
				_, _ = io.WriteString(in, "HTTP/1.1 101 Switching Protocols\r\n")
				for sent := 0; sent < most; {
					n, err := fmt.Fprintf(in, "X: %s\r\n", strings.Repeat("a", 32<<10))
					if sent += n; err != nil {
						return
					}
				}
				t.Error("all of it was taken")
			}()
		}
	}()
	x := newTransfer(t, push.Receiver)
	want := x.several(3, 1_000_000)
	x.into = into
	host, port, _ := net.SplitHostPort(flood.Addr().String())
	d := startPurr(t, opts{dir: x.from}, append([]string{"--push", "--hello-timeout", "5", host, port}, x.paths...)...)
	modest(d)
	d.ends(0) // over the first one
	x.arrived(want)
	p.runs()
}

// Purr of another version, also one that speaks HTTP/2, learns that it is.
func TestOtherVersion(t *testing.T) {
	t.Parallel()
	for name, protocols := range map[string]func(*http.Protocols){"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) }, "HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, addr, into := startPull(t)
			transport := &http.Transport{Protocols: new(http.Protocols)}
			protocols(transport.Protocols)
			defer transport.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/", strings.NewReader("{}\n"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Purr", "sender")
			if name == "HTTP/1.1" {
				req.Header.Set("Connection", "Upgrade")
				req.Header.Set("Upgrade", "purr-files/9")
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusUpgradeRequired || resp.Header.Get("Purr") != "receiver" {
				t.Errorf("%s %v", resp.Status, resp.Header)
			}
			p.ends(6)
			(&transfer{t: t, into: into}).leaves()
		})
	}
}
