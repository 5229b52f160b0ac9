//go:build unix && !linux

package sock

// dualStackOptions reports whether an IPv6 socket takes the IPv4 options too:
// only on Linux.
const dualStackOptions = false

// setMinTTL returns ErrNotHere.
func setMinTTL(int, bool, int) error {
	return ErrNotHere
}

// ownGroupsOnly does nothing: a socket receives from the groups that it is a
// member of itself.
func ownGroupsOnly(int, bool, int) error { return nil }
