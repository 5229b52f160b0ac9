package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lookup knows two names.
func lookup(_ context.Context, name string) ([]netip.Addr, error) {
	switch name {
	case "db.example":
		return []netip.Addr{netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("2001:db8::80"), netip.MustParseAddr("::ffff:192.0.2.81")}, nil
	case "old":
		return []netip.Addr{netip.MustParseAddr("fe80::9%eth0")}, nil
	}
	return nil, errors.New("Name or service not known")
}

func TestPermits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		allow, deny string
		yes, no     string
	}{
		{"", "", "10.0.0.1 ::1 fe80::1%eth0", ""},
		{"10.0.0.1", "", "10.0.0.1 ::ffff:10.0.0.1", "10.0.0.2 ::1 ::10.0.0.1"},
		{"::ffff:10.0.0.1", "", "10.0.0.1 ::ffff:10.0.0.1", "10.0.0.2"},
		{"10.0.0.0/8", "", "10.0.0.0 10.255.255.255 ::ffff:10.1.2.3", "9.255.255.255 11.0.0.0 ::1"},
		{"::ffff:10.0.0.0/104", "", "10.1.2.3 ::ffff:10.255.255.255", "11.0.0.0 ::"},
		{"10.0.0.77/24", "", "10.0.0.0 10.0.0.255", "10.0.1.0"}, // bits behind the mask do not count
		{"0.0.0.0/0", "", "1.2.3.4 ::ffff:1.2.3.4", "::1 2001:db8::1"},
		{"::/0", "", "::1 2001:db8::1", "1.2.3.4 ::ffff:1.2.3.4"},
		{"::/80", "", "::1 ::fffe:1:1", "10.0.0.1 ::ffff:10.0.0.1"},
		{"10.0.0.3-5", "", "10.0.0.3 10.0.0.4 10.0.0.5", "10.0.0.2 10.0.0.6"},
		{"10.0.0.250-10.0.1.5", "", "10.0.0.255 10.0.1.5", "10.0.1.6"},
		{"fe80::1-fe80::f", "", "fe80::1%eth0 fe80::9%eth1 fe80::f", "fe80::10%eth0"},
		{"db.example", "", "192.0.2.80 192.0.2.81 2001:db8::80", "192.0.2.82 2001:db8::81"},
		{"old", "", "fe80::9%eth1", "fe80::8%eth0"},
		{"10.0.0.0/8", "10.0.0.5", "10.0.0.4 10.0.0.6", "10.0.0.5 ::ffff:10.0.0.5 192.0.2.1"},
		{"10.0.0.5", "10.0.0.0/8", "", "10.0.0.5"}, // deny wins
		{"", "10.0.0.0/8,::1", "192.0.2.1 ::2", "10.1.1.1 ::1"},
		{"10.0.0.1,10.0.0.2 10.0.0.4\t10.0.0.0/30, 10.0.0.9", "", "10.0.0.0 10.0.0.3 10.0.0.4 10.0.0.9", "10.0.0.5 10.0.0.8"},
	} {
		var r Rules
		for list, text := range map[*List]string{&r.Allow: test.allow, &r.Deny: test.deny} {
			if text == "" {
				continue
			}
			if err := list.Add(text); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
		if err := r.Resolve(t.Context(), lookup); err != nil {
			t.Errorf("%q, %q: %v", test.allow, test.deny, err)
		}
		for want, addrs := range map[bool]string{true: test.yes, false: test.no} {
			for addr := range strings.FieldsSeq(addrs) {
				if got := r.Permits(netip.MustParseAddr(addr)); got != want {
					t.Errorf("allow %q, deny %q: %s is %v", test.allow, test.deny, addr, got)
				}
			}
		}
		if r.Given() != (test.allow+test.deny != "") {
			t.Errorf("%q, %q: given %v", test.allow, test.deny, r.Given())
		}
	}
}

// A socket without an address, such as a Unix socket, is on no list.
func TestNoAddress(t *testing.T) {
	t.Parallel()
	var r Rules
	if err := r.Deny.Add("0.0.0.0/0,::/0"); err != nil {
		t.Fatal(err)
	}
	if err := r.Resolve(t.Context(), lookup); err != nil || !r.Permits(netip.Addr{}) {
		t.Error("denied", err)
	}
}

func TestBadEntries(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"10.0.0.0/40", "10.0.0.0/x", "10.0.0.300", "127.1", "2130706433", "0x7f.1.2.3", "1.2.3", "10.0.0.9-3", "10.0.0.1-256",
		"10.0.0.1-::1", "::1-9", "fe80::1%eth0", "fe80::1%eth0/64", "-x", "a..b", "a b/8", ".", "*", "10.0.0.*", "[::1]", "host:80", "host/path",
		strings.Repeat("x", 64), "x\x1b"} {
		var l List
		err := l.Add("10.9.9.9," + strings.ReplaceAll(entry, " ", "_"))
		if want := fmt.Sprintf("%q is no address, network or name", strings.ReplaceAll(entry, " ", "_")); err == nil || err.Error() != want {
			t.Errorf("%q: %v", entry, err)
		}
	}
	for _, empty := range []string{"", " ", ",", " , "} {
		if err := new(List).Add(empty); err == nil {
			t.Errorf("%q was accepted", empty)
		}
	}
	var r Rules
	if err := r.Allow.Add("nosuch.example"); err != nil {
		t.Fatal(err)
	}
	if err := r.Resolve(t.Context(), lookup); err == nil || err.Error() != "resolve nosuch.example: Name or service not known" {
		t.Error(err)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	var r Rules
	if err := r.Allow.AddFile(strings.NewReader("# hosts\r\n10.0.0.1 10.0.0.2\n\n  db.example # the database\n10.1.0.0/16,10.2.0.0/16,\n , \n")); err != nil {
		t.Fatal(err)
	}
	if err := r.Resolve(t.Context(), lookup); err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{"10.0.0.2": true, "10.0.0.3": false, "192.0.2.80": true, "10.2.9.9": true} {
		if r.Permits(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s is not %v", addr, want)
		}
	}
	if err := new(List).AddFile(strings.NewReader("10.0.0.1\n\n10.0.0.0/40\n")); err == nil || err.Error() != `line 3: "10.0.0.0/40" is no address, network or name` {
		t.Error(err)
	}
	if err := new(List).AddFile(strings.NewReader(strings.Repeat("x", 1<<20))); err == nil {
		t.Error("an endless line was accepted")
	}
	// A file that has been emptied allows no address, and not every one.
	r = Rules{}
	if err := r.Allow.AddFile(strings.NewReader("# none\n")); err != nil {
		t.Fatal(err)
	}
	if err := r.Resolve(t.Context(), lookup); err != nil || r.Permits(netip.MustParseAddr("10.0.0.1")) || !r.Given() {
		t.Error("an empty file allows", err)
	}
}

// What is on a list stays there whatever else is added, and no entry crosses
// from one family to the other.
func FuzzList(f *testing.F) {
	f.Add("10.0.0.0/8,10.1.0.0/16", "10.1.2.3")
	f.Add("10.0.0.1-9 ::1 fe80::/10", "fe80::1")
	f.Add("::ffff:1.2.3.4/120", "1.2.3.9")
	f.Fuzz(func(t *testing.T, text, client string) {
		addr, err := netip.ParseAddr(client)
		if err != nil {
			return
		}
		var r, all Rules
		if r.Allow.Add(text) != nil {
			return
		}
		r.Allow.names = nil
		_ = r.Resolve(t.Context(), lookup)
		if err := all.Allow.Add(text + "," + addr.Unmap().WithZone("").String() + ",0.0.0.0/1"); err != nil {
			t.Fatal(err)
		}
		all.Allow.names = nil
		_ = all.Resolve(t.Context(), lookup)
		if !all.Permits(addr) {
			t.Errorf("%q and %s does not allow it", text, addr)
		}
		for _, s := range r.Allow.spans {
			if s.first.Is4() != s.last.Is4() || s.last.Less(s.first) || !r.Permits(s.first) && !s.first.Is4In6() || !r.Permits(s.last) && !s.last.Is4In6() {
				t.Errorf("%q: %v", text, s)
			}
		}
	})
}

// The error of a file has its name, and that of a line its number.
func TestAddPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list")
	for text, says := range map[string]string{"10.0.0.1 # one\n": "", "10.0.0.1\n10.0.0.0/40\n": path + ": line 2: "} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var l List
		if err := l.AddPath(path); (err == nil) != (says == "") || err != nil && !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
		if !l.Given() {
			t.Errorf("%q: not given", text)
		}
	}
	var l List
	if err := l.AddPath(path + ".missing"); !errors.Is(err, os.ErrNotExist) || l.Given() {
		t.Errorf("%v, given %v", err, l.Given())
	}
}
