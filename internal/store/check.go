package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"purr/internal/relpath"
)

// checkNew returns an error if no file can be stored at a path that does not
// exist: its name is a device's (nul on Windows), or CheckDir fails.
func checkNew(path string) error {
	if err := relpath.CheckHere(filepath.Base(path)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return CheckDir(filepath.Dir(path))
}

// CheckDir returns an error if no file can be stored in a directory: files
// cannot be created, or the directory cannot be opened to sync it.
func CheckDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if err := checkWritable(dir); err != nil {
		return fmt.Errorf("directory %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return root.Close()
}

// CheckFile returns an error if WriteFile cannot create the file: its directory
// is not writable, or path is a directory or a device.
func CheckFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	return CheckDir(filepath.Dir(path))
}
