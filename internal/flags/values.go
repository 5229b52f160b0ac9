package flags

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseSeconds reads a span of time above 0: a decimal number of seconds (1,
// 0.5) or a number with a unit (300ms, 2m, 1h30m).
func ParseSeconds(text string) (time.Duration, error) {
	d, err := ParseSignedSeconds(text)
	if err == nil && d <= 0 {
		return 0, fmt.Errorf("timeout too small: %s", text)
	}
	return d, err
}

// ParseSecondsOrNone is ParseSeconds with 0 allowed.
func ParseSecondsOrNone(text string) (time.Duration, error) {
	d, err := ParseSignedSeconds(text)
	if err == nil && d < 0 {
		return 0, fmt.Errorf("timeout too small: %s", text)
	}
	return d, err
}

// ParseSignedSeconds is ParseSeconds without the lower bound.
func ParseSignedSeconds(text string) (time.Duration, error) {
	invalid := fmt.Errorf("timeout invalid: %s (seconds, or a number with ms, s, m or h)", text)
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		if strings.ContainsAny(text, "xXpP_nN") { // hexadecimal, NaN, Inf
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

// ParseSHA256 reads a SHA-256 as sha256sum(1) prints it: 64 hexadecimal digits,
// in either case.
func ParseSHA256(text string) ([]byte, error) {
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("SHA-256 invalid: %s (%d hexadecimal digits)", text, 2*sha256.Size)
	}
	return sum, nil
}

// tosKeywords returns the TOS bytes that have a name in <netinet/ip.h> or in
// RFC 2474, 2597 or 3246.
func tosKeywords() map[string]int {
	return map[string]int{
		"af11": 0x28, "af12": 0x30, "af13": 0x38, "af21": 0x48, "af22": 0x50, "af23": 0x58,
		"af31": 0x68, "af32": 0x70, "af33": 0x78, "af41": 0x88, "af42": 0x90, "af43": 0x98,
		"cs0": 0x00, "cs1": 0x20, "cs2": 0x40, "cs3": 0x60, "cs4": 0x80, "cs5": 0xa0, "cs6": 0xc0, "cs7": 0xe0,
		"critical": 0xa0, "ef": 0xb8, "inetcontrol": 0xc0, "netcontrol": 0xe0,
		"lowdelay": 0x10, "throughput": 0x08, "reliability": 0x04,
	}
}

// ParseTOS reads the IP TOS byte: one of OpenBSD nc's keywords in either case,
// or a number from 0 to 255. As in nc, a number that begins with 0x is
// hexadecimal and one that begins with 0 octal. In OpenBSD's nc, -T also takes
// values about TLS; for these the error names the options here.
func ParseTOS(text string) (int, error) {
	if n, ok := tosKeywords()[strings.ToLower(text)]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(text, 0, 8)
	if openbsdTLS(text) {
		return 0, fmt.Errorf("%s is about TLS in OpenBSD's nc: here --ssl-insecure accepts any certificate, --ssl-servername NAME another name, and --ssl-client-ca FILE demands one of clients", text)
	}
	if err != nil {
		return 0, fmt.Errorf("illegal tos value %s", text)
	}
	return int(n), nil
}

// openbsdTLS reports whether text is a value of -T that is about TLS in nc(1)
// of OpenBSD.
func openbsdTLS(text string) bool {
	word, _, _ := strings.Cut(text, "=")
	return slices.Contains([]string{"noverify", "noname", "clientcert", "muststaple", "tlslegacy", "tlsall", "protocols", "ciphers"}, word)
}

// ParseALPN reads names of protocols with commas between them (RFC 7301).
func ParseALPN(text string) ([]string, error) {
	names := strings.Split(text, ",")
	for _, name := range names {
		if name == "" || len(name) > 255 {
			return nil, fmt.Errorf("%q has a name of %d bytes: say 1 to 255, with commas between the names", text, len(name))
		}
	}
	return names, nil
}

// ParseKeepalive reads IDLE[,INTERVAL[,COUNT]]: two times of at least 1 s, and
// the number of probes. What is left out is 0 in the result, which leaves the
// system's or Go's default. The text 0 disables the keepalive.
func ParseKeepalive(text string) (net.KeepAliveConfig, error) {
	var none, config net.KeepAliveConfig
	if text == "0" {
		return none, nil
	}
	parts := strings.Split(text, ",")
	if len(parts) > 3 {
		return none, fmt.Errorf("keepalive invalid: %s (IDLE[,INTERVAL[,COUNT]])", text)
	}
	config.Enable = true
	times := []*time.Duration{&config.Idle, &config.Interval}
	for i, part := range parts[:min(2, len(parts))] {
		d, err := ParseSeconds(part)
		if err != nil {
			return none, err
		}
		if d < time.Second { // the kernel counts whole seconds
			return none, fmt.Errorf("keepalive time too small: %s (at least 1 s)", part)
		}
		*times[i] = d
	}
	if len(parts) == 3 {
		var err error
		if config.Count, err = (Number{What: "keepalive count", Low: 1, High: 127}).Int(parts[2]); err != nil {
			return none, err
		}
	}
	return config, nil
}

// ParsePercent reads a percentage from 0 to 100 (5%, 5, 0.5%) and returns it as
// a share from 0 to 1.
func ParsePercent(text string) (float64, error) {
	digits := strings.TrimSuffix(text, "%")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.") != "" || n > 100 {
		return 0, fmt.Errorf("percentage invalid: %s (0%% to 100%%)", text)
	}
	return n / 100, nil
}
