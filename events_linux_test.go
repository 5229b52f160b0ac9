package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"purr/internal/push"
	"purr/internal/testkit"
)

func TestEvent(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := &logger{out: &out, json: true, level: 1}
	l.event("file", field{"path", "a/<b>&\"c\".bin"}, field{"size", int64(1) << 53}, field{"sha256", nil}, field{"ok", true}, field{"resumed_at", 2621440})
	l.event("x", field{"bad", "a\x80b\x1b[1m"}, field{"bidi", "a\u202eb\u009b31m\U000e0041\x7f"}, field{"nan", math.NaN()}, field{"err", errors.New("why")}, field{"seconds", 1.23456789})
	l.warnf("w %d", 1)
	l.verbosef("n")
	l.informf("i")
	l.ncLine(verbose, "Listening on nc's line has an event of its own")
	l.ncLine(always, "the same")
	l.fail(errors.Join(errors.New("one"), errors.New("two")))
	l.event("end", field{"status", 0})
	l.warnf("too late")
	want := `{"event":"file","path":"a/<b>&\"c\".bin","size":9007199254740992,"sha256":null,"ok":true,"resumed_at":2621440}
{"event":"x","bad":"a\\x80b\\x1b[1m","bidi":"a\u202eb\u009b31m\udb40\udc41\u007f","nan":"NaN","err":"why","seconds":1.235}
{"event":"warning","text":"w 1"}
{"event":"message","text":"n"}
{"event":"message","text":"i"}
{"event":"error","text":"one"}
{"event":"error","text":"two"}
{"event":"end","status":0}
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	parseEvents(t, out.String())

	out.Reset()
	l = &logger{out: &out, quiet: true}
	l.event("file")
	l.informf("hidden")
	if out.String() != "" {
		t.Errorf("got %q", out.String())
	}
}

// parseEvents checks that every line is an object, and that only the last one
// is the end, and returns them by name.
func parseEvents(t *testing.T, text string) map[string]map[string]any {
	t.Helper()
	events := make(map[string]map[string]any)
	for line := range strings.Lines(text) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.HasPrefix(line, `{"event":"`) {
			t.Errorf("%q is no event (%v)", line, err)
			continue
		}
		if events["end"] != nil {
			t.Errorf("%q comes after the end", line)
		}
		events[e["event"].(string)] = e
	}
	return events
}

// documentedEvents are the names in the section of the manual.
func documentedEvents(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("purr.1")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), ".Sh EVENTS")
	section, _, _ = strings.Cut(section, ".Sh ")
	names := make(map[string]bool)
	for line := range strings.Lines(section) {
		if _, after, is := strings.Cut(line, "Cm "); is {
			for _, word := range regexp.MustCompile(`[a-z_0-9]+`).FindAllString(after, -1) {
				names[word] = true
			}
		}
	}
	return names
}

var portEvent = pattern(`"event":"listen".*"port":(\d+)`)

// --json in every mode: whatever is on stderr is an event, with names that the
// manual has, and the last one has the status.
func TestJSON(t *testing.T) {
	t.Parallel()
	names := documentedEvents(t)
	check := func(t *testing.T, p *process, status int, want ...string) map[string]map[string]any {
		t.Helper()
		p.ends(status)
		events := parseEvents(t, p.err.String())
		for _, name := range append(want, "end") {
			if events[name] == nil {
				t.Errorf("%s: no %s event in\n%s", p.name, name, p.err)
			}
		}
		for name, e := range events {
			for member := range e {
				if !names[name] || !names[member] {
					t.Errorf("%s: the manual does not have %s of %s", p.name, member, name)
				}
			}
		}
		if end := events["end"]; end != nil && end["status"] != float64(status) {
			t.Errorf("%s: the end says %v, want %d", p.name, end["status"], status)
		}
		return events
	}
	listener := func(t *testing.T, args ...string) (p *process, port string) {
		t.Helper()
		p = startPurr(t, opts{}, append(args, "127.0.0.1", "0")...)
		return p, p.waitErr(portEvent())[1]
	}
	for _, args := range []string{"-l", "-l -v", "-l -k", "-l --echo", "-l -k --echo --upper", "-l --send-file go.mod", "-l --progress", "-l --rate 1M"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			server, port := listener(t, append(words(args), "--json")...)
			client := startPurr(t, opts{stdin: strings.NewReader("hello\n")}, "--json", "127.0.0.1", port)
			e := check(t, client, 0, "connect", "disconnect")
			if c := e["connect"]; c["role"] != "dial" || fmt.Sprint(c["port"]) != port || c["address"] != "127.0.0.1" || c["network"] != "tcp" {
				t.Errorf("connect: %v", c)
			}
			if d := e["disconnect"]; d["sent"] != 6.0 || d["how"] != "both ends finished" {
				t.Errorf("disconnect: %v", d)
			}
			status := 0
			if strings.Contains(args, "-k") {
				if server.err.Wait(regexp.MustCompile(`"event":"disconnect"`)) == nil {
					t.Errorf("no disconnect event")
				}
				server.signal(syscall.SIGTERM)
				status = 143
			}
			e = check(t, server, status, "listen", "connect", "disconnect")
			if c := e["connect"]; c["role"] != "accept" || fmt.Sprint(c["local_port"]) != port {
				t.Errorf("connect: %v", c)
			}
			if end := e["end"]; end["received"] != 6.0 || end["how"] != map[int]string{0: "finished", 143: "signal"}[status] {
				t.Errorf("end: %v", end)
			}
		})
	}
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		server, port := listener(t, "-u", "-l", "-k", "--echo", "--json")
		client := startPurr(t, opts{stdin: strings.NewReader("hello")}, "-u", "-w", "20", "-W", "1", "--json", "127.0.0.1", port)
		e := check(t, client, 0, "connect", "disconnect")
		if d := e["disconnect"]; d["sent"] != 5.0 || d["received"] != 5.0 {
			t.Errorf("disconnect: %v", d)
		}
		server.signal(syscall.SIGINT)
		check(t, server, 130, "listen", "connect")
	})
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(testkit.SocketDir(t), "s")
		server := startPurr(t, opts{}, "--json", "-l", "-U", path)
		server.waitErr(regexp.MustCompile(`"event":"listen"`))
		client := startPurr(t, opts{stdin: strings.NewReader("hello")}, "--json", "-U", path)
		if c := check(t, client, 0, "connect", "disconnect")["connect"]; c["path"] != path || c["network"] != "unix" {
			t.Errorf("connect: %v", c)
		}
		check(t, server, 0, "listen", "connect", "disconnect")
	})
	t.Run("failures", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		port := portOf(t, ln.Addr())
		client := startPurr(t, opts{openStdin: true}, "--json", "127.0.0.1", port)
		c := acceptTest(t, ln)
		writeAll(t, client.stdin, "x")
		testkit.ReadN(t, c, 1)
		testkit.Reset(t, c)
		check(t, client, 1, "connect", "disconnect", "error")
		check(t, startPurr(t, opts{}, "--json", "127.0.0.1", closedPorts(t, 1)[0]), 1, "error")
		check(t, startPurr(t, opts{}, "--json", "127.0.0.1", "99999"), 2, "error")
		check(t, startPurr(t, opts{}, "--no-such", "--json"), 2, "error")
		check(t, startPurr(t, opts{}, "--json", "-l", "--accept-timeout", "0.01", "127.0.0.1", "0"), 1, "listen", "error")
	})
	t.Run("connecting", func(t *testing.T) {
		t.Parallel()
		client := startPurr(t, opts{}, "-v", "--json", "--wait-for", "60", "127.0.0.1", closedPorts(t, 1)[0])
		client.waitErr(regexp.MustCompile(`"event":"error"`))
		client.signal(syscall.SIGINT)
		check(t, client, 130)
	})
	t.Run("raw files", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		content := testkit.Noise(quick)
		receive := func(name string, args ...string) (p *process, c *net.TCPConn) {
			args = append([]string{"-l", "--json", "--recv-file", filepath.Join(dir, name)}, args...)
			p, port := listener(t, args...)
			return p, dialTest(t, "tcp", "127.0.0.1:"+port).(*net.TCPConn)
		}
		p, c := receive("whole")
		writeAll(t, c, content)
		_ = c.CloseWrite()
		if f := check(t, p, 0, "file")["file"]; f["status"] != "stored" || f["size"] != float64(quick) || f["sha256"] != sha256Of(content) {
			t.Errorf("stored: %v", f)
		}
		p, c = receive("cut", "--keep-partial")
		writeAll(t, c, content)
		testkit.Eventually(t, "the bytes in a partial file", func() bool {
			partial, _ := filepath.Glob(filepath.Join(dir, ".cut.purr-*"))
			info, err := os.Stat(strings.Join(partial, ""))
			return err == nil && info.Size() == quick
		})
		testkit.Reset(t, c)
		f := check(t, p, 1, "file", "error")["file"]
		partial, _ := f["partial"].(string)
		if f["status"] != "failed" || f["kept"] != float64(quick) {
			t.Errorf("cut: %v", f)
		}
		hasContent(t, partial, content)
		p, c = receive("other", "--expect-size", "5")
		writeAll(t, c, "six by")
		_ = c.CloseWrite()
		if f := check(t, p, 5, "file", "error")["file"]; f["status"] != "damaged" || f["kept"] != nil {
			t.Errorf("unexpected: %v", f)
		}
		testkit.Absent(t, filepath.Join(dir, "other"))
		p, port := listener(t, "-l", "--json", "--expect-size", "5", "--recv-file", filepath.Join(dir, "reset"))
		e := check(t, startPurr(t, opts{}, "--json", "--send-file", testkit.TempFile(t, "six by"), "127.0.0.1", port), 1, "disconnect", "file", "error")
		if e["disconnect"]["how"] != "failed" {
			t.Errorf("a reset: %v", e["disconnect"])
		}
		if e := check(t, p, 5, "disconnect", "file", "error"); e["disconnect"]["how"] != "failed" {
			t.Errorf("not what was expected: %v", e["disconnect"])
		}
		p, port = listener(t, "-l", "--json", "--send-file", testkit.TempFile(t, testkit.Noise(eight)))
		testkit.Reset(t, dialTest(t, "tcp", "127.0.0.1:"+port))
		if f := check(t, p, 1, "file", "error")["file"]; f["status"] != "failed" {
			t.Errorf("not sent: %v", f)
		}
	})
	for _, listening := range []push.Role{push.Receiver, push.Sender} {
		t.Run("push, "+string(listening)+" listens", func(t *testing.T) {
			t.Parallel()
			x := newTransfer(t, listening, "d")
			x.file("d/small", "small")
			x.file("d/large", testkit.Noise(1_500_000))
			path := filepath.Join(testkit.SocketDir(t), "s")
			x.end(listening, "--json", "-l", "-U", path)
			x.listener().waitErr(regexp.MustCompile(`"event":"listen"`))
			x.end(listening.Other(), "--json", "-U", path)
			for _, p := range []*process{x.sender, x.receiver} {
				e := check(t, p, 0, "connect", "disconnect", "file", "summary")
				if s := e["summary"]; s["files"] != 2.0 || s["size"] != 1_500_005.0 || s["status"] != 0.0 {
					t.Errorf("summary: %v", s)
				}
			}
		})
	}
	t.Run("a new key", func(t *testing.T) {
		t.Parallel()
		server, port := listener(t, "-l", "--json", "--key-new")
		made := server.waitErr(regexp.MustCompile(`"event":"key","key":"([^"]+)","command":"purr --key-file key 127.0.0.1 (\d+)"`))
		if made[2] != port {
			t.Errorf("%s, not port %s", made[0], port)
		}
		client := startPurr(t, opts{stdin: strings.NewReader("hello\n"), env: []string{"PURR_KEY=" + made[1]}}, "127.0.0.1", port)
		client.ends(0)
		check(t, server, 0, "listen", "key", "connect", "disconnect")
		server.printed("hello\n")
	})
	t.Run("port checks", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{}, "-z", "--json", "127.0.0.1", closedPorts(t, 1)[0])
		p.ends(1)
		if p.err.String() != "" || !strings.HasPrefix(p.out.String(), `{"v":1,`) {
			t.Errorf("a result in JSON is for stdout%s", p.heard())
		}
	})
}
