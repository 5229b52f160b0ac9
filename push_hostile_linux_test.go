package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"purr/internal/digest"
	"purr/internal/store"
	"purr/internal/testkit"
)

// A listener that says it is a purr, and means harm.

// hostile serves unencrypted HTTP/2 with a handler of the test's.
func hostile(t testing.TB, h http.HandlerFunc) (host, port string) {
	t.Helper()
	ln := listenTest(t)
	_ = ln.SetDeadline(time.Time{})
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	return "127.0.0.1", portOf(t, ln.Addr())
}

// says answers the exchange of a purr with a role and the lines as they stand.
func says(as role, code int, lines string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(headerRole, string(as))
		w.WriteHeader(code)
		_, _ = io.WriteString(w, lines)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// tame checks that an ended process failed, and that what a peer said does
// nothing to the terminal.
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
	quotedEscapes := `\u001b[2J\u001b]0;owned\u0007\rharmless\u009b31m\u202e`
	for name, h := range map[string]http.HandlerFunc{
		"refuses in escapes":   says(roleReceiver, http.StatusServiceUnavailable, escapes),
		"role in escapes":      says(role("sender%1b"), http.StatusOK, ""),
		"result in escapes":    says(roleReceiver, http.StatusOK, `{"href":"f","result":"failed","status":4,"error":"`+quotedEscapes+`"}`+"\n"+`{"end":{"status":4}}`+"\n"),
		"name in escapes":      says(roleReceiver, http.StatusOK, `{"href":"a%1b%5b2J%0d","result":"failed","status":4,"error":"no"}`+"\n"+`{"end":{"status":4}}`+"\n"),
		"a lie about a digest": says(roleReceiver, http.StatusOK, `{"href":"f","result":"stored","size":7,"digest":"`+digest.Field(testkit.SHA256("other"))+`"}`+"\n"+`{"end":{}}`+"\n"),
		"an end at once":       says(roleReceiver, http.StatusOK, `{"end":{}}`+"\n"),
		"a line without end":   says(roleReceiver, http.StatusOK, strings.Repeat("x", 1<<20)),
		"no JSON":              says(roleReceiver, http.StatusOK, escapes+"\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := hostile(t, h)
			dir := t.TempDir()
			testkit.WriteFile(t, filepath.Join(dir, "f"), "content")
			p := startPurr(t, opts{dir: dir}, "--push", "--hello-timeout", "2", "--idle-timeout", "2", host, port, "f")
			tame(p)
		})
	}
}

func TestHostileSender(t *testing.T) {
	t.Parallel()
	file := func(href string) string {
		return fmt.Sprintf(`{"href":%q,"size":4,"body":true,"digest":%q}`+"\nevil", href, digest.Field(testkit.SHA256("evil")))
	}
	end := `{"end":{}}` + "\n"
	outside := t.TempDir()
	for name, lines := range map[string]string{
		"up":                 file("../x") + end,
		"escaped up":         file("%2e%2e/x") + end,
		"absolute":           file("%2ftmp%2fpurr-evil") + end,
		"control":            file("a%1b[2J%0dharmless") + end,
		"through a link":     fmt.Sprintf(`{"href":"l","type":"link","target":%q}`+"\n", outside) + file("l/x") + end,
		"link upwards":       `{"href":"l","type":"link","target":"../.."}` + "\n" + end,
		"link over a file":   file("f") + `{"href":"f","type":"link","target":"x"}` + "\n" + end,
		"directory upwards":  `{"href":"..","type":"dir","mode":"0777"}` + "\n" + end,
		"hidden":             file(".ssh/authorized_keys") + end,
		"partial":            file(".purr-part-0123456789abcdef") + end,
		"negative size":      `{"href":"f","size":-4,"body":true}` + "\n" + end,
		"huge body":          `{"href":"f","size":1099511627776,"body":true}` + "\nevil",
		"huge file":          `{"href":"f","size":9223372036854775807}` + "\n" + end,
		"bad digest":         `{"href":"f","size":4,"body":true,"digest":"sha-256=:AAAA:"}` + "\nevil" + end,
		"reason in escapes":  `{"href":"f","result":"failed","status":4,"error":"\u001b[2J\rharmless\u202e"}` + "\n" + end,
		"a line without end": strings.Repeat("x", 1<<20),
		"odd status":         `{"href":"f","result":"failed","status":0,"error":"no"}` + "\n" + `{"end":{"status":-7}}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := hostile(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost {
					http.Error(w, escapes, http.StatusNotFound)
					return
				}
				says(roleSender, http.StatusOK, lines)(w, r)
			})
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

// Bytes that begin like HTTP/2 and are none end the connection, not the listener.
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

// A client that begins an exchange and goes, or says what no purr says.
func TestHostileClient(t *testing.T) {
	t.Parallel()
	t.Run("gone at once", func(t *testing.T) {
		t.Parallel()
		p, addr, into := startPull(t)
		c := dialTest(t, "tcp", addr)
		writeAll(t, c, beginExchange(roleSender)+frame(3, 0, 1, "\x00\x00\x00\x08"))
		testkit.Reset(t, c)
		testkit.Eventually(t, "an upload is taken", func() bool {
			resp, _ := ask(t, addr, putRequest("/f"))
			return resp.StatusCode == http.StatusCreated
		})
		p.ends(0)
		hasContent(t, filepath.Join(into, "f"), "evil")
	})
	for name, line := range map[string]string{"no line": `{"href":"a"}`, "no name": `{"href":"%zz","type":"link"}`, "no JSON": "}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, addr, _ := startPull(t, "-k")
			c := dialTest(t, "tcp", addr)
			writeAll(t, c, beginExchange(roleSender)+frame(0, 0, 1, line+"\n"))
			p.waitErr(regexp.MustCompile(`purr: 127\.0\.0\.1 port \d+: .+\n`))
			p.runs()
			p, addr, _ = startPull(t)
			c = dialTest(t, "tcp", addr)
			writeAll(t, c, beginExchange(roleSender)+frame(0, 0, 1, line+"\n"))
			p.ends(6)
		})
	}
	t.Run("an end at once", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		testkit.WriteFile(t, filepath.Join(dir, "small"), "content")
		testkit.WriteFile(t, filepath.Join(dir, "large"), testkit.Noise(store.SmallFile+1))
		for _, name := range []string{"small", "large"} {
			p, addr := startPush(t, dir, name)
			c := dialTest(t, "tcp", addr)
			writeAll(t, c, beginExchange(roleReceiver)+frame(0, 1, 1, `{"end":{}}`+"\n"))
			p.ends(6)
			said(p, `purr: 127\.0\.0\.1 port \d+: an end without an answer about every file\n`)
		}
	})
}

// A receiver that dials and says to have stored what it was not sent.
func TestHostileDigest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	testkit.WriteFile(t, filepath.Join(dir, "small"), "content")
	testkit.WriteFile(t, filepath.Join(dir, "large"), testkit.Noise(store.SmallFile+1))
	for _, name := range []string{"small", "large"} {
		for _, line := range []string{
			`{"href":%q,"result":"stored","size":7,"digest":"` + digest.Field(testkit.SHA256("other")) + `"}`,
			`{"href":%q,"result":"identical","size":7,"digest":"` + digest.Field(testkit.SHA256("other")) + `"}`,
			`{"href":%q,"result":"stored","size":7}`,
		} {
			p, addr := startPush(t, dir, name)
			c := dialTest(t, "tcp", addr)
			writeAll(t, c, beginExchange(roleReceiver))
			var heard strings.Builder
			for b := make([]byte, 4096); !strings.Contains(heard.String(), name); {
				n, err := c.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				heard.Write(b[:n])
			}
			writeAll(t, c, frame(0, 1, 1, fmt.Sprintf(line, name)+"\n"+`{"end":{}}`+"\n"))
			p.ends(5)
			said(p, `purr: `+name+`: `+notSent+`\n`)
		}
	}
}

// A receiver that listens and has an answer to the upload before a byte of it.
func TestHostileCreated(t *testing.T) {
	t.Parallel()
	host, port := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			w.Header().Set(headerRole, string(roleReceiver))
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			for lines := bufio.NewScanner(r.Body); lines.Scan() && !strings.Contains(lines.Text(), `"end"`); {
			}
			_, _ = io.WriteString(w, `{"end":{}}`+"\n")
		case http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case http.MethodPut:
			w.WriteHeader(http.StatusCreated)
		}
	})
	dir := t.TempDir()
	testkit.WriteFile(t, filepath.Join(dir, "large"), testkit.Noise(1_000_000))
	p := startPurr(t, opts{dir: dir}, "--push", host, port, "large")
	p.ends(5)
	said(p, `purr: large: `+notSent)
}

// A listener that answers a lane's first request with fields that have no end.
func TestHostileLane(t *testing.T) {
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
			if n == 0 { // the exchange's own
				out := dialTest(t, "tcp", addr)
				go func() { _, _ = io.Copy(out, in) }()
				go func() { _, _ = io.Copy(in, out) }()
				continue
			}
			go func() {
				defer in.Close()
				_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n")
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
	dir := t.TempDir()
	testkit.WriteFile(t, filepath.Join(dir, "large"), testkit.Noise(1_000_000))
	host, port, _ := net.SplitHostPort(flood.Addr().String())
	d := startPurr(t, opts{dir: dir}, "--push", "--hello-timeout", "5", host, port, "large")
	modest(d)
	d.ends(0) // beside the exchange
	hasContent(t, filepath.Join(into, "large"), testkit.Noise(1_000_000))
	p.runs()
}

// An upload over a lane breaks off inside its chunks, and the sender's account
// says that all is well.
func TestHostileChunk(t *testing.T) {
	t.Parallel()
	p, addr, into := startPull(t)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	r, say := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(headerRole, string(roleSender))
	req.Header.Set("Content-Type", typeLines)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := ask(t, addr, "PUT /f HTTP/1.1\r\nHost: localhost\r\n"+headerLane+": "+resp.Header.Get(headerLane)+"\r\n"+
		headerLength+": 3000000\r\nTransfer-Encoding: chunked\r\n\r\n186a00\r\n"+testkit.Noise(0x186a00)+"\r\nzzz\r\n")
	if answer.StatusCode != http.StatusBadRequest {
		t.Error(answer.Status)
	}
	writeAll(t, say, `{"end":{"files":1}}`+"\n")
	_ = say.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	p.ends(3)
	testkit.Absent(t, filepath.Join(into, "f"))
}

// beginExchange is how a purr that dials begins.
func beginExchange(as role) string {
	fields := map[string]string{":method": "POST", ":scheme": "http", ":path": "/", ":authority": "localhost", "purr": string(as), "content-type": typeLines}
	head := ""
	for _, name := range slices.Sorted(maps.Keys(fields)) { // those with a colon first, as literals without Huffman
		head += "\x00" + string(rune(len(name))) + name + string(rune(len(fields[name]))) + fields[name]
	}
	return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "") + frame(1, 4, 1, head)
}

// frame is a frame of HTTP/2: RFC 9113, section 4.1.
func frame(kind, flags byte, stream uint32, payload string) string {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	return string(binary.BigEndian.AppendUint32(append(head[1:], kind, flags), stream)) + payload
}
