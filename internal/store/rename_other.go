//go:build !linux && !darwin

package store

import "os"

// renameNoReplace does nothing: there is no such system call.
func renameNoReplace(*os.File, string, string) (handled bool, err error) { return false, nil }
