package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// With a key, a sender's status 0 means that the other purr has taken every
// byte, whatever the network acknowledges.

// A relay takes the tail, acknowledges it, and ends both
// connections in order, or keeps them open. The sender knows.
func TestTailIsDropped(t *testing.T) {
	t.Parallel()
	const size, passed = 300_000, 40_000 // small enough for the sockets' buffers
	payload := testkit.Noise(size)
	file := testkit.TempFile(t, payload)
	for name, line := range map[string]string{
		"pipe":          "ADDR",
		"send only":     "--send-only ADDR",
		"send file":     "--send-file " + file + " ADDR",
		"quits":         "-q 0.1 ADDR",
		"from a listen": "",
	} {
		for _, kind := range []harmKind{harmFIN, harmHalf} {
			t.Run(fmt.Sprint(name, kind), func(t *testing.T) {
				t.Parallel()
				k := tlsconn.NewKey()
				o := opts{env: keyed(k), stdin: strings.NewReader(payload)}
				var sender, receiver *process
				if line == "" {
					sender = startPurr(t, o, "-l", "-w", "2", "127.0.0.1", "0")
					between := newRelay(t, sender.addr(), harm{}, harm{kind: kind, at: passed})
					receiver = startPurr(t, opts{env: keyed(k)}, "-d", "-w", "2", "127.0.0.1", portOf(t, between.ln.Addr()))
				} else {
					receiver = startPurr(t, opts{env: keyed(k)}, "-l", "-w", "2", "127.0.0.1", "0")
					between := newRelay(t, receiver.addr(), harm{kind: kind, at: passed}, harm{})
					args := words("-w 2 " + strings.ReplaceAll(line, "ADDR", "127.0.0.1 "+portOf(t, between.ln.Addr())))
					sender = startPurr(t, o, args...)
				}
				sender.ends(1)
				receiver.status()
				if n := receiver.out.Len(); n >= size {
					t.Fatalf("all %d bytes arrived", n)
				}
				if kind == harmFIN {
					receiver.ends(1)
					sender.complains("127.0.0.1 port", "the connection was cut", "0 of ", " taken")
				}
				if strings.Contains(sender.err.String(), "acknowledged all") {
					t.Errorf("the sender said %s", sender.err)
				}
			})
		}
	}
}

// The far end's disk is full, or its file is not as expected: a sender of a few
// bytes, all of which the system acknowledges, has a status other than 0.
func TestNotTaken(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		testkit.NotHere(t, err.Error())
	}
	t.Cleanup(func() { _ = full.Close() })
	for name, test := range map[string]struct {
		receiver string
		stdout   *os.File
		status   int // the receiver's
		says     string
	}{
		"full disk":      {"-l", full, 1, ""},
		"full, -k":       {"-lk", full, 1, ""},
		"full, echo":     {"-l --echo", full, 1, ""},
		"another size":   {"-l --recv-file DIR/new --expect-size 4", nil, 5, ""},
		"another digest": {"-l --recv-file DIR/new --expect-sha256 " + strings.Repeat("0", 64), nil, 5, ""},
		"takes one read": {"-l -W 1 -i 0.2", nil, 0, `send to 127\.0\.0\.1 port \d+: .*5 of 10 taken`},
		"full, file":     {"-l --recv-file /dev/full", nil, 1, ""},
		"idle and ends":  {"-l -w 1", nil, 0, `send to 127\.0\.0\.1 port \d+: .*5 of 10 taken`},
	} {
		for _, how := range []string{"", "--send-only", "-q 0"} {
			t.Run(name+how, func(t *testing.T) {
				t.Parallel()
				k, dir := tlsconn.NewKey(), t.TempDir()
				args := words(strings.ReplaceAll(test.receiver, "DIR", dir))
				l := startPurr(t, opts{env: keyed(k), stdout: test.stdout}, append(args, "127.0.0.1", "0")...)
				d := startPurr(t, opts{env: keyed(k), openStdin: true}, append(words(how), "127.0.0.1", l.port())...)
				writeAll(t, d.stdin, "hello")
				if test.says != "" {
					l.waitOut("hello")
					if l.status(); d.err.Len() > 0 {
						t.Errorf("the sender said %s", d.err)
					}
				}
				_, _ = io.WriteString(d.stdin, "hello")
				_ = d.stdin.Close()
				d.ends(1)
				l.ends(test.status)
				if test.says != "" {
					d.waitErr(regexp.MustCompile(test.says))
				}
				testkit.Absent(t, dir+"/new")
			})
		}
	}
}

// A sender ends only when the bytes are where they belong: in a stdout that is
// read slowly, or in a file under its name. --send-only and -q wait, too.
func TestSenderWaitsForTheReceiver(t *testing.T) {
	t.Parallel()
	payload := testkit.Noise(1_500_000) // more than a pipe holds, but the sockets hold the rest
	for _, how := range []string{"", "--send-only", "-q 0", "--send-file " + testkit.TempFile(t, payload)} {
		t.Run("stdout "+how, func(t *testing.T) {
			t.Parallel()
			k := tlsconn.NewKey()
			l := startPurr(t, opts{env: keyed(k), ownStdout: true}, "-l", "127.0.0.1", "0")
			d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader(payload)}, append(words(how), "127.0.0.1", l.port())...)
			testkit.ReadN(t, l.stdout, 1000) // so all of it is under way
			d.runs()
			if got := testkit.ReadAll(t, l.stdout); got != payload[1000:] {
				t.Errorf("got %s", testkit.Brief(got))
			}
			d.ends(0)
			l.ends(0)
		})
		t.Run("file "+how, func(t *testing.T) {
			t.Parallel()
			k, path := tlsconn.NewKey(), t.TempDir()+"/new"
			l := startPurr(t, opts{env: keyed(k)}, "-l", "--recv-file", path, "127.0.0.1", "0")
			d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader(payload)}, append(words(how), "127.0.0.1", l.port())...)
			d.ends(0)
			testkit.HasContent(t, path, payload)
			l.ends(0)
		})
	}
}
