package offer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"a", "b", "b/deep"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join("b", "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		paths []string
		want  string
	}{
		{[]string{"a", "b", "b/deep"}, ""},
		{[]string{".", "b/deep"}, ""},
		{[]string{"a", "b/a"}, "a and b/a have the same name at the other end"},
		{[]string{".", "b/a"}, "b/a, and what is in ., have the same name at the other end"},
		{[]string{"b", "."}, "b, and what is in ., have the same name at the other end"},
		{[]string{".", "b/.."}, ". and b/.. have the same name at the other end"},
		{[]string{"a", os.DevNull}, "push " + os.DevNull + ": " + ErrNotAFile.Error()},
	} {
		if err := Check(c.paths); err == nil && c.want != "" || err != nil && err.Error() != c.want {
			t.Errorf("%q: %v, want %q", c.paths, err, c.want)
		}
	}
	var path *fs.PathError
	if err := Check([]string{"a", "missing"}); !errors.As(err, &path) || path.Path != "missing" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
