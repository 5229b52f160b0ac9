package store

import (
	"fmt"
	"os"
)

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
