package payload

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"purr/internal/display"
)

// buildSIP returns an OPTIONS request. With rport (RFC 3581) the answer comes
// to our source port even if a NAT has replaced it.
func buildSIP(to *Target) []byte {
	local := to.Local
	if !local.IsValid() {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), 5060)
	}
	host := to.Addr.Addr().WithZone("").String()
	if to.Addr.Addr().Is6() {
		host = "[" + host + "]"
	}
	lines := []string{
		fmt.Sprintf("OPTIONS sip:%s:%d SIP/2.0", host, to.Addr.Port()),
		// The magic cookie marks the branch as unique, RFC 3261 8.1.1.7.
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport", local, hexNonce(8)),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <sip:purr@%s>;tag=%s", local, hexNonce(4)),
		fmt.Sprintf("To: <sip:%s:%d>", host, to.Addr.Port()),
		"Call-ID: " + hexNonce(8),
		"CSeq: 1 OPTIONS",
		fmt.Sprintf("Contact: <sip:purr@%s>", local),
		"Accept: application/sdp",
		"Content-Length: 0",
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// matchSIP accepts any status line with our Call-ID.
func matchSIP(x *Exchange) (Answer, bool) {
	status, ok := bytes.CutPrefix(x.Reply, []byte("SIP/2.0 "))
	id := textHeader(x.Request, "call-id", "i")
	if !ok || id == "" || textHeader(x.Reply, "call-id", "i") != id {
		return Answer{}, false
	}
	status, _, _ = bytes.Cut(status, []byte("\r\n"))
	return Answer{Fact: display.Payload(status, 80)}, true
}

// textHeader returns the value of a header in a message like those of RFC 822,
// or "". The name is in lower case; compact is its short form.
func textHeader(message []byte, name, compact string) string {
	for line := range bytes.Lines(message) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return ""
		}
		key, value, ok := strings.Cut(string(line), ":")
		key = strings.ToLower(strings.TrimSpace(key))
		if ok && (key == name || key == compact) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
