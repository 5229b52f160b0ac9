package payload

import (
	"bytes"

	"purr/internal/display"
)

// buildSSDP returns a search for every device and service. MX is the time over
// which the answers to a multicast are spread; a unicast search has none (UPnP
// Device Architecture 2.0, 1.3.2).
func buildSSDP(to *Target) []byte {
	search := "M-SEARCH * HTTP/1.1\r\nHOST: " + to.Addr.String() + "\r\nMAN: \"ssdp:discover\"\r\n"
	if to.Addr.Addr().IsMulticast() {
		search += "MX: 1\r\n"
	}
	return []byte(search + "ST: ssdp:all\r\nUSER-AGENT: purr/1 UPnP/2.0 purr/1\r\n\r\n")
}

// matchSSDP accepts any HTTP 200. It repeats no value of the search; only the
// port shows that it is the answer.
func matchSSDP(x *Exchange) (Answer, bool) {
	if !bytes.HasPrefix(x.Reply, []byte("HTTP/1.1 200")) {
		return Answer{}, false
	}
	return Answer{Fact: display.Payload([]byte(textHeader(x.Reply, "server", "")), 80)}, true
}
