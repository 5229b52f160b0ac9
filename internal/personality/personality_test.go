package personality

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The names, and what is no name: a part of one, a directory, another case.
func TestOf(t *testing.T) {
	t.Parallel()
	for argv0, prefix := range map[string]string{
		"nc": "nc: ", "/bin/nc": "nc: ", "./nc.openbsd": "nc: ", "netcat": "nc: ", "nc.exe": "nc: ", "/opt/x/ncat": "Ncat: ", "ncat.exe": "Ncat: ",
		"purr": "", "/nc/purr": "", "nc/": "nc: ", "": "", ".": "", "ncat2": "", "xnc": "", "NC": "", "nc.traditional": "", ".exe": "",
	} {
		p := Of(argv0)
		if p.Prefix != prefix || p.Other() != (prefix != "") {
			t.Errorf("%q: prefix %q, want %q", argv0, p.Prefix, prefix)
		}
		if prefix == "" && !reflect.DeepEqual(p, Personality{}) {
			t.Errorf("%q: it differs: %+v", argv0, p)
		}
	}
}

// The help of nc has what scripts look for: its first line, its usage and its
// options, and not the word by which they recognise Ncat. Each help has only
// plain text, and the options behind the usage are those in it.
func TestHelp(t *testing.T) {
	t.Parallel()
	nc, ncat := Of("nc"), Of("ncat")
	for _, want := range []string{"OpenBSD netcat", "usage: nc [-46", "\t-N\t\t", "\t-q secs\t", `"5" (SOCKS)`, "[-q seconds]"} {
		if !strings.Contains(nc.Help, want) {
			t.Errorf("nc -h has no %q", want)
		}
	}
	if strings.Contains(strings.ToLower(nc.Help), "ncat") {
		t.Error("nc -h has the word ncat")
	}
	if !strings.HasPrefix(nc.Help, nc.Usage) || strings.Contains(nc.Usage, "Command Summary") || !strings.HasSuffix(nc.Usage, "[port]\n") {
		t.Errorf("nc alone prints %q", nc.Usage)
	}
	_, usage, _ := strings.Cut(nc.Usage, "[-")
	letters, valued, _ := strings.Cut(usage, "]")
	for line := range strings.Lines(nc.Help) {
		option, found := strings.CutPrefix(line, "\t\t-")
		if !found || option[0] == 'h' {
			continue
		}
		if takesValue := option[1] == ' '; takesValue != strings.Contains(valued, "[-"+option[:2]) || takesValue == strings.Contains(letters, option[:1]) {
			t.Errorf("the usage of nc has not: %s", line)
		}
	}
	if !strings.Contains(ncat.Help, "Usage: ncat [options] [hostname] [port]\n") {
		t.Error("ncat -h has no usage")
	}
}

// The statuses of the program, as each name has them.
func TestStatus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ending         Ending
		purr, nc, ncat int
	}{
		{Ending{Status: 0}, 0, 0, 0},
		{Ending{Status: 1}, 1, 1, 1},
		{Ending{Status: 1, Local: true}, 1, 1, 2},
		{Ending{Status: 2}, 2, 1, 2},
		{Ending{Status: 3}, 3, 1, 1},
		{Ending{Status: 3, Probe: true}, 3, 0, 0},
		{Ending{Status: 1, Probe: true}, 1, 1, 1},
		{Ending{Status: 1, Probe: true, Local: true}, 1, 1, 2},
		{Ending{Status: 4, Probe: true}, 4, 1, 1},
		{Ending{Status: 5}, 5, 1, 1}, {Ending{Status: 6}, 6, 1, 1}, {Ending{Status: 7}, 7, 1, 1},
		{Ending{Status: 130}, 130, 130, 130}, {Ending{Status: 143}, 143, 143, 143},
	} {
		for name, want := range map[string]int{"purr": test.purr, "nc": test.nc, "ncat": test.ncat} {
			p := Of(name)
			if got := p.Status(test.ending); got != want {
				t.Errorf("%s, %+v: %d, want %d", name, test.ending, got, want)
			}
		}
	}
}

// Ncat's default port is added to an address without one, and to nothing else.
func TestWithPort(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		operands string
		listen   bool
		want     string
	}{
		{"", false, ""}, {"h", false, "h 31337"}, {"80", false, "80 31337"}, {"h:80", false, "h:80"}, {"::1", false, "::1 31337"},
		{"[::1]", false, "[::1] 31337"}, {"[::1]:80", false, "[::1]:80"}, {"h 80", false, "h 80"}, {"h 80 81", false, "h 80 81"},
		{"", true, "31337"}, {"80", true, "80"}, {"h", true, "h 31337"}, {"h:80", true, "h:80"}, {"h 80", true, "h 80"}, {"::", true, ":: 31337"},
	} {
		operands := strings.Fields(test.operands)
		ncat, nc := Of("ncat"), Of("nc")
		if got := ncat.WithPort(operands, test.listen); !slices.Equal(got, strings.Fields(test.want)) {
			t.Errorf("%q, listening %t: %q, want %q", test.operands, test.listen, got, test.want)
		}
		if got := nc.WithPort(operands, test.listen); !slices.Equal(got, operands) {
			t.Errorf("nc %q, listening %t: %q", test.operands, test.listen, got)
		}
	}
}

// The words of each name. Ncat needs no lookup of the client's name.
func TestWords(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("[::]:80")
	mapped := netip.MustParseAddrPort("[::ffff:127.0.0.1]:80")
	looked := 0
	lookup := func() string { looked++; return "localhost" }
	for name, want := range map[string][]string{
		"purr": {
			"Listening on localhost 80", "Bound on :: 80", "Bound on p", "Bound on p/Listening on p", "",
			"Connection received on localhost 80", "Connection received on p", "Connection to h (127.0.0.1) 80 port [tcp/http] succeeded!", "", "",
		},
		"ncat": {
			"Ncat: Listening on 127.0.0.1:80", "Ncat: Listening on :::80", "Ncat: Listening on p", "Ncat: Listening on p", "Ncat: Connected to p.",
			"Ncat: Connection from 127.0.0.1:80.", "Ncat: Connection from a client on Unix domain socket.", "Ncat: Connected to 127.0.0.1:80.",
			"invalid option -- 'Q'", "unrecognized option '--no'",
		},
	} {
		p := Of(name)
		got := []string{
			p.Listening("Listening", "localhost", v4), p.Listening("Bound", "::", v6), strings.Join(p.OnPath("p", "Bound"), "/"),
			strings.Join(p.OnPath("p", "Bound", "Listening"), "/"), strings.Join(p.ConnectedTo("p"), "/"),
			p.Accepted(mapped, "", lookup), p.Accepted(netip.AddrPort{}, "p", lookup), p.Connected("h (127.0.0.1)", 80, "tcp/http", "127.0.0.1"),
			p.Unknown("-Q"), p.Unknown("--no"),
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if looked != 1 {
		t.Errorf("%d lookups, want 1", looked)
	}
}
