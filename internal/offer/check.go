package offer

import (
	"io/fs"
	"os"
	"path/filepath"

	"purr/internal/sys"
)

// A ClashError is about two paths with the same name at the receiver.
type ClashError struct {
	Path, Other string
	Inside      bool // Other is a directory without a name, such as ".", and an entry of it has Path's name
}

// Error names both paths.
func (e *ClashError) Error() string {
	if e.Inside {
		return e.Path + ", and what is in " + e.Other + ", have the same name at the other end"
	}
	return e.Path + " and " + e.Other + " have the same name at the other end"
}

// Check returns an error for paths that cannot be offered together, without
// opening them: a *fs.PathError for one of them, which may wrap ErrNotAFile, or
// a *ClashError.
func Check(paths []string) error {
	byName := make(map[string]string)
	for _, p := range paths {
		info, err := os.Stat(p)
		if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
			err = ErrNotAFile
		}
		if err != nil {
			return &fs.PathError{Op: "push", Path: p, Err: sys.Cause(err)}
		}
		name := NameOf(p)
		if other, twice := byName[name]; twice {
			return &ClashError{Path: other, Other: p}
		}
		byName[name] = p
	}
	whole, found := byName[""]
	for _, p := range paths {
		if name := NameOf(p); found && name != "" {
			if _, err := os.Lstat(filepath.Join(whole, name)); err == nil {
				return &ClashError{Path: p, Other: whole, Inside: true}
			}
		}
	}
	return nil
}
