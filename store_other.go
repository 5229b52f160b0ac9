//go:build !linux

package main

import (
	"os"
	"time"
)

func preallocate(*os.File, int64, int64) error { return nil }
func punch(*os.File, int64, int64)             {}
func setOpenTime(*os.File, time.Time) bool     { return false }
func syncTogether(*os.File) bool               { return false }
func written(*os.File) error                   { return nil }
