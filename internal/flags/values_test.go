package flags

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseSeconds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"1": time.Second, "0.5": time.Second / 2, ".5": time.Second / 2, "300ms": 300 * time.Millisecond, "2m": 2 * time.Minute,
		"1h30m": 90 * time.Minute, "010": 10 * time.Second, "1e3": 1000 * time.Second, "1.5s": 1500 * time.Millisecond, "10us": 10 * time.Microsecond,
	} {
		if d, err := ParseSeconds(text); err != nil || d != want {
			t.Errorf("%s: %v (%v), want %v", text, d, err, want)
		}
	}
	for text, want := range map[string]string{
		"0": "too small", "-1": "too small", "0s": "too small", "-300ms": "too small",
		"": "invalid", "x": "invalid", "1x": "invalid", "1 s": "invalid", "0x10": "invalid", "1_0": "invalid", "inf": "invalid", "NaN": "invalid",
		"Infinity": "invalid", "1d": "invalid", "1,5": "invalid", "--": "invalid", "1p4": "invalid", "0x1p-2": "invalid",
		"1e300": "too large", "99999999999999": "too large", "-1e300": "too",
	} {
		if d, err := ParseSeconds(text); err == nil || !strings.Contains(err.Error(), want) || d != 0 {
			t.Errorf("%q: %v (%v), want an error with %q", text, d, err, want)
		}
	}
	// A number that rounds to 0 would mean "no limit".
	if d, err := ParseSeconds("1e-12"); err == nil {
		t.Errorf("1e-12 is %v, which means no limit", d)
	}
	for text, want := range map[string]time.Duration{"-1": -time.Second, "0": 0, "5": 5 * time.Second} {
		if d, err := ParseSignedSeconds(text); err != nil || d != want {
			t.Errorf("%s: %v (%v)", text, d, err)
		}
	}
}

func TestParseTOS(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"lowdelay": 0x10, "throughput": 8, "reliability": 4, "ef": 0xb8, "EF": 0xb8, "af11": 0x28, "af43": 0x98, "cs1": 0x20, "cs7": 0xe0,
		"critical": 0xa0, "inetcontrol": 0xc0, "netcontrol": 0xe0, "0x10": 16, "16": 16, "0": 0, "255": 255, "010": 8,
	} {
		if n, err := ParseTOS(text); err != nil || n != want {
			t.Errorf("%s: %d (%v), want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", "256", "-1", "af44", "x", "0x100"} {
		if n, err := ParseTOS(text); err == nil || n != 0 {
			t.Errorf("%q is %d", text, n)
		}
	}
}

// Words of TLS that nc of OpenBSD has in -T name the option in their place.
func TestTOSOfTLS(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"noverify", "noname", "clientcert", "protocols=tlsv1.3", "ciphers=secure"} {
		if n, err := ParseTOS(text); err == nil || n != 0 || !strings.Contains(err.Error(), "--ssl-insecure") {
			t.Errorf("%s: %d, %v", text, n, err)
		}
	}
}

// Names of protocols, each of 1 to 255 bytes.
func TestParseALPN(t *testing.T) {
	t.Parallel()
	if names, err := ParseALPN("h2,http/1.1"); err != nil || !slices.Equal(names, []string{"h2", "http/1.1"}) {
		t.Errorf("%q, %v", names, err)
	}
	for _, text := range []string{"", ",a", "a,", "a,,b", strings.Repeat("x", 256)} {
		if names, err := ParseALPN(text); err == nil {
			t.Errorf("%q: %q", text, names)
		}
	}
}

func TestParseKeepalive(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", ",", "30,", "30,10,", "30,10,0", "30,10,128", "30,10,3,1", "x", "0,10", "-1", "0.5", "30,0.1", "500ms", "30,10,x"} {
		if config, err := ParseKeepalive(text); err == nil {
			t.Errorf("%q is %+v", text, config)
		}
	}
	for text, want := range map[string]string{
		"30":      "{true 30s 0s 0}",
		"1m,5":    "{true 1m0s 5s 0}",
		"30s,5,9": "{true 30s 5s 9}",
		"0":       "{false 0s 0s 0}",
	} {
		if config, err := ParseKeepalive(text); err != nil || fmt.Sprint(config) != want {
			t.Errorf("%q: %v (%v), want %s", text, config, err, want)
		}
	}
}

func TestParsePercent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{"0": 0, "5": 0.05, "5%": 0.05, "0.5%": 0.005, "100": 1, "100%": 1, ".5": 0.005} {
		if share, err := ParsePercent(text); err != nil || share != want {
			t.Errorf("%s: %v (%v), want %v", text, share, err, want)
		}
	}
	for _, text := range []string{"", "%", "x", "-1", "+1", "100.1", "1e1", "5%%", "5 %", "NaN", "0x1p1", "."} {
		if share, err := ParsePercent(text); err == nil || share != 0 {
			t.Errorf("%q is %v", text, share)
		}
	}
}

func TestParseSHA256(t *testing.T) {
	t.Parallel()
	if sum, err := ParseSHA256(strings.Repeat("aB", 32)); err != nil || !bytes.Equal(sum, bytes.Repeat([]byte{0xab}, 32)) {
		t.Errorf("got %x (%v)", sum, err)
	}
	for _, text := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("0", 66), strings.Repeat("0", 62) + "0x"} {
		if sum, err := ParseSHA256(text); err == nil || sum != nil {
			t.Errorf("%q is %x", text, sum)
		}
	}
}
