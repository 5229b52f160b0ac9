package sys

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A name that is added to the hosts file is found at once.
func TestHostsFile(t *testing.T) {
	defer func(path string) { hostsFile = path }(hostsFile)
	hostsFile = filepath.Join(t.TempDir(), "hosts")
	if addrs := HostsFile("late"); addrs != nil {
		t.Errorf("without a file: %v", addrs)
	}
	for content, want := range map[string]string{
		"127.0.0.1 localhost\n": "[]",
		"127.0.0.1 localhost\n10.0.0.1\tother Late # late2\nx late\n::1 late\n": "[10.0.0.1 ::1]",
		"#10.0.0.1 late": "[]",
	} {
		if err := os.WriteFile(hostsFile, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(HostsFile("late.")); got != want {
			t.Errorf("%q: %s, want %s", content, got, want)
		}
	}
}
