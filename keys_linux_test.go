package main

import (
	"os"
	"strings"
	"testing"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// What a key promises although the network, or a stranger, does its worst.

// One key is for every mode, and somebody on the way leads a pipe to a listener
// that stores files, or the other way round: nothing passes, and the dialer
// fails with the reason.
func TestKeyOfAnotherMode(t *testing.T) {
	t.Parallel()
	request := "PUT /.ssh/authorized_keys HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nevil\n"
	file := testkit.TempFile(t, "the content")
	for _, test := range []struct {
		listener, dialer string
		says             string
	}{
		{"--pull -l 127.0.0.1 0 DIR", "ADDR", "it pushes or pulls where we pipe"},
		{"--push -l 127.0.0.1 0 " + file, "ADDR", "it pushes or pulls where we pipe"},
		{"--pull -lk 127.0.0.1 0 DIR", "--send-file " + testkit.TempFile(t, request) + " ADDR", "it pushes or pulls where we pipe"},
		{"-l 127.0.0.1 0", "--push ADDR " + file, "it pipes where we push or pull"},
		{"-lk --echo 127.0.0.1 0", "--pull ADDR DIR", "it pipes where we push or pull"},
		{"-l --recv-file DIR/new 127.0.0.1 0", "--push ADDR " + file, "it pipes where we push or pull"},
	} {
		t.Run(test.listener+" "+test.dialer, func(t *testing.T) {
			t.Parallel()
			k, dir := tlsconn.NewKey(), t.TempDir()
			args := func(line, addr string) []string {
				return words(strings.NewReplacer("DIR", dir, "ADDR", addr).Replace(line))
			}
			l := startPurr(t, opts{env: keyed(k)}, args(test.listener, "")...)
			between := newRelay(t, l.addr(), harm{}, harm{})
			addr := "127.0.0.1 " + portOf(t, between.ln.Addr())
			d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader(request)}, args(test.dialer, addr)...)
			d.ends(6)
			d.complains("handshake with 127.0.0.1 port", "the other end is another version of purr, or "+test.says)
			d.printed("")
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%v was stored, %v", left, err)
			}
			if strings.Contains(l.out.String(), "evil") {
				t.Errorf("printed %s", testkit.Brief(l.out.String()))
			}
		})
	}
}
