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

func preallocate(*os.File, int64, int64) (bool, error) { return false, nil }
func punchHole(*os.File, int64, int64)                 {}
func setOpenTime(*os.File, time.Time) error            { return errors.ErrUnsupported }
func syncFilesystem(*os.File) bool                     { return false }
func writebackError(*os.File) error                    { return nil }
