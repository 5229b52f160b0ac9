package flags

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ParsePort reads a decimal port or the name of a service of network ("tcp" or
// "udp"). low is 0 where the kernel may choose the port, else 1. The wording of
// the errors is OpenBSD nc's, except for an empty text.
func ParsePort(network, text string, low int) (int, error) {
	if text == "" {
		return 0, errors.New("a port number is missing")
	}
	if strings.Trim(text, "0123456789") == "" || strings.HasPrefix(text, "-") {
		return Number{What: "port number", Low: int64(low), High: 65535}.Int(text)
	}
	// LookupPort accepts " 80" and "+80", too; a service name has a letter (RFC
	// 6335, section 5.1).
	if strings.ContainsFunc(text, unicode.IsLetter) {
		if port, err := net.DefaultResolver.LookupPort(context.Background(), network, text); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("port number invalid: %s", text)
}

// ParsePorts reads numbers, service names and ranges, separated by commas. The
// result is in the order of the text; a range ascends, and repetitions stay.
func ParsePorts(network, text string) ([]int, error) {
	var ports []int
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange || low == "" || strings.Trim(low, "0123456789") != "" {
			port, err := ParsePort(network, part, 1)
			if err != nil {
				return nil, err
			}
			ports = append(ports, port)
			continue
		}
		first, err := ParsePort(network, low, 1)
		if err != nil {
			return nil, err
		}
		last, err := ParsePort(network, high, 1)
		if err != nil {
			return nil, err
		}
		for port := min(first, last); port <= max(first, last); port++ {
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// Unique returns the ports without repetitions, each where it comes first.
func Unique(ports []int) (out []int) {
	seen := make(map[int]bool, len(ports))
	for _, port := range ports {
		if !seen[port] {
			seen[port] = true
			out = append(out, port)
		}
	}
	return out
}

// Shuffled returns the ports in random order; the argument stays as it is.
func Shuffled(ports []int) []int {
	out := slices.Clone(ports)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// IsPort reports whether a word is a decimal number from 1 to 65535.
func IsPort(word string) bool {
	n, err := strconv.ParseUint(word, 10, 16)
	return err == nil && n > 0
}
