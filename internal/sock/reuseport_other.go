//go:build unix && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package sock

// reusePort does nothing: SO_REUSEADDR suffices.
func reusePort(int) error { return nil }
