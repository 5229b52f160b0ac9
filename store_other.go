//go:build !linux

package main

import "os"

func preallocate(*os.File, int64, int64) error { return nil }
func punch(*os.File, int64, int64)             {}
func syncTogether(*os.File) bool               { return false }
func written(*os.File) error                   { return nil }
