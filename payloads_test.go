package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"purr/internal/display"
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
	payloadRandom = &countingReader{}
	defer func() { payloadRandom = rand.Reader }()
	f()
}

// TestPayloadRequests compares every request with testdata/requests.txt, whose lines are "name hex".
func TestPayloadRequests(t *testing.T) {
	to := &payloadTarget{host: "gw.example", addr: netip.MustParseAddrPort("192.0.2.1:1900"),
		local: netip.MustParseAddrPort("192.0.2.9:40000"), secret: []byte("testing123")}
	var got strings.Builder
	for _, p := range payloads {
		if p.build != nil {
			predictable(t, func() { got.WriteString(p.name + " " + hex.EncodeToString(p.build(to)) + "\n") })
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

// TestPayloadLiterals holds some requests against bytes worked out by hand from the documents.
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
		// 64 bytes, RFC 3414 4: version 3; msgID 0x40010203, 65507, reportable, USM; empty USM parameters; empty scope; Get.
		"snmp": "303e020103" + "3011" + "020440010203" + "020300ffe3" + "040104" + "020103" + "0410" + "300e0400020100020100040004000400" +
			"3014" + "0400" + "0400" + "a00e" + "020444050607" + "020100" + "020100" + "3000",
	} {
		predictable(t, func() {
			if got := hex.EncodeToString(payloadByName(name).build(&payloadTarget{})); got != want {
				t.Errorf("%s:\n got %s\nwant %s", name, got, want)
			}
		})
	}
}

// readExchange reads a file of testdata/replies: the request and the reply of a real server, in hex.
func readExchange(t testing.TB, file string) *payloadExchange {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	request, reply, ok := strings.Cut(strings.TrimSpace(string(b)), "\n")
	x := &payloadExchange{secret: []byte("testing123")}
	var err1, err2 error
	x.request, err1 = hex.DecodeString(request)
	x.reply, err2 = hex.DecodeString(reply)
	if !ok || err1 != nil || err2 != nil {
		t.Fatal(file, err1, err2)
	}
	return x
}

// recorded returns the exchanges with real servers by payload name.
func recorded(t testing.TB) map[string][]*payloadExchange {
	files, err := filepath.Glob("testdata/replies/*.hex")
	if err != nil || len(files) == 0 {
		t.Fatal("no recorded replies", err)
	}
	all := map[string][]*payloadExchange{}
	for _, f := range files {
		name, longest := "", ""
		for _, p := range payloads {
			if base := filepath.Base(f); strings.HasPrefix(base, p.name+"-") && len(p.name) > len(longest) {
				name, longest = p.name, p.name
			}
		}
		all[name] = append(all[name], readExchange(t, f))
	}
	return all
}

// TestPayloadReplies matches what real servers said, and nothing with another nonce.
func TestPayloadReplies(t *testing.T) {
	noNonce := map[string]bool{"tftp": true, "ssdp": true, "dtls": true, "nat-pmp": true} // their protocols have none
	for name, exchanges := range recorded(t) {
		p := payloadByName(name)
		for _, x := range exchanges {
			answer, ok := p.match(x)
			if !ok {
				t.Errorf("%s: real reply %x not taken", name, x.reply)
			}
			t.Logf("%s: %s", name, answer.fact)
			for n := range x.reply {
				short := *x
				short.reply = x.reply[:n]
				p.match(&short) // must not panic
			}
			if noNonce[name] {
				continue
			}
			other := *x
			other.request = p.build(&payloadTarget{addr: netip.MustParseAddrPort("192.0.2.1:1"), secret: x.secret})
			if name == "ipmi" && other.request[9] == x.request[9] { // a tag of one byte
				continue
			}
			if _, ok := p.match(&other); ok {
				t.Errorf("%s: took the answer to another request", name)
			}
		}
	}
}

// TestPayloadFacts checks facts word for word, with replies made from the documents where no server was at hand.
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
		// 192.0.2.1:32853, the address of RFC 5769 2.2, and the IPv6 one of 2.3 under its own transaction ID.
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
		answer, ok := payloadByName(test.name).match(&payloadExchange{request: []byte(test.request), reply: []byte(test.reply)})
		if !ok || answer.fact != test.fact {
			t.Errorf("%s: reply %q: %q %v, want %q", test.name, test.reply, answer.fact, ok, test.fact)
		}
	}
}

// TestPayloadFollowUps checks the datagrams that answer an answer.
func TestPayloadFollowUps(t *testing.T) {
	stop, _ := matchTFTP(&payloadExchange{request: []byte("\x00\x01x\x00octet\x00"), reply: []byte("\x00\x03\x00\x01hello")})
	if !stop.final || !bytes.HasPrefix(stop.next, []byte{0, 5, 0, 0}) {
		t.Errorf("tftp data is not stopped: %q", stop.next)
	}
	again, _ := matchA2S(&payloadExchange{request: []byte(a2sInfo), reply: []byte("\xff\xff\xff\xffA1234")})
	if string(again.next) != a2sInfo+"1234" || again.final {
		t.Errorf("a2s challenge: %q", again.next)
	}
	never, ok := matchA2S(&payloadExchange{request: again.next, reply: []byte("\xff\xff\xff\xffA5678")})
	if never.next != nil || !ok {
		t.Errorf("a2s goes round in circles: %q", never.next)
	}
}

// TestNTPOffset checks the formula of RFC 5905 8, also across the end of the era in 2036.
func TestNTPOffset(t *testing.T) {
	for _, now := range []time.Time{time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)} {
		stamp := func(at time.Time) []byte {
			seconds := uint32(at.Unix() + 2208988800)
			fraction := uint32(uint64(at.Nanosecond()) << 32 / 1e9)
			return []byte{byte(seconds >> 24), byte(seconds >> 16), byte(seconds >> 8), byte(seconds),
				byte(fraction >> 24), byte(fraction >> 16), byte(fraction >> 8), byte(fraction)}
		}
		x := &payloadExchange{request: buildNTP(nil), reply: make([]byte, ntpLen), sent: now, received: now.Add(20 * time.Millisecond)}
		x.reply[0], x.reply[1] = 0x24, 2
		copy(x.reply[ntpOrigin:], x.request[ntpTransmit:])
		copy(x.reply[ntpReceive:], stamp(now.Add(-250*time.Millisecond+10*time.Millisecond)))
		copy(x.reply[ntpTransmit:], stamp(now.Add(-250*time.Millisecond+10*time.Millisecond)))
		if answer, ok := matchNTP(x); !ok || answer.fact != "stratum 2, offset -250.000 ms" {
			t.Errorf("%v: %q %v", now, answer.fact, ok)
		}
	}
}

// TestPayloadTable checks that names are unique and that an entry asks or says why it cannot.
func TestPayloadTable(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range payloads {
		if seen[p.name] {
			t.Errorf("%s stands twice", p.name)
		}
		seen[p.name] = true
		if (p.build == nil) != (p.silent != "") || p.doc == "" {
			t.Errorf("%s: neither asks nor explains", p.name)
		}
		if p.build == nil {
			continue
		}
		to := &payloadTarget{addr: netip.MustParseAddrPort("192.0.2.1:1900")}
		request := p.build(to)
		if len(request) > quicDatagram {
			t.Errorf("%s: request of %d bytes", p.name, len(request))
		}
		fixed := map[string]bool{"ssdp": true, "a2s": true, "nat-pmp": true, "none": true}
		if !fixed[p.name] && p.name != "ipmi" && bytes.Equal(request, p.build(to)) {
			t.Errorf("%s: no nonce", p.name)
		}
	}
	for _, name := range payloadGeneric {
		if payloadByName(name) == nil {
			t.Errorf("generic %s is not in the table", name)
		}
	}
	if list := payloadList(); strings.Count(list, "\n") != len(payloads) {
		t.Error(list)
	}
}

func TestPayloadText(t *testing.T) {
	for in, want := range map[string]string{"": "", "a b": "a b", "\x1b[31m\r\n\t\x00\xff\\": `\x1b[31m\r\n\t\x00\xff\\`,
		"0123456789abc": "0123456789a..."} {
		if got := display.Payload([]byte(in), 11); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzPayloadMatch runs every matcher over a request and a reply: none may panic, and facts go to a terminal.
func FuzzPayloadMatch(f *testing.F) {
	for _, exchanges := range recorded(f) {
		for _, x := range exchanges {
			f.Add(x.request, x.reply)
		}
	}
	f.Add([]byte(a2sInfo), []byte("\xff\xff\xff\xffI\x11Cats\x00de_dust\x00dir\x00game\x00\x0a\x00\x03\x10\x00"))
	f.Add([]byte("\xff\xff\xff\xffgetinfo abcd"), []byte("\xff\xff\xff\xffinfoResponse\n\\challenge\\abcd\\hostname\\x"))
	f.Add([]byte{0, 0}, []byte{0, 128, 0, 0, 0, 0, 0, 1, 192, 0, 2, 1})
	f.Fuzz(func(t *testing.T, request, reply []byte) {
		x := &payloadExchange{request: request, reply: reply, secret: []byte("s"), sent: time.Unix(1.7e9, 0), received: time.Unix(1.7e9, 1e6)}
		for _, p := range payloads {
			if p.match == nil {
				continue
			}
			answer, ok := p.match(x)
			if !ok && (answer.fact != "" || answer.next != nil) {
				t.Errorf("%s: says %q of a reply it does not take", p.name, answer.fact)
			}
			if len(answer.fact) > 2000 || len(answer.next) > 200 {
				t.Errorf("%s: fact of %d bytes, next of %d", p.name, len(answer.fact), len(answer.next))
			}
			for _, c := range answer.fact {
				if c > unicode.MaxASCII || !unicode.IsPrint(c) {
					t.Errorf("%s: fact %q is not fit for a terminal", p.name, answer.fact)
				}
			}
		}
		var c pingCounter
		c.stamp(bytes.Clone(reply))
	})
}
