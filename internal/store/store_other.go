//go:build !linux

package store

import (
	"errors"
	"os"
	"time"
)

// openUnnamed fails: only Linux can open a file without a name in a directory
// (O_TMPFILE). The caller creates a named partial file instead.
func openUnnamed(dir *os.File) (*os.File, error) { return nil, errors.ErrUnsupported }

// linkUnnamed fails, as openUnnamed.
func linkUnnamed(f, dir *os.File, name string) error { return errors.ErrUnsupported }

// The partial file grows as it is written, gets its time by its name, and is
// synced alone.

// preallocate does nothing: done is false.
func preallocate(*os.File, int64, int64) (bool, error) { return false, nil }

// punchHole does nothing: the zeros stay allocated.
func punchHole(*os.File, int64, int64) {}

// setOpenTime fails: the time is set by name instead.
func setOpenTime(*os.File, time.Time) error { return errors.ErrUnsupported }

// syncFilesystem fails: each file is synced by itself.
func syncFilesystem(*os.File) bool { return false }

// writebackError is not called, because syncFilesystem fails.
func writebackError(*os.File) error { return nil }
