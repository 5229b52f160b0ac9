package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSeconds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"1": time.Second, "0.5": time.Second / 2, ".5": time.Second / 2, "300ms": 300 * time.Millisecond, "2m": 2 * time.Minute,
		"1h30m": 90 * time.Minute, "010": 10 * time.Second, "1e3": 1000 * time.Second, "1.5s": 1500 * time.Millisecond, "10us": 10 * time.Microsecond,
	} {
		var s seconds
		if err := s.Set(text); err != nil || s.d != want || !s.set {
			t.Errorf("%s: %v (%v), want %v", text, s.d, err, want)
		}
	}
	for text, want := range map[string]string{
		"0": "too small", "-1": "too small", "0s": "too small", "-300ms": "too small",
		"": "invalid", "x": "invalid", "1x": "invalid", "1 s": "invalid", "0x10": "invalid", "1_0": "invalid", "inf": "invalid", "NaN": "invalid",
		"Infinity": "invalid", "1d": "invalid", "1,5": "invalid", "--": "invalid", "1p4": "invalid", "0x1p-2": "invalid",
		"1e300": "too large", "99999999999999": "too large", "-1e300": "too",
	} {
		var s seconds
		if err := s.Set(text); err == nil || !strings.Contains(err.Error(), want) || s.set {
			t.Errorf("%q: %v (%v), want an error with %q", text, s.d, err, want)
		}
	}
	// A number without a unit so small that it is nothing would mean "for ever".
	var s seconds
	if err := s.Set("1e-12"); err == nil {
		t.Errorf("1e-12 is %v, which means no limit", s.d)
	}
	s = seconds{negative: true}
	for text, want := range map[string]time.Duration{"-1": -time.Second, "0": 0, "5": 5 * time.Second} {
		if err := s.Set(text); err != nil || s.d != want {
			t.Errorf("%s: %v (%v)", text, s.d, err)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"1", "1 <nil>"}, {"010", "10 <nil>"}, {"100", "100 <nil>"},
		{"0", "0 thing too small: 0"}, {"-5", "0 thing too small: -5"}, {"101", "0 thing too large: 101"},
		{"99999999999999999999", "0 thing too large: 99999999999999999999"}, {"-99999999999999999999", "0 thing too small: -99999999999999999999"},
		{"", "0 thing invalid: "}, {"x", "0 thing invalid: x"}, {"0x1", "0 thing invalid: 0x1"}, {"1_0", "0 thing invalid: 1_0"}, {"1.5", "0 thing invalid: 1.5"},
		{" 1", "0 thing invalid:  1"}, {"١", "0 thing invalid: ١"},
	} {
		v := number{what: "thing", low: 1, high: 100}
		err := v.Set(test.text)
		if got := fmt.Sprint(v.n, " ", err); got != test.want {
			t.Errorf("%q: %s, want %s", test.text, got, test.want)
		}
	}
}

func TestByteSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"1": 1, "64k": 64 << 10, "64K": 64 << 10, "1m": 1 << 20, "2M": 2 << 20, "1g": 1 << 30, "2147483647": 1<<31 - 1} {
		var v byteSize
		if err := v.Set(text); err != nil || v.n != want || !v.set {
			t.Errorf("%s: %d (%v), want %d", text, v.n, err, want)
		}
	}
	for _, text := range []string{"", "k", "0", "0k", "-1", "-1k", "2G", "2147483648", "1kk", "1 k", "1.5M", "x", "0x10", "1T"} {
		var v byteSize
		if err := v.Set(text); err == nil || v.set {
			t.Errorf("%q is %d", text, v.n)
		}
	}
}

func TestTypeOfService(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"lowdelay": 0x10, "throughput": 8, "reliability": 4, "ef": 0xb8, "EF": 0xb8, "af11": 0x28, "af43": 0x98, "cs1": 0x20, "cs7": 0xe0,
		"critical": 0xa0, "inetcontrol": 0xc0, "netcontrol": 0xe0, "0x10": 16, "16": 16, "0": 0, "255": 255,
	} {
		var v typeOfService
		if err := v.Set(text); err != nil || v.n != want || !v.set {
			t.Errorf("%s: %d (%v), want %d", text, v.n, err, want)
		}
	}
	for _, text := range []string{"", "256", "-1", "af44", "x", "0x100"} {
		var v typeOfService
		if err := v.Set(text); err == nil || v.set {
			t.Errorf("%q is %d", text, v.n)
		}
	}
}

func TestKeepaliveValue(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", ",", "30,", "30,10,", "30,10,0", "30,10,128", "30,10,3,1", "x", "0,10", "-1", "0.5", "30,0.1", "500ms", "30,10,x"} {
		var v keepalive
		if err := v.Set(text); err == nil {
			t.Errorf("%q is %+v", text, v.config)
		}
	}
	for text, want := range map[string]string{
		"30":      "{true 30s 0s 0}",
		"1m,5":    "{true 1m0s 5s 0}",
		"30s,5,9": "{true 30s 5s 9}",
		"0":       "{false 0s 0s 0}",
	} {
		var v keepalive
		if err := v.Set(text); err != nil || fmt.Sprint(v.config) != want {
			t.Errorf("%q: %v (%v), want %s", text, v.config, err, want)
		}
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]int{
		"80": {80}, "http": {80}, "HTTP": {80}, "1": {1}, "65535": {65535}, "080": {80}, "00080": {80},
		"20-23": {20, 21, 22, 23}, "23-20": {20, 21, 22, 23}, "5-5": {5}, "80,443": {80, 443}, "443,80": {443, 80},
		"ssh,80-81,http": {22, 80, 81, 80}, "ftp-data": {20}, "20-ssh": {20, 21, 22},
	} {
		got, err := parsePorts("tcp", text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "65536", "-", "-5", "5-", "1-65536", "0-5", ",", "80,", ",80", "80,,81", "x", "80x", "8 0", " 80", "0x50", "8.0", "+80", "1-2-3", "80-http-x"} {
		if got, err := parsePorts("tcp", text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	if got, err := parsePorts("tcp", "1-65535"); err != nil || len(got) != 65535 || got[0] != 1 || got[65534] != 65535 {
		t.Errorf("all ports: %d (%v)", len(got), err)
	}
	if port, err := parsePort("tcp", "0", 0); err != nil || port != 0 {
		t.Errorf("0: %d (%v)", port, err)
	}
	if port, err := parsePort("tcp", "", 0); err == nil {
		t.Errorf("an empty port is %d", port)
	}
	if port, err := parsePort("udp", "domain", 1); err != nil || port != 53 {
		t.Errorf("domain: %d (%v)", port, err)
	}
}
