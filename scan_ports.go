package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// parseScanPorts returns the ports that operands such as "22,80,8000-8100", "http" or "20-30" name, in their order and each
// once. Numbers are decimal, 1 to 65535; names are services of the network, "tcp" or "udp".
func parseScanPorts(network string, operands []string) ([]uint16, error) {
	var ports []uint16
	var seen [1 << 16]bool
	for _, operand := range operands {
		for item := range strings.SplitSeq(operand, ",") {
			first, last, err := parseScanRange(network, item)
			if err != nil {
				return nil, err
			}
			for p := int(first); p <= int(last); p++ {
				if !seen[p] {
					seen[p] = true
					ports = append(ports, uint16(p))
				}
			}
		}
	}
	return ports, nil
}

// parseScanRange returns the ends of "20-30", or of a single port twice. A name may contain a hyphen ("ftp-data").
func parseScanRange(network, item string) (first, last uint16, err error) {
	low, high, isRange := strings.Cut(item, "-")
	if isRange && scanDigits(low) && low != "" || isRange && scanDigits(high) && high != "" {
		if first, err = parseScanPort(network, low); err != nil {
			return 0, 0, fmt.Errorf("%w in %q", err, item)
		}
		if last, err = parseScanPort(network, high); err != nil {
			return 0, 0, fmt.Errorf("%w in %q", err, item)
		}
		if first > last {
			first, last = last, first // as nc does
		}
		return first, last, nil
	}
	first, err = parseScanPort(network, item)
	return first, first, err
}

// scanDigits says whether s has nothing but digits.
func scanDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// parseScanPort returns the port that a number or a name means.
func parseScanPort(network, s string) (uint16, error) {
	if s == "" {
		return 0, fmt.Errorf("port number invalid: %q", s)
	}
	if scanDigits(s) {
		n, err := strconv.ParseUint(s, 10, 32)
		switch {
		case err != nil || n > 65535:
			return 0, fmt.Errorf("port number too large: %s", s)
		case n == 0:
			return 0, fmt.Errorf("port number too small: %s", s)
		}
		return uint16(n), nil
	}
	// LookupPort also takes "+80" and "-1", which are no names.
	if !strings.ContainsAny(s[:1], "+-") {
		if n, err := net.LookupPort(network, s); err == nil && n > 0 {
			return uint16(n), nil
		}
	}
	return 0, fmt.Errorf("port number invalid: %s", payloadText([]byte(s), 40))
}
