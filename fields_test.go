package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"purr/internal/digest"
	"purr/internal/store"
)

// What peers say, read and written.

func TestMtimeField(t *testing.T) {
	t.Parallel()
	for _, when := range []time.Time{time.Unix(0, 0), time.Unix(1, 1), time.Unix(1e9, 120_000_000), time.Unix(-5, 999_999_999), time.Unix(1<<40, 5)} {
		if got, err := parseMtime(mtimeField(when)); err != nil || !got.Equal(when) {
			t.Errorf("%v became %q, and then %v (%v)", when, mtimeField(when), got, err)
		}
	}
	for _, text := range []string{"x", "1.x", ".5", "1.0123456789", "99999999999999999999", "1 2"} {
		if got, err := parseMtime(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

// No line of a peer's does more than fail, and what is read means the same when
// it is written and read again.
func FuzzDecodeEntry(f *testing.F) {
	for _, line := range []string{`{}`, `{"href":"a%20b","size":3,"mode":"0644","mtime":"1.5","body":true}`, `{"end":{"files":1}}`, `{"href":"%zz"}`, `{"href":"..%2f..","type":"link","target":"/etc"}`, `{"size":-1,"body":true}`, `[`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := decodeEntry(line)
		if err != nil {
			return
		}
		name, err := e.name()
		if err != nil {
			return
		}
		_, _ = e.arrival(name)
		again := &entry{}
		again.setName(name)
		if got, err := again.name(); err != nil || got != name {
			t.Errorf("%q became %q, and then %q (%v)", name, again.Href, got, err)
		}
	})
}

func FuzzFields(f *testing.F) {
	for _, text := range []string{"", "0644", "7777", "-1", "1.5", "1.", "sha-256=:AAAA:", "sha-256=:" + strings.Repeat("A", 43) + "=:;a"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if sum, err := digest.Parse([]string{text}); sum != nil && (err != nil || len(sum) != 32) {
			t.Errorf("digest %q: %x, %v", text, sum, err)
		}
		if mode, err := parseMode(text); err == nil && mode&^store.ModeGiven != mode.Perm() {
			t.Errorf("mode %q: %v", text, mode)
		}
		if n, err := parseOffset(text); err == nil && n < 0 {
			t.Errorf("offset %q: %d", text, n)
		}
		if when, err := parseMtime(text); err == nil && !when.IsZero() {
			if again, err := parseMtime(mtimeField(when)); err != nil || !again.Equal(when) {
				t.Errorf("time %q: %v, and then %v (%v)", text, when, again, err)
			}
		}
		if speaksHTTP(text) && isPrefix([]byte(text)) {
			t.Errorf("%q is a request, and needs more bytes to tell", text)
		}
	})
}

// Whatever name is asked for, nothing but what is offered is opened.
func FuzzOffer(f *testing.F) {
	for _, name := range []string{"tree/in", "file", "tree/../secret", "/etc/passwd", "tree/out", "tree/up/secret", "tree/./in", "tree//in", "tree", ".", "..", "tree/in/", "tree/\x00"} {
		f.Add(name)
	}
	dir := f.TempDir()
	for name, content := range map[string]string{"secret": "secret", "tree/in": "offered", "one/file": "offered", "one/beside": "secret"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	for link, target := range map[string]string{"out": "../secret", "up": "..", "within": "in"} {
		if err := os.Symlink(target, filepath.Join(dir, "tree", link)); err != nil {
			f.Skip(err) // Windows wants a right for it
		}
	}
	o, err := openOffer([]string{filepath.Join(dir, "tree"), filepath.Join(dir, "one", "file")}, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(o.close)
	f.Fuzz(func(t *testing.T, name string) {
		file, _, err := o.open(name)
		if (err == nil) != (name == "tree/in" || name == "file") {
			t.Errorf("%q: %v", name, err)
		}
		if err != nil {
			return
		}
		defer file.Close()
		if b, err := io.ReadAll(file); err != nil || string(b) != "offered" {
			t.Errorf("%q: %q, %v", name, b, err)
		}
	})
}
