package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The value types of the flag table. Each parses and words its own errors; a
// number is decimal, never octal or hexadecimal by accident.

// seconds is a span of time: a decimal number of seconds (1, 0.5) or a number
// with a unit (300ms, 2m, 1h30m).
type seconds struct {
	d        time.Duration
	set      bool
	negative bool // whether a value below 0 is allowed; -q -1 needs it
}

func (s *seconds) Set(text string) error {
	d, err := parseSeconds(text)
	if err != nil {
		return err
	}
	if d < 0 && !s.negative || d == 0 && !s.negative {
		return fmt.Errorf("timeout too small: %s", text)
	}
	s.d, s.set = d, true
	return nil
}

func (s *seconds) String() string { return s.d.String() }

func parseSeconds(text string) (time.Duration, error) {
	invalid := fmt.Errorf("timeout invalid: %s (seconds, or a number with ms, s, m or h)", text)
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		if strings.ContainsAny(text, "xXpP_nN") { // hexadecimal, NaN and Inf are nobody's seconds
			return 0, invalid
		}
		if n > 1e9 || n < -1e9 {
			return 0, fmt.Errorf("timeout too large: %s", text)
		}
		return time.Duration(n * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, invalid
	}
	return d, nil
}

// number is a whole number between low and high; what names it in errors, as
// in OpenBSD nc's "receive limit too small: 0".
type number struct {
	what      string
	low, high int
	n         int
	set       bool
}

func (v *number) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(text, "-") || err == nil && n > int64(v.high):
		return fmt.Errorf("%s too large: %s", v.what, text)
	case errors.Is(err, strconv.ErrRange) || err == nil && n < int64(v.low):
		return fmt.Errorf("%s too small: %s", v.what, text)
	case err != nil:
		return fmt.Errorf("%s invalid: %s", v.what, text)
	}
	v.n, v.set = int(n), true
	return nil
}

func (v *number) String() string { return strconv.Itoa(v.n) }

// byteSize is a number of bytes, with k, M or G for powers of 1024.
type byteSize struct {
	n   int
	set bool
}

func (v *byteSize) Set(text string) error {
	digits, shift := text, 0
	if len(text) > 1 {
		switch text[len(text)-1] {
		case 'k', 'K':
			digits, shift = text[:len(text)-1], 10
		case 'm', 'M':
			digits, shift = text[:len(text)-1], 20
		case 'g', 'G':
			digits, shift = text[:len(text)-1], 30
		}
	}
	size := number{what: "size", low: 1, high: (1<<31 - 1) >> shift}
	if err := size.Set(digits); err != nil {
		return err
	}
	v.n, v.set = size.n<<shift, true
	return nil
}

func (v *byteSize) String() string { return strconv.Itoa(v.n) }

// fileSize is a number of bytes up to what a file may hold, with k, M, G or T
// for powers of 1024.
type fileSize struct {
	n    int64
	set  bool
	zero bool // whether 0 is one, too
}

func (v *fileSize) Set(text string) error {
	digits, shift := text, 0
	if last := len(text) - 1; last > 0 {
		if i := strings.IndexByte("kmgt", text[last]|0x20); i >= 0 { // in lower case
			digits, shift = text[:last], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n > math.MaxInt64>>shift:
		return fmt.Errorf("size too large: %s", text)
	case err != nil || strings.HasPrefix(digits, "+"):
		return fmt.Errorf("size invalid: %s (bytes, or a number with k, M, G or T)", text)
	case n < 0 || n == 0 && !v.zero:
		return fmt.Errorf("size too small: %s", text)
	}
	v.n, v.set = n<<shift, true
	return nil
}

func (v *fileSize) String() string { return strconv.FormatInt(v.n, 10) }

// sha256Sum is a SHA-256 as sha256sum(1) prints it: 64 hexadecimal digits, in
// any case.
type sha256Sum struct{ sum []byte }

func (v *sha256Sum) Set(text string) error {
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("SHA-256 invalid: %s (%d hexadecimal digits)", text, 2*sha256.Size)
	}
	v.sum = sum
	return nil
}

func (v *sha256Sum) String() string { return hex.EncodeToString(v.sum) }

// fileName is the name of a file. An empty one is an unset variable in
// somebody's script, and not the same as no option.
type fileName struct{ path string }

func (v *fileName) Set(text string) error {
	if text == "" {
		return errors.New("the name of the file is empty")
	}
	v.path = text
	return nil
}

func (v *fileName) String() string { return v.path }

// sendRate is the value of --rate: bytes a second, with k, M or G for powers of
// 1024; with -z -u a plain number, of datagrams.
type sendRate struct {
	n     int64
	plain bool // without a letter
	set   bool
}

func (v *sendRate) Set(text string) error {
	digits, shift := text, 0
	if last := len(text) - 1; last > 0 {
		if i := strings.IndexByte("kmg", text[last]|0x20); i >= 0 { // in lower case
			digits, shift = text[:last], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(digits, "-"), err == nil && n > math.MaxInt64>>shift:
		return fmt.Errorf("rate too large: %s", text)
	case errors.Is(err, strconv.ErrRange), err == nil && n < 1:
		return fmt.Errorf("rate too small: %s", text)
	case err != nil || digits[0] == '+':
		return fmt.Errorf("rate invalid: %s (bytes a second, or a number with k, M or G)", text)
	}
	v.n, v.plain, v.set = n<<shift, shift == 0, true
	return nil
}

func (v *sendRate) String() string { return strconv.FormatInt(v.n, 10) }

// typeOfService is the IP TOS byte: a keyword of OpenBSD nc's, or a number
// from 0 to 255 (0x.. for hexadecimal, as nc allows here).
type typeOfService struct {
	n   int
	set bool
}

// tosKeywords are the names in <netinet/ip.h> and RFC 2474, 2597 and 3246.
var tosKeywords = map[string]int{
	"af11": 0x28, "af12": 0x30, "af13": 0x38, "af21": 0x48, "af22": 0x50, "af23": 0x58,
	"af31": 0x68, "af32": 0x70, "af33": 0x78, "af41": 0x88, "af42": 0x90, "af43": 0x98,
	"cs0": 0x00, "cs1": 0x20, "cs2": 0x40, "cs3": 0x60, "cs4": 0x80, "cs5": 0xa0, "cs6": 0xc0, "cs7": 0xe0,
	"critical": 0xa0, "ef": 0xb8, "inetcontrol": 0xc0, "netcontrol": 0xe0,
	"lowdelay": 0x10, "throughput": 0x08, "reliability": 0x04,
}

func (v *typeOfService) Set(text string) error {
	n, ok := tosKeywords[strings.ToLower(text)]
	if !ok {
		parsed, err := strconv.ParseUint(text, 0, 8)
		if err != nil {
			return fmt.Errorf("illegal tos value %s", text)
		}
		n = int(parsed)
	}
	v.n, v.set = n, true
	return nil
}

func (v *typeOfService) String() string { return strconv.Itoa(v.n) }

// keepalive is IDLE[,INTERVAL[,COUNT]], or 0 for none.
type keepalive struct {
	config net.KeepAliveConfig
	set    bool
}

func (v *keepalive) Set(text string) error {
	v.set = true
	v.config = net.KeepAliveConfig{}
	if text == "0" {
		return nil
	}
	parts := strings.Split(text, ",")
	if len(parts) > 3 {
		return fmt.Errorf("keepalive invalid: %s (IDLE[,INTERVAL[,COUNT]])", text)
	}
	v.config.Enable = true
	for i, span := range []*time.Duration{&v.config.Idle, &v.config.Interval} {
		if i >= len(parts) {
			break
		}
		var s seconds
		if err := s.Set(parts[i]); err != nil {
			return err
		}
		if s.d < time.Second { // the kernel counts whole seconds
			return fmt.Errorf("keepalive time too small: %s (at least 1 s)", parts[i])
		}
		*span = s.d
	}
	if len(parts) == 3 {
		count := number{what: "keepalive count", low: 1, high: 127}
		if err := count.Set(parts[2]); err != nil {
			return err
		}
		v.config.Count = count.n
	}
	return nil
}

func (v *keepalive) String() string { return "" }

// pingCount is the number of pings of -zu -c. Set takes anything: -c is a
// command to other netcats, and whoever means that is better told so than that
// it is no number.
type pingCount struct {
	text         string
	n            int
	set, invalid bool
}

func (v *pingCount) Set(text string) error {
	count := number{high: 1<<31 - 1}
	err := count.Set(text)
	v.text, v.n, v.set, v.invalid = text, count.n, true, err != nil
	return nil
}

func (v *pingCount) String() string { return v.text }

// percent is a share: 5% or 5, or 0.5%.
type percent struct {
	share float64 // 0 to 1
	set   bool
}

func (v *percent) Set(text string) error {
	digits := strings.TrimSuffix(text, "%")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.") != "" || n > 100 {
		return fmt.Errorf("percentage invalid: %s (0%% to 100%%)", text)
	}
	v.share, v.set = n/100, true
	return nil
}

func (v *percent) String() string { return strconv.FormatFloat(100*v.share, 'g', -1, 64) + "%" }

// parsePort reads a decimal port or a service name; low is 0 where the kernel
// may choose, else 1. The wording of the errors is OpenBSD nc's.
func parsePort(network, text string, low int) (int, error) {
	if text == "" {
		return 0, errors.New("a port number is missing")
	}
	if strings.Trim(text, "0123456789") == "" || strings.HasPrefix(text, "-") {
		port := number{what: "port number", low: low, high: 65535}
		err := port.Set(text)
		return port.n, err
	}
	// LookupPort would also take " 80" and "+80"; a service name has a letter
	// (RFC 6335, section 5.1).
	if strings.ContainsFunc(text, unicode.IsLetter) {
		if port, err := net.DefaultResolver.LookupPort(context.Background(), network, text); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("port number invalid: %s", text)
}

// parsePorts reads one operand of ports: numbers, service names and ranges,
// separated by commas. The result is in the order of the text.
func parsePorts(network, text string) ([]int, error) {
	var ports []int
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange || low == "" || strings.Trim(low, "0123456789") != "" {
			port, err := parsePort(network, part, 1)
			if err != nil {
				return nil, err
			}
			ports = append(ports, port)
			continue
		}
		first, err := parsePort(network, low, 1)
		if err != nil {
			return nil, err
		}
		last, err := parsePort(network, high, 1)
		if err != nil {
			return nil, err
		}
		for port := min(first, last); port <= max(first, last); port++ {
			ports = append(ports, port)
		}
	}
	return ports, nil
}
