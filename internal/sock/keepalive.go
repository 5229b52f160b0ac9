package sock

import "time"

// KeepAlivePeriod returns the value of KeepAlive in a net.Dialer or
// net.ListenConfig, beside their KeepAliveConfig. 0 leaves keepalive to the
// latter; a negative value, if on is false, switches it off.
func KeepAlivePeriod(on bool) time.Duration {
	if on {
		return 0
	}
	return -1
}
