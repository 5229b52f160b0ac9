package flags

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseRange reads a network (10.0.0.0/24) or a range (10.0.0.1-10.0.0.9,
// 10.0.0.1-9) and returns its first and last address, which have the same
// family. isRange is false without an error for any other text, such as a name;
// an error is about a malformed network or range.
func ParseRange(text string) (first, last netip.Addr, isRange bool, err error) {
	if strings.Contains(text, "/") {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return first, last, false, fmt.Errorf("%s is no network: say 10.0.0.0/24", text)
		}
		first = network.Masked().Addr()
		b := first.AsSlice()
		for bit := network.Bits(); bit < 8*len(b); bit++ {
			b[bit/8] |= 0x80 >> (bit % 8)
		}
		last, _ = netip.AddrFromSlice(b)
		return first, last, true, nil
	}
	low, high, _ := strings.Cut(text, "-")
	if first, err = netip.ParseAddr(low); err != nil || high == "" {
		return first, last, false, nil
	}
	last, err = netip.ParseAddr(high)
	if n, notNumber := strconv.ParseUint(high, 10, 8); notNumber == nil && first.Is4() {
		b := first.As4()
		b[3] = byte(n)
		last, err = netip.AddrFrom4(b), nil
	}
	if err != nil || first.Is4() != last.Is4() || first.Zone() != last.Zone() || last.Less(first) {
		return first, last, false, fmt.Errorf("%s is no range: say 10.0.0.1-10.0.0.9 or 10.0.0.1-9", text)
	}
	return first, last, true, nil
}
