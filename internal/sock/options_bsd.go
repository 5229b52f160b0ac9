//go:build unix && !linux

package sock

// dualStackOptions says whether an IPv6 socket takes the IPv4 options too.
// Only Linux does.
const dualStackOptions = false

// setMinTTL reports that the option cannot be kept: a filter that silently
// does not filter would be worse.
func setMinTTL(int, bool, int) error {
	return ErrNotHere
}
