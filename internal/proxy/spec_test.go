package proxy

import (
	"strings"
	"testing"
)

func TestSpec(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	for _, test := range []struct {
		spec Spec
		want Config
		text string // of the error
	}{
		{Spec{X: "h"}, Config{Host: "h", Port: 1080}, ""},
		{Spec{X: "h:99", XType: "5"}, Config{Host: "h", Port: 99}, ""},
		{Spec{X: "h", XType: "4", User: "me"}, Config{Protocol: SOCKS4, Host: "h", Port: 1080, User: "me"}, ""},
		{Spec{X: "10.2.3.4:8080", XType: "connect", User: "ruser"}, Config{Protocol: HTTP, Host: "10.2.3.4", Port: 8080, User: "ruser"}, ""},
		{Spec{X: "h", XType: "connect"}, Config{Protocol: HTTP, Host: "h", Port: 3128}, ""},
		{Spec{X: "[::1]"}, Config{Host: "::1", Port: 1080}, ""},
		{Spec{X: "[::1]:99"}, Config{Host: "::1", Port: 99}, ""},
		{Spec{X: "h", Auth: "a:b:c"}, Config{Host: "h", Port: 1080, User: "a", Password: "b:c", HasPassword: true}, ""},
		{Spec{X: "h", Auth: "a"}, Config{Host: "h", Port: 1080, User: "a"}, ""},
		{Spec{X: "h", Auth: "a:"}, Config{Host: "h", Port: 1080, User: "a", HasPassword: true}, ""},
		{Spec{X: "h", DNS: "local"}, Config{Host: "h", Port: 1080, DNS: Local}, ""},
		{Spec{X: "h", DNS: "none"}, Config{Host: "h", Port: 1080, DNS: None}, ""},
		{Spec{Proxy: "h"}, Config{Protocol: HTTP, Host: "h", Port: 3128}, ""},
		{Spec{Proxy: "h:99", Type: "socks5"}, Config{Host: "h", Port: 99}, ""},
		{Spec{Proxy: "h", Type: "socks4"}, Config{Protocol: SOCKS4, Host: "h", Port: 1080}, ""},
		{Spec{Proxy: "SOCKS5://h"}, Config{Host: "h", Port: 1080}, ""},
		{Spec{Proxy: "socks5h://h:99/"}, Config{Host: "h", Port: 99}, ""},
		{Spec{Proxy: "socks5h://h", Type: "socks5h"}, Config{Host: "h", Port: 1080}, ""},
		{Spec{Proxy: "socks4a://me@h"}, Config{Protocol: SOCKS4, Host: "h", Port: 1080, User: "me"}, ""},
		{Spec{Proxy: "https://h"}, Config{Protocol: HTTPS, Host: "h", Port: 443}, ""},
		{Spec{Proxy: "socks5://me:p%40:%00%25@[::1]:99"},
			Config{Host: "::1", Port: 99, User: "me", Password: "p@:\x00%", HasPassword: true}, ""},
		{Spec{Proxy: "me:p@ss@h"}, Config{Protocol: HTTP, Host: "h", Port: 3128, User: "me", Password: "p@ss", HasPassword: true}, ""},

		{Spec{Proxy: "foo://h"}, Config{}, `option --proxy: scheme "foo": say socks4, socks4a, socks5, socks5h, http or https`},
		{Spec{Proxy: "socks5://::1:1080"}, Config{}, `option --proxy: an IPv6 address stands in brackets: say "[::1]:1080"`},
		{Spec{X: "::1"}, Config{}, `option -x: an IPv6 address stands in brackets: say "[::1]:1080"`},
		{Spec{X: "[::1"}, Config{}, `option -x: "[::1" is no address: say "[::1]:1080"`},
		{Spec{X: "[::1]9"}, Config{}, `option -x: "[::1]9" is no address: say "[::1]:1080"`},
		{Spec{X: "h:0"}, Config{}, "option -x: port number too small: 0"},
		{Spec{X: "h:"}, Config{}, "option -x: a port number is missing"},
		{Spec{X: ":80"}, Config{}, `option -x: ":80" is no HOST[:PORT]`},
		{Spec{X: "me@h"}, Config{}, `option -x: "me@h" is no HOST[:PORT]`},
		{Spec{Proxy: "http://h/path"}, Config{}, `option --proxy: "h/path" is no HOST[:PORT]`},
		{Spec{X: "h", XType: "6"}, Config{}, `option -X: "6": say 4, 5 or connect`},
		{Spec{XType: "5"}, Config{}, "option -X needs a proxy: say -x HOST[:PORT]"},
		{Spec{Auth: "me:secret"}, Config{}, "option --proxy-auth needs a proxy: say --proxy HOST[:PORT]"},
		{Spec{X: "h", Proxy: "h"}, Config{}, "options -x and --proxy exclude each other: both are the proxy"},
		{Spec{X: "h", Type: "http"}, Config{}, "options -x and --proxy-type exclude each other: -X is the type of -x"},
		{Spec{Proxy: "h", XType: "4"}, Config{}, "options --proxy and -X exclude each other: --proxy-type is the type of --proxy"},
		{Spec{Proxy: "h", Type: "x"}, Config{}, `option --proxy-type: "x": say socks4, socks4a, socks5, socks5h, http or https`},
		{Spec{Proxy: "http://h", Type: "socks5"}, Config{}, "options --proxy http:// and --proxy-type socks5 exclude each other: leave one out"},
		{Spec{Proxy: "http://me:secret%x@h"}, Config{}, "option --proxy: user and password are percent-encoded, and one of them has a % without two hexadecimal digits: say %25 for it"},
		{Spec{Proxy: "http://:secret@h"}, Config{}, "option --proxy: there is no user in front of the @"},
		{Spec{Proxy: "http://me:secret@h", Auth: "me:secret"}, Config{}, "option --proxy names a user already: leave out -P and --proxy-auth"},
		{Spec{X: "h", User: "me", Auth: "me:secret"}, Config{}, "options -P and --proxy-auth exclude each other: both are the user"},
		{Spec{X: "h", Auth: ":secret"}, Config{}, "option --proxy-auth: there is no user: say USER:PASS"},
		{Spec{X: "h", XType: "connect", Auth: "me:secret\n"}, Config{}, "option --proxy-auth: HTTP allows no control characters in user and password"},
		{Spec{X: "h", XType: "connect", User: "m:e"}, Config{}, "option -P: HTTP allows no colon in a user"},
		{Spec{Proxy: "socks4://me:secret@h"}, Config{}, "option --proxy: SOCKS4 has a user and no password: leave it out, or use SOCKS5"},
		{Spec{X: "h", Auth: "me:" + long}, Config{}, "option --proxy-auth: SOCKS5 takes at most 255 bytes of user and of password"},
		{Spec{X: "h", DNS: "x"}, Config{}, `option --proxy-dns: "x": say remote, local, both or none`},
	} {
		got, err := test.spec.Config()
		switch {
		case test.text != "" && (err == nil || err.Error() != test.text || got != nil):
			t.Errorf("%+v: %v, and not %s", test.spec, err, test.text)
		case test.text == "" && (err != nil || *got != test.want):
			t.Errorf("%+v: %+v (%v), and not %+v", test.spec, got, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in %q", err)
		}
	}
	if c, err := new(Spec).Config(); c != nil || err != nil {
		t.Errorf("without a proxy: %v, %v", c, err)
	}
	if addr := (&Config{Host: "::1", Port: 99}).Addr(); addr != "[::1]:99" {
		t.Error(addr)
	}
}

func TestSpecOfAServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		spec Spec
		want Config
		text string
	}{
		{Spec{Type: "http"}, Config{Protocol: HTTP}, ""},
		{Spec{Type: "socks5"}, Config{}, ""},
		{Spec{Type: "socks5", Auth: "a:b:c"}, Config{User: "a", Password: "b:c", HasPassword: true}, ""},
		{Spec{Type: "http", Env: "a:b"}, Config{Protocol: HTTP, User: "a", Password: "b", HasPassword: true}, ""},
		{Spec{Type: "socks4"}, Config{}, "option --proxy-type: as a server purr speaks http and socks5"},
		{Spec{Type: "https"}, Config{}, "option --proxy-type: as a server purr speaks http and socks5"},
		{Spec{Type: "http", Auth: "a"}, Config{}, "option --proxy-auth: there is no password: say USER:PASS"},
		{Spec{Type: "http", User: "a"}, Config{}, "option --proxy-auth: there is no password: say USER:PASS"},
		{Spec{Type: "http", XType: "5"}, Config{}, "options -X and --proxy-dns are for a client of a proxy: leave them out with -l --proxy-type"},
	} {
		got, err := test.spec.Server()
		if test.text != "" && (err == nil || err.Error() != test.text) || test.text == "" && (err != nil || *got != test.want) {
			t.Errorf("%+v: %+v, %v", test.spec, got, err)
		}
	}
	for _, test := range []struct {
		spec           Spec
		user, password string
	}{
		{Spec{X: "h", Env: "me:pw"}, "me", "pw"}, {Spec{X: "h", User: "me", Env: "me:p:w"}, "me", "p:w"},
		{Spec{X: "h", User: "you", Env: "me:pw"}, "you", ""}, {Spec{X: "h", Auth: "you:x", Env: "me:pw"}, "you", "x"},
		{Spec{X: "h", XType: "4", Env: "me:pw"}, "", ""}, {Spec{X: "h", Env: ":pw"}, "", ""},
	} {
		if c, err := test.spec.Config(); err != nil || c.User != test.user || c.Password != test.password {
			t.Errorf("%+v: %+v, %v", test.spec, c, err)
		}
	}
}

// What is accepted has a host and a port, and no message has a password.
func FuzzSpec(f *testing.F) {
	f.Add("h:1", "5", "", "", "", "")
	f.Add("", "", "socks5://me:%41@[::1]:99", "", "", "both")
	f.Add("", "", "h", "https", "me:pw", "")
	f.Fuzz(func(t *testing.T, x, xType, proxy, kind, auth, dns string) {
		c, err := (&Spec{X: x, XType: xType, Proxy: proxy, Type: kind, Auth: auth, DNS: dns}).Config()
		if err == nil && c != nil && (c.Host == "" || c.Port < 1 || c.Port > 65535 || strings.ContainsAny(c.Host, " \r\n@/")) {
			t.Errorf("%+v", c)
		}
	})
}
