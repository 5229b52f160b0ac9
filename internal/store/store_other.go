//go:build !linux

package store

import (
	"errors"
	"os"
	"time"
)

func openUnnamed(*os.File) (*os.File, error)    { return nil, errors.ErrUnsupported }
func linkUnnamed(_, _ *os.File, _ string) error { return errors.ErrUnsupported }

func preallocate(*os.File, int64, int64) (bool, error) { return false, nil }
func punch(*os.File, int64, int64)                     {}
func setOpenTime(*os.File, time.Time) bool             { return false }
func syncTogether(*os.File) bool                       { return false }
func written(*os.File) error                           { return nil }
