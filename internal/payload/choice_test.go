package payload

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestValues(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p")
	os.WriteFile(file, []byte("from a file"), 0o600)
	for in, want := range map[string]string{"text:a:b": "a:b", "hex:41 42:43,44": "ABCD", "file:" + file: "from a file"} {
		var c Choice
		if err := c.Set(in); err != nil || c.custom == nil || string(c.custom) != want || c.String() != in {
			t.Errorf("%q: %q %v", in, c.custom, err)
		}
	}
	var c Choice
	if err := c.Set("-"); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(strings.NewReader("typed")); err != nil || string(c.custom) != "typed" {
		t.Error(c.custom, err)
	}
	if err := c.Set("-"); err != nil || c.Load(strings.NewReader(strings.Repeat("x", 70000))) == nil {
		t.Error("70,000 bytes fit a datagram")
	}
	for _, in := range []string{"", "text:", "hex:", "hex:4", "hex:zz", "file:/nonexistent", "nobody", "text:" + strings.Repeat("x", 65508), "file:/dev/zero"} {
		if err := new(Choice).Set(in); err == nil {
			t.Errorf("payload %.20q is taken", in)
		}
	}
	for _, in := range []string{"regex:", "regex:(", "prefix-hex:", "prefix-hex:x", "wireguard", "nobody", ""} {
		if err := new(Expect).Set(in); err == nil {
			t.Errorf("expectation %q is taken", in)
		}
	}
}
