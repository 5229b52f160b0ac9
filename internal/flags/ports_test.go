package flags

import (
	"reflect"
	"strings"
	"testing"
)

func TestParsePorts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]int{
		"80": {80}, "http": {80}, "HTTP": {80}, "1": {1}, "65535": {65535}, "080": {80}, "00080": {80},
		"20-23": {20, 21, 22, 23}, "23-20": {20, 21, 22, 23}, "5-5": {5}, "80,443": {80, 443}, "443,80": {443, 80},
		"ssh,80-81,http": {22, 80, 81, 80}, "ftp-data": {20}, "20-ssh": {20, 21, 22},
	} {
		got, err := ParsePorts("tcp", text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "65536", "-", "-5", "5-", "1-65536", "0-5", ",", "80,", ",80", "80,,81", "x", "80x", "8 0", " 80", "0x50", "8.0", "+80", "1-2-3", "80-http-x"} {
		if got, err := ParsePorts("tcp", text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	if got, err := ParsePorts("tcp", "1-65535"); err != nil || len(got) != 65535 || got[0] != 1 || got[65534] != 65535 {
		t.Errorf("all ports: %d (%v)", len(got), err)
	}
	if port, err := ParsePort("tcp", "0", 0); err != nil || port != 0 {
		t.Errorf("0: %d (%v)", port, err)
	}
	if port, err := ParsePort("tcp", "", 0); err == nil {
		t.Errorf("an empty port is %d", port)
	}
	if port, err := ParsePort("udp", "domain", 1); err != nil || port != 53 {
		t.Errorf("domain: %d (%v)", port, err)
	}
}

// An accepted operand is a list of ports from 1 to 65535, at least one for each
// part between commas.
func FuzzPorts(f *testing.F) {
	for _, seed := range []string{"80", "http", "20-23", "23-20", "80,443", "1-65535", "20-ssh", "0", "65536", "-5", "5-", ",", "+80", " 80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 100 {
			return // many full ranges: slow
		}
		ports, err := ParsePorts("tcp", text)
		if err != nil {
			if len(ports) > 0 {
				t.Errorf("%q: %v beside %v", text, ports, err)
			}
			return
		}
		if len(ports) < 1+strings.Count(text, ",") {
			t.Errorf("%q is %d ports", text, len(ports))
		}
		for _, port := range ports {
			if port < 1 || port > 65535 {
				t.Fatalf("%q: %d", text, port)
			}
		}
	})
}

func TestShuffled(t *testing.T) {
	t.Parallel()
	in := make([]int, 100)
	for i := range in {
		in[i] = i
	}
	out := Shuffled(in)
	if reflect.DeepEqual(in, out) {
		t.Error("the order is the same")
	}
	seen := make(map[int]bool)
	for i := range in {
		seen[out[i]] = true
		if in[i] != i {
			t.Fatal("the argument was changed")
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d of 100 ports are left", len(seen))
	}
}
