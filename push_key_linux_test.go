package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// --push and --pull with a key: the files arrive, a wrong key or
// none ends the dialer and not the listener, and nothing is stored or shown.
func TestPushWithKey(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	content := testkit.Noise(3_000_000)
	source := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(source, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a": content, "deep/b": "small\n", "deep/.hidden": "h"} {
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	arrived := func(t *testing.T, dir string) {
		t.Helper()
		for name, want := range map[string]string{"a": content, "deep/b": "small\n", "deep/.hidden": "h"} {
			if got, err := os.ReadFile(filepath.Join(dir, "tree", name)); err != nil || string(got) != want {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	}
	for _, receiverListens := range []bool{true, false} {
		for _, with := range []string{"the key", "another key", "none here", "none there"} {
			name := "sender listens, " + with
			if receiverListens {
				name = "receiver listens, " + with
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				push, pull := []string{"--push"}, []string{"--pull"}
				listens, dials := push, pull
				if receiverListens {
					listens, dials = pull, push
				}
				operand := map[string]string{"--push": source, "--pull": dir}
				lo, do := opts{env: keyed(k)}, opts{env: keyed(k)}
				ls, ds := 0, 0
				switch with {
				case "another key":
					do, ls, ds = opts{env: keyed(tlsconn.NewKey())}, goesOn, 7
				case "none here":
					do, ls, ds = opts{}, goesOn, 6
				case "none there":
					lo, ls, ds = opts{}, 6, 6
				}
				l := startPurr(t, lo, append(listens, "-v", "-l", "127.0.0.1", "0", operand[listens[0]])...)
				d := startPurr(t, do, append(dials, "127.0.0.1", l.port(), operand[dials[0]])...)
				d.ends(ds)
				if ls == goesOn {
					l.waitErr(regexp.MustCompile("handshake with 127.0.0.1 port .*: the other end (does not hold our key|sends clear text)"))
					l.runs()
				} else {
					l.ends(ls)
				}
				if with == "the key" {
					arrived(t, dir)
					l.waitErr(encryptedNow())
					return
				}
				if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
					t.Errorf("%v was stored, %v", left, err)
				}
			})
		}
	}
}

// Clients without the key neither see the files that -k serves, nor end it.
func TestPushKeepWithKey(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	file, dir := testkit.TempFile(t, "the content"), t.TempDir()
	l := startPurr(t, opts{env: keyed(k)}, "--push", "-lk", "127.0.0.1", "0", file)
	c := dialTest(t, "tcp", l.addr())
	writeAll(t, c, "GET /file HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	if got, _ := readAllOf(c); strings.Contains(got, "content") {
		t.Errorf("a stranger got %q", got)
	}
	silentOne := dialTest(t, "tcp", l.addr())
	d := startPurr(t, opts{env: keyed(k)}, "--pull", "127.0.0.1", l.port(), dir)
	d.ends(0)
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "the content" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = silentOne.Close()
	l.runs()
}

// readAllOf reads to the end of a connection, which may be a reset.
func readAllOf(c interface{ Read([]byte) (int, error) }) (string, error) {
	var b strings.Builder
	for buf := make([]byte, 4096); ; {
		n, err := c.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String(), err
		}
	}
}
