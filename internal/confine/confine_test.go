package confine

import "testing"

// A line names what is left to the process.
func TestHeldString(t *testing.T) {
	t.Parallel()
	for want, held := range map[string]Held{
		"not confined: this system has no Landlock":           {},
		"confined: no file; TCP to any port":                  {Files: true},
		"confined: no file; no TCP connection":                {Files: true, TCP: true},
		"confined: no file; TCP only to port 80 and 9000":     {Files: true, TCP: true, Rules: Rules{Connect: []int{9000, 80}}},
		"confined: reads a, \"b\\n\"; no TCP connection":      {Files: true, TCP: true, Rules: Rules{Read: []string{"a", "b\n"}}},
		"confined: reads a, b, c and 2 more; TCP to any port": {Files: true, Rules: Rules{AnyTCP: true, Read: []string{"a", "b", "c", "d", "e"}}},
		"confined: writes in; removes files in /run; reads the files of name lookups; TCP only to port 53": {Files: true, TCP: true,
			Rules: Rules{Write: []string{"in"}, Remove: []string{"", "/run/port", "@out/x"}, Names: true}},
		"confined: reads /etc; TCP only to port 53 and 443": {Files: true, TCP: true, Rules: Rules{Names: true, FreshNames: true, Connect: []int{443, 53}}},
	} {
		if got := held.String(); got != want {
			t.Errorf("%+v: %q, want %q", held, got, want)
		}
	}
}
