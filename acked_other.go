//go:build !linux

package main

import "net"

// acknowledged cannot be known here.
func acknowledged(net.Conn, bool, int64) (n int64, known bool) { return 0, false }
