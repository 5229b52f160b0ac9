package sock

import "time"

// KeepAlivePeriod returns the period that net.Dialer and net.ListenConfig take
// beside their KeepAliveConfig: a negative one switches keepalive off.
func KeepAlivePeriod(on bool) time.Duration {
	if on {
		return 0
	}
	return -1
}
