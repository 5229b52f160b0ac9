package proc

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The functions run once, the last one first, and a file is removed unless
// another has replaced it.
func TestCleanups(t *testing.T) {
	t.Parallel()
	var c Cleanups
	var order []int
	c.Add(func() { order = append(order, 1) })
	c.Add(func() { order = append(order, 2) })
	dir := t.TempDir()
	ours, replaced := filepath.Join(dir, "ours"), filepath.Join(dir, "replaced")
	for _, path := range []string{ours, replaced} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{ours, replaced, "", "@abstract", filepath.Join(dir, "missing")} {
		c.RemoveFile(path)
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "new"), replaced); err != nil {
		t.Fatal(err)
	}
	c.Run()
	c.Run()
	if !slices.Equal(order, []int{2, 1}) {
		t.Errorf("%v", order)
	}
	if _, err := os.Stat(ours); err == nil {
		t.Errorf("%s is still there", ours)
	}
	if _, err := os.Stat(replaced); err != nil {
		t.Errorf("%v", err)
	}
}
