package tlsconn

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/sys"
	"purr/internal/testkit"
)

// One line is read and no byte behind it.
func TestReadKeyLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, line, rest, says string }{
		{"KEY\npayload\n", "KEY", "payload\n", ""},
		{"KEY\r\n\n", "KEY\r", "\n", ""},
		{"KEY", "KEY", "", ""},
		{"\npayload", "", "payload", ""},
		{"", "", "", "is empty"},
		{strings.Repeat("x", 5000), "", strings.Repeat("x", 5000-maxKeyLine), "no key"},
	} {
		r := strings.NewReader(test.in)
		line, err := readKeyLine(r)
		rest, _ := io.ReadAll(r)
		if line != test.line || string(rest) != test.rest || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: line %s, rest %s, %v", testkit.Brief(test.in), testkit.Brief(line), testkit.Brief(string(rest)), err)
		}
	}
}

// A key file is its first line, and belongs to its owner alone.
func TestLoadKey(t *testing.T) {
	t.Parallel()
	k, path := NewKey(), filepath.Join(t.TempDir(), "key")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write(k.String()+"\r\nremarks\n", 0o600)
	if got, err := LoadKey(path); got != k || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if !sys.ModeTellsUsers {
		return
	}
	for mode, says := range map[os.FileMode]string{0o640: "mode 0640", 0o602: "mode 0602"} {
		write(k.String(), mode)
		if got, err := LoadKey(path); got != (Key{}) || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, %v", got, err)
		}
	}
	write("hunter2\n", 0o600)
	if _, err := LoadKey(path); err != ErrNoKey {
		t.Error(err)
	}
	if _, err := LoadKey(path + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
