package sweep

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"h": "h", "10.0.0.1": "10.0.0.1", "db-1": "db-1", "10-20.example": "10-20.example", "fe80::1%eth0": "fe80::1%eth0",
		"10.0.0.5/30":           "10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7",
		"10.0.0.9/32":           "10.0.0.9",
		"255.255.255.254/31":    "255.255.255.254 255.255.255.255",
		"10.0.0.254-10.0.1.1":   "10.0.0.254 10.0.0.255 10.0.1.0 10.0.1.1",
		"10.0.0.1-3":            "10.0.0.1 10.0.0.2 10.0.0.3",
		"2001:db8::/127":        "2001:db8:: 2001:db8::1",
		"::1-::3":               "::1 ::2 ::3",
		"a\n#x\n b # c\n\na\nb": "a b",
		"a\n10.0.0.0/31\nz":     "a 10.0.0.0 10.0.0.1 z",
	} {
		hosts, err := ReadHosts(strings.NewReader(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		all := slices.Collect(hosts.All())
		if got := strings.Join(all, " "); got != want || hosts.Len() != len(all) || hosts.HasRanges() != (strings.Contains(text, "/") || len(all) > 2) {
			t.Errorf("%q: %s (%d, ranges %t), want %s", text, got, hosts.Len(), hosts.HasRanges(), want)
		}
	}
	for _, text := range []string{"", "#", "a b", "10.0.0.0/33", "10.0.0/8", "a/24", "10.0.0.9-1", "10.0.0.1-256", "10.0.0.1-::1", "::/64", "0.0.0.0/7", "10.0.0.0/9\n11.0.0.0/8", "10.0.0.1-x", "239.1.2.3%eth0"} {
		if hosts, err := ReadHosts(strings.NewReader(text)); err == nil {
			t.Errorf("%q: %d hosts", text, hosts.Len())
		}
	}
	if hosts, err := ReadHosts(strings.NewReader("10.0.0.0/8")); err != nil || hosts.Len() != 1<<24 {
		t.Errorf("a /8: %v, %v", hosts, err)
	}
}

// The time to read a list is in proportion to its length.
func TestReadManyHosts(t *testing.T) {
	t.Parallel()
	var list strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&list, "h%d.example\n", i)
	}
	begun := time.Now()
	hosts, err := ReadHosts(strings.NewReader(list.String()))
	if err != nil || hosts.Len() != 200_000 {
		t.Fatal(hosts, err)
	}
	if took := time.Since(begun); took > 5*time.Second { // a search of the list for each line takes 28 s
		t.Errorf("%v", took)
	}
}

// For any list, the reported number of hosts equals the hosts it yields.
func FuzzReadHosts(f *testing.F) {
	for _, seed := range []string{"h", "10.0.0.0/30", "10.0.0.1-3", "::/120\na#b", "1-2", "/", "-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		hosts, err := ReadHosts(strings.NewReader(text))
		if err != nil || hosts.Len() > 10_000 {
			return
		}
		n := 0
		for host := range hosts.All() {
			if n++; host == "" {
				t.Errorf("%q has an empty host", text)
			}
		}
		if n != hosts.Len() {
			t.Errorf("%q: %d hosts, and %d", text, hosts.Len(), n)
		}
	})
}
