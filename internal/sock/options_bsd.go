//go:build unix && !linux

package sock

// dualStackOptions reports whether an IPv6 socket takes the IPv4 options too:
// only on Linux.
const dualStackOptions = false

// setMinTTL returns ErrNotHere.
func setMinTTL(int, bool, int) error {
	return ErrNotHere
}
