package payload

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
)

var updatePayloads = flag.Bool("update-payloads", false, "rewrite testdata/requests.txt")

// countingReader is a source of nonces that counts: 00 01 02 ...
type countingReader struct{ next byte }

func (c *countingReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = c.next
		c.next++
	}
	return len(b), nil
}

// predictable makes nonces count up from zero for one build.
func predictable(t testing.TB, f func()) {
	random = &countingReader{}
	defer func() { random = rand.Reader }()
	f()
}

// TestPayloadRequests compares every request with testdata/requests.txt, whose
// lines are "name hex".
func TestPayloadRequests(t *testing.T) {
	to := &Target{Host: "gw.example", Addr: netip.MustParseAddrPort("192.0.2.1:1900"),
		Local: netip.MustParseAddrPort("192.0.2.9:40000"), Secret: []byte("testing123")}
	var got strings.Builder
	for _, p := range table {
		if p.Build != nil {
			predictable(t, func() { got.WriteString(p.Name + " " + hex.EncodeToString(p.Build(to)) + "\n") })
		}
	}
	const file = "testdata/requests.txt"
	if *updatePayloads {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wantLines := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(wantLines) || line != wantLines[i] {
			t.Errorf("request changed: %s", line)
		}
	}
}

// TestPayloadLiterals compares requests with bytes worked out by hand from the
// documents.
func TestPayloadLiterals(t *testing.T) {
	for name, want := range map[string]string{
		"dns":       "0001" + "0100" + "0001000000000000" + "00" + "0002" + "0001",
		"stun":      "0001" + "0000" + "2112a442" + "000102030405060708090a0b",
		"coap":      "4000" + "0001",
		"rpcbind":   "00010203" + "00000000" + "00000002" + "000186a0" + "00000002" + "00000000" + strings.Repeat("00", 16),
		"openvpn":   "38" + "0001020304050607" + "00" + "00000000",
		"mumble":    "00000000" + "0001020304050607",
		"nat-pmp":   "0000",
		"ipmi":      "0600ff06" + "000011be" + "80" + "00" + "00" + "00",
		"memcached": "0001" + "0000" + "0001" + "0000" + hex.EncodeToString([]byte("version\r\n")),
		"a2s":       "ffffffff54" + hex.EncodeToString([]byte("Source Engine Query\x00")),
		// 64 bytes, RFC 3414 4: version 3; msgID 0x40010203, 65507, reportable,
		// USM; empty USM parameters; empty scope; Get.
		"snmp": "303e020103" + "3011" + "020440010203" + "020300ffe3" + "040104" + "020103" + "0410" + "300e0400020100020100040004000400" +
			"3014" + "0400" + "0400" + "a00e" + "020444050607" + "020100" + "020100" + "3000",
	} {
		predictable(t, func() {
			if got := hex.EncodeToString(ByName(name).Build(&Target{})); got != want {
				t.Errorf("%s:\n got %s\nwant %s", name, got, want)
			}
		})
	}
}

// readExchange reads a file of testdata/replies: the request and the reply of a
// real server, in hex.
func readExchange(t testing.TB, file string) *Exchange {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	request, reply, ok := strings.Cut(strings.TrimSpace(string(b)), "\n")
	x := &Exchange{Secret: []byte("testing123")}
	var err1, err2 error
	x.Request, err1 = hex.DecodeString(request)
	x.Reply, err2 = hex.DecodeString(reply)
	if !ok || err1 != nil || err2 != nil {
		t.Fatal(file, err1, err2)
	}
	return x
}

// recorded returns the exchanges with real servers by payload name.
func recorded(t testing.TB) map[string][]*Exchange {
	files, err := filepath.Glob("testdata/replies/*.hex")
	if err != nil || len(files) == 0 {
		t.Fatal("no recorded replies", err)
	}
	all := map[string][]*Exchange{}
	for _, f := range files {
		name, longest := "", ""
		for _, p := range table {
			if base := filepath.Base(f); strings.HasPrefix(base, p.Name+"-") && len(p.Name) > len(longest) {
				name, longest = p.Name, p.Name
			}
		}
		all[name] = append(all[name], readExchange(t, f))
	}
	return all
}

// TestPayloadReplies matches recorded replies of real servers, and none with
// another nonce.
func TestPayloadReplies(t *testing.T) {
	noNonce := map[string]bool{"tftp": true, "ssdp": true, "dtls": true, "nat-pmp": true} // their protocols have none
	for name, exchanges := range recorded(t) {
		p := ByName(name)
		for _, x := range exchanges {
			answer, ok := p.Match(x)
			if !ok {
				t.Errorf("%s: real reply %x not taken", name, x.Reply)
			}
			t.Logf("%s: %s", name, answer.Fact)
			for n := range x.Reply {
				short := *x
				short.Reply = x.Reply[:n]
				p.Match(&short) // must not panic
			}
			if noNonce[name] {
				continue
			}
			other := *x
			other.Request = p.Build(&Target{Addr: netip.MustParseAddrPort("192.0.2.1:1"), Secret: x.Secret})
			if name == "ipmi" && other.Request[9] == x.Request[9] { // a tag of one byte
				continue
			}
			if _, ok := p.Match(&other); ok {
				t.Errorf("%s: took the answer to another request", name)
			}
		}
	}
}

// TestPayloadFacts checks facts word for word, with replies made from the
// documents where no server was at hand.
func TestPayloadFacts(t *testing.T) {
	unhex := func(s string) string {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	stun := unhex("0001 0000 2112a442 000102030405060708090a0b")
	ntp := unhex("23" + strings.Repeat("00", 39) + "0102030405060708")
	for _, test := range []struct{ name, request, reply, fact string }{
		{"dns", unhex("0001 0100 0001000000000000 00 0002 0001"), unhex("0001 8183 0001000000000000 00 0002 0001"), "NXDOMAIN"},
		{"dns", unhex("0001 0100 0001000000000000 00 0002 0001"), unhex("0001 818f 0001000000000000 00 0002 0001"), "rcode 15"},
		{"ntp", ntp, unhex("24 00 00 00 00000000 00000000") + "RATE" + unhex(strings.Repeat("00", 8)+"0102030405060708"+strings.Repeat("00", 16)), "kiss-o'-death RATE"},
		{"ntp", ntp, unhex("24 00 00 00 00000000 00000000") + "\x1b[2J" + unhex(strings.Repeat("00", 8)+"0102030405060708"+strings.Repeat("00", 16)), `kiss-o'-death \x1b[2J`},
		{"ntp", ntp, unhex("e4 10" + strings.Repeat("00", 22) + "0102030405060708" + strings.Repeat("00", 16)), "stratum 16, not synchronised"},
		// 192.0.2.1:32853, the address of RFC 5769 2.2, and the IPv6 one of 2.3
		// under its own transaction ID.
		{"stun", stun, unhex("0101 000c 2112a442 000102030405060708090a0b 0020 0008 0001 a147 e112a643"), "public address 192.0.2.1:32853"},
		{"stun", unhex("0001 0000 2112a442 b7e7a701bc34d686fa87dfae"), unhex("0101 0018 2112a442 b7e7a701bc34d686fa87dfae" +
			"0020 0014 0002 a147 0113a9faa5d3f179bc25f4b5bed2b9d9"), "public address [2001:db8:1234:5678:11:2233:4455:6677]:32853"},
		{"stun", stun, unhex("0101 000c 2112a442 000102030405060708090a0b 0001 0008 0001 8055 c0000201"), "public address 192.0.2.1:32853"},
		{"stun", stun, unhex("0111 0010 2112a442 000102030405060708090a0b 0009 000b 0000 0414") + "Unknown\x00", "error 420 Unknown"},
		{"tftp", "\x00\x01x\x00octet\x00", "\x00\x03\x00\x01hello", "data, 5 bytes"},
		{"tftp", "\x00\x01x\x00octet\x00", "\x00\x05\x00\x02no \x07\"bell\"\x00", `error 2 "no \x07\"bell\""`},
		{"a2s", a2sInfo, "\xff\xff\xff\xffA1234", "challenge"},
		{"a2s", a2sInfo + "1234", "\xff\xff\xff\xffI\x11Cats\x00de_dust\x00dir\x00game\x00\x0a\x00\x03\x10\x00", `"Cats", map de_dust, 3/16 players`},
		{"quake3", "\xff\xff\xff\xffgetinfo abcd", "\xff\xff\xff\xffinfoResponse\n\\challenge\\abcd\\hostname\\Cat ^1arena\\mapname\\q3dm17\\clients\\2\\sv_maxclients\\8",
			`"Cat ^1arena", map q3dm17, 2/8 players`},
		{"nat-pmp", "\x00\x00", unhex("00 80 0000 00000e10 c6336407"), "external address 198.51.100.7, up 1h0m0s"},
		{"nat-pmp", "\x00\x00", unhex("00 80 0002 00000e10 00000000"), "not authorised"},
		{"rpcbind", unhex("00010203" + strings.Repeat("00", 36)), unhex("00010203 00000001 00000000 00000000 00000000 00000001"), "PROG_UNAVAIL"},
		{"rpcbind", unhex("00010203" + strings.Repeat("00", 36)), unhex("00010203 00000001 00000001 00000000"), "denied, reject_stat 0"},
		{"coap", unhex("40000102"), unhex("70000102"), "reset"},
		{"mumble", unhex("00000000 0102030405060708"), unhex("00010500 0102030405060708 00000003 00000064 00011940"), "version 1.5.0, 3/100 users"},
		{"sip", "OPTIONS sip:x SIP/2.0\r\nCall-ID: 7\r\n\r\n", "SIP/2.0 404 No \x1b[31m\r\ni: 7\r\n\r\n", `404 No \x1b[31m`},
	} {
		answer, ok := ByName(test.name).Match(&Exchange{Request: []byte(test.request), Reply: []byte(test.reply)})
		if !ok || answer.Fact != test.fact {
			t.Errorf("%s: reply %q: %q %v, want %q", test.name, test.reply, answer.Fact, ok, test.fact)
		}
	}
}

// TestPayloadFollowUps checks the datagrams that answer an answer.
func TestPayloadFollowUps(t *testing.T) {
	stop, _ := matchTFTP(&Exchange{Request: []byte("\x00\x01x\x00octet\x00"), Reply: []byte("\x00\x03\x00\x01hello")})
	if !stop.Final || !bytes.HasPrefix(stop.Next, []byte{0, 5, 0, 0}) {
		t.Errorf("tftp data is not stopped: %q", stop.Next)
	}
	again, _ := matchA2S(&Exchange{Request: []byte(a2sInfo), Reply: []byte("\xff\xff\xff\xffA1234")})
	if string(again.Next) != a2sInfo+"1234" || again.Final {
		t.Errorf("a2s challenge: %q", again.Next)
	}
	never, ok := matchA2S(&Exchange{Request: again.Next, Reply: []byte("\xff\xff\xff\xffA5678")})
	if never.Next != nil || !ok {
		t.Errorf("a2s goes round in circles: %q", never.Next)
	}
}

// TestNTPOffset checks the formula of RFC 5905 8, also across the end of the
// era in 2036.
func TestNTPOffset(t *testing.T) {
	for _, now := range []time.Time{time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)} {
		stamp := func(at time.Time) []byte {
			seconds := uint32(at.Unix() + 2208988800)
			fraction := uint32(uint64(at.Nanosecond()) << 32 / 1e9)
			return []byte{byte(seconds >> 24), byte(seconds >> 16), byte(seconds >> 8), byte(seconds),
				byte(fraction >> 24), byte(fraction >> 16), byte(fraction >> 8), byte(fraction)}
		}
		x := &Exchange{Request: buildNTP(nil), Reply: make([]byte, ntpLen), Sent: now, Received: now.Add(20 * time.Millisecond)}
		x.Reply[0], x.Reply[1] = 0x24, 2
		copy(x.Reply[ntpOrigin:], x.Request[ntpTransmit:])
		copy(x.Reply[ntpReceive:], stamp(now.Add(-250*time.Millisecond+10*time.Millisecond)))
		copy(x.Reply[ntpTransmit:], stamp(now.Add(-250*time.Millisecond+10*time.Millisecond)))
		if answer, ok := matchNTP(x); !ok || answer.Fact != "stratum 2, offset -250.000 ms" {
			t.Errorf("%v: %q %v", now, answer.Fact, ok)
		}
	}
}

// TestPayloadTable checks that names are unique and that each payload has a
// request or a reason.
func TestPayloadTable(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range table {
		if seen[p.Name] {
			t.Errorf("%s stands twice", p.Name)
		}
		seen[p.Name] = true
		if (p.Build == nil) != (p.Silent != "") || p.Doc == "" {
			t.Errorf("%s: neither asks nor explains", p.Name)
		}
		if p.Build == nil {
			continue
		}
		to := &Target{Addr: netip.MustParseAddrPort("192.0.2.1:1900")}
		request := p.Build(to)
		if len(request) > quicDatagram {
			t.Errorf("%s: request of %d bytes", p.Name, len(request))
		}
		fixed := map[string]bool{"ssdp": true, "a2s": true, "nat-pmp": true, "none": true}
		if !fixed[p.Name] && p.Name != "ipmi" && bytes.Equal(request, p.Build(to)) {
			t.Errorf("%s: no nonce", p.Name)
		}
	}
	for _, name := range generic {
		if ByName(name) == nil {
			t.Errorf("generic %s is not in the table", name)
		}
	}
}

// FuzzPayloadMatch runs every matcher over a request and a reply. None may
// panic, and facts must be fit for a terminal.
func FuzzPayloadMatch(f *testing.F) {
	for _, exchanges := range recorded(f) {
		for _, x := range exchanges {
			f.Add(x.Request, x.Reply)
		}
	}
	f.Add([]byte(a2sInfo), []byte("\xff\xff\xff\xffI\x11Cats\x00de_dust\x00dir\x00game\x00\x0a\x00\x03\x10\x00"))
	f.Add([]byte("\xff\xff\xff\xffgetinfo abcd"), []byte("\xff\xff\xff\xffinfoResponse\n\\challenge\\abcd\\hostname\\x"))
	f.Add([]byte{0, 0}, []byte{0, 128, 0, 0, 0, 0, 0, 1, 192, 0, 2, 1})
	f.Fuzz(func(t *testing.T, request, reply []byte) {
		x := &Exchange{Request: request, Reply: reply, Secret: []byte("s"), Sent: time.Unix(1.7e9, 0), Received: time.Unix(1.7e9, 1e6)}
		for _, p := range table {
			if p.Match == nil {
				continue
			}
			answer, ok := p.Match(x)
			if !ok && (answer.Fact != "" || answer.Next != nil) {
				t.Errorf("%s: says %q of a reply it does not take", p.Name, answer.Fact)
			}
			if len(answer.Fact) > 2000 || len(answer.Next) > 200 {
				t.Errorf("%s: fact of %d bytes, next of %d", p.Name, len(answer.Fact), len(answer.Next))
			}
			for _, c := range answer.Fact {
				if c > unicode.MaxASCII || !unicode.IsPrint(c) {
					t.Errorf("%s: fact %q is not fit for a terminal", p.Name, answer.Fact)
				}
			}
		}
	})
}

// List has a line for every payload.
func TestList(t *testing.T) {
	t.Parallel()
	for _, p := range All() {
		if !strings.Contains("\n"+List(), fmt.Sprintf("\n%-10s ", p.Name)) {
			t.Errorf("no %s in\n%s", p.Name, List())
		}
	}
	if n := strings.Count(List(), "\n"); n != len(All()) {
		t.Errorf("%d lines", n)
	}
}
