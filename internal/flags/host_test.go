package flags

import "testing"

func TestIsUnspecified(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{"0.0.0.0": true, "::": true, "": false, "127.0.0.1": false, "example.org": false} {
		if IsUnspecified(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
