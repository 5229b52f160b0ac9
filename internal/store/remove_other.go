//go:build !windows

package store

import "os"

// remove removes the entry name from root.
func remove(root *os.Root, name string) error { return root.Remove(name) }
