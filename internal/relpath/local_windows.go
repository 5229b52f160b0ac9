package relpath

import "path/filepath"

// isLocal reports whether path names no device, drive or stream.
func isLocal(path string) bool {
	_, err := filepath.Localize(path)
	return err == nil
}
