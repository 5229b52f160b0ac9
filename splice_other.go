//go:build !linux

package main

import (
	"io"
)

// fastWay has nothing to offer here: the buffer is the way.
func fastWay(io.Writer, io.Reader) way { return nil }
