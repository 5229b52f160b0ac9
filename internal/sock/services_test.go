package sock

import "testing"

// The ports of a network tutorial have names on machines without /etc/services
// too.
func TestWellKnown(t *testing.T) {
	t.Parallel()
	for key, name := range map[string]string{"21/tcp": "ftp", "22/tcp": "ssh", "23/tcp": "telnet", "25/tcp": "smtp", "53/udp": "domain", "80/tcp": "http", "443/tcp": "https"} {
		if wellKnown()[key] != name {
			t.Errorf("%s: %q, want %q", key, wellKnown()[key], name)
		}
	}
}
