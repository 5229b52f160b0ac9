//go:build !linux

package sock

import "net"

// keepAliveOnce does nothing: package net sets the keepalive of each client.
func keepAliveOnce(*net.ListenConfig) {}
