package store

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// CheckRaw refuses what OpenRaw would not store, and what may be meant in two
// ways; it creates nothing.
func TestCheckRaw(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if direct, err := CheckRaw(os.DevNull, false); !direct || err != nil {
		t.Errorf("%s: %v, %v", os.DevNull, direct, err)
	}
	for _, c := range []struct {
		name  string
		force bool
		want  string // of the error; empty: none
	}{
		{"new", false, ""}, {"old", true, ""}, {"old", false, "old exists"},
		{".", true, "is a directory: name a file in it"}, {"no/", false, "no/ is a directory that does not exist: name the file in it"},
		{"no/f", false, "no"}, {"old/f", true, "old"},
	} {
		direct, err := CheckRaw(dir+"/"+c.name, c.force)
		if direct || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %v: %v, %v", c.name, c.force, direct, err)
		}
		if errors.Is(err, ErrExists) != (c.want == "old exists") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if there := names(t, dir); there != "old" {
		t.Errorf("%q is there", there)
	}
}

// A complete file gets its name; one that is not is removed, or kept and
// reported once. A file that exists is replaced only with Force.
func TestRawFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var kept []string
	keep := func(path string, size int64, err error) {
		if size != 4 || err != nil {
			t.Errorf("kept %d bytes, %v", size, err)
		}
		kept = append(kept, path)
	}
	open := func(o RawOptions, content string) *RawFile {
		f, err := OpenRaw(t.Context(), path, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f.Writer(nil), content); err != nil || f.Direct() {
			t.Fatal(err, f.Direct())
		}
		return f
	}
	f := open(RawOptions{}, "lost")
	if name, size := f.Abort(); name != "" || size != 0 || f.Close() != nil || names(t, dir) != "" {
		t.Errorf("%q of %d bytes, and %q is there", name, size, names(t, dir))
	}
	for _, o := range []RawOptions{{}, {Kept: keep, Force: true}} {
		f = open(o, "good")
		if err := errors.Join(f.Commit(), f.Close()); err != nil || names(t, dir) != "f" {
			t.Errorf("%v, and %q is there", err, names(t, dir))
		}
	}
	f = open(RawOptions{Kept: keep}, "over")
	if err := f.Commit(); !errors.Is(err, os.ErrExist) {
		t.Errorf("without Force: %v", err)
	}
	name, size := f.Abort()
	if again, _ := f.Abort(); f.Close() != nil || size != 4 || again != name || len(kept) != 1 || kept[0] != name {
		t.Errorf("%q of %d bytes, then %q; reported: %q", name, size, again, kept)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "over" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "good" {
		t.Errorf("%q, %v", b, err)
	}
}

// A device is written to as it is, and nothing of it is aborted.
func TestRawDevice(t *testing.T) {
	t.Parallel()
	f, err := OpenRaw(t.Context(), os.DevNull, RawOptions{Direct: true, Kept: func(string, int64, error) { t.Error("kept") }})
	if err != nil {
		t.Fatal(err)
	}
	if dst := new(bytes.Buffer); f.Writer(dst) != dst || !f.Direct() {
		t.Errorf("%v", f.Writer(dst))
	}
	f.Abort()
	if err := f.Commit(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(os.DevNull); err != nil {
		t.Error(err)
	}
}
