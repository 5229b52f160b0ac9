package offer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/testkit"
)

// System files with wrong sizes are refused: they are sent neither padded with
// zeros nor truncated.
func TestWrongSizes(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/sys/class/net/lo/mtu": "holds less than its size says",
		"/proc/version":         "holds more than its size says",
	} {
		for _, live := range []bool{false, true} {
			info, err := os.Stat(path)
			if err != nil {
				testkit.NotHere(t, "the file: "+err.Error())
			}
			s := open(t, live, path)
			name := filepath.Base(path)
			if _, content, sum, err := s.Read(Entry{Path: name, info: info}); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s, live %t: %q %x, %v", path, live, content, sum, err)
			}
			f, err := s.Open(name)
			if err != nil {
				if !strings.HasPrefix(err.Error(), want) {
					t.Errorf("%s, live %t: %v", path, live, err)
				}
				continue
			}
			defer f.Close()
			b, err := f.Body(0, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				var block []byte
				if block, err = b.Next(1000); err == nil {
					b.Put(block)
				}
			}
			if sum, err := b.Sum(); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s, live %t, in blocks: %x, %v", path, live, sum, err)
			}
			if _, err := f.Hash(f.Size, func(int) error { return nil }); err == nil {
				t.Errorf("%s, live %t: hashed", path, live)
			}
		}
	}
}
