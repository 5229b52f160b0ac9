//go:build !linux

package store

import (
	"errors"
	"os"
	"time"
)

// Only Linux has files without a name.

func openUnnamed(*os.File) (*os.File, error)    { return nil, errors.ErrUnsupported }
func linkUnnamed(_, _ *os.File, _ string) error { return errors.ErrUnsupported }

// The partial file grows as it is written, gets its time by its name, and is
// synced alone.

func preallocate(*os.File, int64, int64) (bool, error) { return false, nil }
func punchHole(*os.File, int64, int64)                 {}
func setOpenTime(*os.File, time.Time) error            { return errors.ErrUnsupported }
func syncFilesystem(*os.File) bool                     { return false }
func writebackError(*os.File) error                    { return nil }
