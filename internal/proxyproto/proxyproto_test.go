package proxyproto

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"purr/internal/testkit"
)

func header(source, destination string) Header {
	return Header{netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)}
}

const v6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

var good = map[string]struct {
	bytes string
	want  Header
}{
	"TCP4":         {"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n", header("192.0.2.1:56324", "10.0.0.1:443")},
	"TCP6":         {"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", header("[2001:db8::1]:0", "[::1]:65535")},
	"TCP6, mapped": {"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:10.0.0.1 1 2\r\n", header("192.0.2.1:1", "10.0.0.1:2")},
	"longest": {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		header("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")},
	"UNKNOWN":                  {"PROXY UNKNOWN\r\n", Header{}},
	"UNKNOWN, with addresses":  {"PROXY UNKNOWN ffff:f::f ffff::ffff 65535 65535\r\n", Header{}},
	"2, IPv4":                  {signature2 + "\x21\x11\x00\x0c\xc0\x00\x02\x01\x0a\x00\x00\x01\xdc\x04\x01\xbb", header("192.0.2.1:56324", "10.0.0.1:443")},
	"2, IPv4 with extensions":  {signature2 + "\x21\x11\x00\x10\xc0\x00\x02\x01\x0a\x00\x00\x01\xdc\x04\x01\xbb\x04\x00\x01x", header("192.0.2.1:56324", "10.0.0.1:443")},
	"2, IPv6":                  {signature2 + "\x21\x21\x00\x24" + v6 + "\x01" + v6 + "\x02\x00\x01\x00\x02", header("[2001:db8::1]:1", "[2001:db8::2]:2")},
	"2, datagrams":             {signature2 + "\x21\x12\x00\x0c\xc0\x00\x02\x01\x0a\x00\x00\x01\xdc\x04\x01\xbb", header("192.0.2.1:56324", "10.0.0.1:443")},
	"2, local":                 {signature2 + "\x20\x00\x00\x00", Header{}},
	"2, local, with addresses": {signature2 + "\x20\x11\x00\x0c\xc0\x00\x02\x01\x0a\x00\x00\x01\xdc\x04\x01\xbb", Header{}},
	"2, local, too short":      {signature2 + "\x20\x11\x00\x01x", Header{}},
	"2, unspecified":           {signature2 + "\x21\x00\x00\x03abc", Header{}},
	"2, Unix":                  {signature2 + "\x21\x31\x00\xd8" + strings.Repeat("/", 216), Header{}},
}

// A header is read exactly, in whatever pieces it arrives.
func TestRead(t *testing.T) {
	t.Parallel()
	for name, test := range good {
		for _, slow := range []bool{false, true} {
			rest := strings.NewReader(test.bytes + "payload")
			var r io.Reader = rest
			if slow {
				r = iotest.OneByteReader(rest)
			}
			got, err := Read(r)
			if err != nil || got != test.want || rest.Len() != len("payload") {
				t.Errorf("%s: %v, %v, and not %v; %d bytes are left", name, got, err, test.want, rest.Len())
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"":                                 io.EOF,
		"PROXY TCP4 192.0.2.1":             ErrCut,
		"P":                                ErrCut,
		signature2:                         ErrCut,
		signature2 + "\x21\x11\x00\x0cabc": ErrCut,
		"GET / HTTP/1.0\r\n\r\n":           ErrNoHeader,
		"PROPFIND / HTTP/1.0\r\n\r\n":      ErrNoHeader,
		"PROXYTCP4 ":                       ErrNoHeader,
		"SSH-2.0-x\r\n":                    ErrNoHeader,
		"\r\n\r\nnothing of the kind":      ErrNoHeader,
		"\n":                               ErrNoHeader,
		"P\n":                              ErrNoHeader,

		"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n":                      nil,
		"PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n":                      nil,
		"PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n":                  nil,
		"PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n":                   nil,
		"PROXY TCP4 ::1 ::1 1 2\r\n":                               nil,
		"PROXY TCP4 127.1 10.0.0.1 1 2\r\n":                        nil,
		"PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n":                    nil,
		"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n":                      nil,
		"PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n":                   nil,
		"PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n":                   nil,
		"PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n":                nil,
		"PROXY TCP4 192.0.2.1 10.0.0.1 1 \r\n":                     nil,
		"PROXY tcp4 192.0.2.1 10.0.0.1 1 2\r\n":                    nil,
		"PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n":                    nil,
		"PROXY \r\n":                                               nil,
		"PROXY \x1b[2J\r\n":                                        nil,
		"PROXY UNKNOWN " + strings.Repeat("x", 93) + "\r\n":        nil,
		signature2 + "\x11\x11\x00\x0c" + strings.Repeat("x", 12):  nil,
		signature2 + "\x22\x11\x00\x0c" + strings.Repeat("x", 12):  nil,
		signature2 + "\x21\x13\x00\x0c" + strings.Repeat("x", 12):  nil,
		signature2 + "\x21\x41\x00\x0c" + strings.Repeat("x", 12):  nil,
		signature2 + "\x20\xff\x00\x00":                            nil,
		signature2 + "\x21\x11\x00\x0b" + strings.Repeat("x", 11):  nil,
		signature2 + "\x21\x21\x00\x23" + strings.Repeat("x", 35):  nil,
		signature2 + "\x21\x31\x00\xd7" + strings.Repeat("x", 215): nil,
	} {
		h, err := Read(strings.NewReader(text))
		switch {
		case err == nil || h != Header{}:
			t.Errorf("%q: %v, %v", text, h, err)
		case want != nil && err != want, want == nil && (err == ErrNoHeader || errors.Is(err, ErrCut)):
			t.Errorf("%q: %v, and not %v", text, err, want)
		case strings.ContainsAny(err.Error(), "\x1b\r\n"):
			t.Errorf("unfit for a terminal: %q", err)
		}
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	for _, h := range []Header{
		header("192.0.2.1:56324", "10.0.0.1:443"), header("[2001:db8::1]:1", "[::1]:2"), header("[2001:db8::1]:1", "10.0.0.1:2"),
		header("10.0.0.1:2", "[2001:db8::1]:1"), {},
	} {
		for version, b := range [][]byte{1: h.AppendVersion1([]byte("x")), 2: h.AppendVersion2([]byte("x"))} {
			if version == 0 {
				continue
			}
			if got, err := Read(bytes.NewReader(b[1:])); got != h || err != nil || b[0] != 'x' {
				t.Errorf("version %d: %q is %v (%v), and not %v", version, b, got, err, h)
			}
		}
	}
	mapped := header("[::ffff:192.0.2.1]:1", "10.0.0.1:2")
	if got := string(mapped.AppendVersion1(nil)); got != "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n" {
		t.Error(got)
	}
	zone := header("[fe80::1%eth0]:1", "[fe80::2%eth0]:2")
	if got := string(zone.AppendVersion1(nil)); got != "PROXY TCP6 fe80::1 fe80::2 1 2\r\n" {
		t.Error(got)
	}
	half := Header{Source: netip.MustParseAddrPort("10.0.0.1:1")}
	if got := string(half.AppendVersion1(nil)); got != "PROXY UNKNOWN\r\n" {
		t.Error(got)
	}
}

// A silent client is given up in time; after a header there is no deadline.
func TestReceive(t *testing.T) {
	t.Parallel()
	ours, theirs := testkit.TcpPair(t)
	testkit.WriteString(t, theirs, "PROX")
	if _, err := Receive(ours, 20*time.Millisecond); !errors.Is(err, ErrLate) {
		t.Error(err)
	}
	ours, theirs = testkit.TcpPair(t)
	testkit.WriteString(t, theirs, "PROXY UNKNOWN\r\n")
	if _, err := Receive(ours, 50*time.Millisecond); err != nil {
		t.Error(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { _, _ = theirs.Write([]byte("x")) })
	if n, err := ours.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// What was read can be written, and is read as the same.
func FuzzRead(f *testing.F) {
	for _, test := range good {
		f.Add(test.bytes + "payload")
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := strings.NewReader(text)
		h, err := Read(r)
		if err != nil {
			return
		}
		if used := len(text) - r.Len(); text[0] == 'P' && text[used-1] != '\n' || used < 15 {
			t.Errorf("%d bytes of %q were read", used, text)
		}
		if h.Source.IsValid() != h.Destination.IsValid() {
			t.Error(h)
		}
		for _, b := range [][]byte{h.AppendVersion1(nil), h.AppendVersion2(nil)} {
			if again, err := Read(bytes.NewReader(b)); err != nil || again != h {
				t.Errorf("%v, written as %q, is %v (%v)", h, b, again, err)
			}
		}
	})
}
