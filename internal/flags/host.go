package flags

import (
	"net"
	"strconv"
	"strings"
)

// Unbracketed removes the brackets of an IPv6 address in the form that precedes
// a port: "[::1]".
func Unbracketed(host string) string {
	if inside, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inside, "]") && strings.Contains(inside, ":") {
		return strings.TrimSuffix(inside, "]")
	}
	return host
}

// JoinPort returns the address HOST:PORT for package net, with brackets around
// an IPv6 address. host may have them already.
func JoinPort(host string, port int) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
}

// IsUnspecified reports whether host is the address of every interface:
// "0.0.0.0" or "::".
func IsUnspecified(host string) bool {
	addr := net.ParseIP(host)
	return addr != nil && addr.IsUnspecified()
}
