package tunnel

import "testing"

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Target{
		"db:5432": {Host: "db", Port: 5432}, "[::1]:80": {Host: "::1", Port: 80}, ":22": {Host: "localhost", Port: 22},
		"db:http": {Host: "db", Port: 80}, "unix:/run/x.sock": {Path: "/run/x.sock"}, "unix:@x": {Path: "@x"}, "unix:a:b": {Path: "a:b"},
		"fe80::1%eth0": {}, "db": {}, "": {}, "db:": {}, "db:0": {}, "db:99999": {}, "unix:": {}, "::1:80": {}, "tls:h:993": {Host: "h", Port: 993, TLS: true},
		"tls::993": {Host: "localhost", Port: 993, TLS: true}, "tls:[::1]:993": {Host: "::1", Port: 993, TLS: true}, "tls:993": {}, "tls:tls:h:993": {}, "udp:h:53": {Host: "h", Port: 53, UDP: true}, "udp::syslog": {Host: "localhost", Port: 514, UDP: true}, "tls:udp:h:53": {}, "udp:tls:h:53": {}, "udp:udp:h:53": {},
		"udp:53": {}, "vsock:1:2": {Path: "vsock:1:2", VM: true}, "vsock:host:22": {Path: "vsock:host:22", VM: true}, "vsock:1": {}, "vsock:any:1": {}, "vsock:1:0": {}, "vsock::1": {}, "tls:vsock:1:2": {}, "http://h:80": {}, "db:80/x": {}, "two words:80": {},
	} {
		got, err := ParseTarget(text)
		if got != want || err == nil != (want != Target{}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("db:5432")
	f.Add("[::1]:80")
	f.Add("unix:/x")
	f.Fuzz(func(t *testing.T, text string) {
		target, err := ParseTarget(text)
		if err == nil && (target.Path == "") != (target.Host != "" && target.Port > 0 && target.Port < 65536) {
			t.Errorf("%q: %+v", text, target)
		}
	})
}
