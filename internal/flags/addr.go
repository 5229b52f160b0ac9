package flags

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// ParseAddr reads an IP address in a form that getaddrinfo(3) takes for one.
// Beside the usual forms these are those of inet_aton(3): 127.1, 0x7f.0.0.1,
// 2130706433 and 0. It reports false for anything else. An IPv4 address that is
// mapped into IPv6 is returned as IPv4.
func ParseAddr(text string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Unmap(), true
	}
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var addr uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts)) // the last part is all the bytes that are left
		}
		n, err := parseAddrPart(part, bits)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = addr<<bits | n
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(addr)))), true
}

// parseAddrPart reads a number below 2^bits as C writes it: 0x1f, 037 or 31.
func parseAddrPart(text string, bits int) (uint64, error) {
	digits, base := text, 10
	if hexadecimal, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		digits, base = hexadecimal, 16
	} else if len(text) > 1 && text[0] == '0' {
		digits, base = text[1:], 8
	}
	return strconv.ParseUint(digits, base, bits)
}

// AddressOfURL returns the operands for the server of a URL, for a hint:
// "example.org:80", or "example.org PORT" if the URL has no port. ok is false
// if text is no URL.
func AddressOfURL(text string) (operands string, ok bool) {
	_, rest, ok := strings.Cut(text, "://")
	host, _, _ := strings.Cut(rest, "/")
	_, _, err := net.SplitHostPort(host)
	switch {
	case !ok:
		return "", false
	case err == nil:
		return host, true
	case host == "":
		return "HOST PORT", true
	}
	return host + " PORT", true
}
