//go:build !linux && !darwin

package store

import "os"

func RenameNoReplace(*os.File, string, string) (handled bool, err error) { return false, nil }
