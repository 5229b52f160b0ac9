//go:build !linux && !darwin

package store

import "os"

func renameNoReplace(*os.File, string, string) (handled bool, err error) { return false, nil }
