package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"purr/internal/testkit"
	"purr/internal/tlsconn"

	"golang.org/x/sys/unix"
)

// What a key promises although the network, or a stranger, does its worst.

// One key is for every mode, and a relay leads a pipe to a listener
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

// A crowd of strangers neither ends a listener with a key nor keeps out the
// holder: each is a line, and takes no place of --max-conns.
func TestCrowdOfStrangers(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-l 127.0.0.1 0", "-lk --max-conns 1 127.0.0.1 0", "--pull -l 127.0.0.1 0 DIR", "--pull -lk --max-conns 1 127.0.0.1 0 DIR"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			k, dir := tlsconn.NewKey(), t.TempDir()
			l := startPurr(t, opts{env: keyed(k)}, words(strings.ReplaceAll(args, "DIR", dir))...)
			for _, said := range []string{"h", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05hello"} {
				writeAll(t, dialTest(t, "tcp", l.addr()), said)
				l.waitErr(regexp.MustCompile(`(?m)^purr: handshake with 127\.0\.0\.1 port \d+: the other end (sends clear text and we|does not hold our key)`))
			}
			for range 130 { // all of them stay
				dialTest(t, "tcp", l.addr())
			}
			to, says := []string{"127.0.0.1", l.port()}, "hello"
			if strings.Contains(args, "--pull") {
				to, says = append([]string{"--push"}, append(to, testkit.TempFile(t, "hello"))...), ""
			}
			d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("hello")}, to...)
			d.endsWithin(0, tlsconn.DefaultTimeout)
			if says == "" {
				testkit.HasContent(t, dir+"/file", "hello")
			} else {
				l.waitOut("^hello$")
			}
			l.waitErr(regexp.MustCompile(`(?m)^purr: handshake with 127\.0\.0\.1 port \d+: given up, because others waited$`))
			if strings.Contains(args, "-lk") {
				l.runs()
			} else {
				l.ends(0)
			}
		})
	}
}

// A run with a key dumps no core. Without one the limit is left as it is.
func TestKeyIsNotDumped(t *testing.T) {
	t.Parallel()
	core := func(env []string, args ...string) string {
		p := startPurr(t, opts{env: env}, args...)
		p.port()
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return string(regexp.MustCompile(`(?m)^Max core file size +\S+ +\S+`).Find(limits))
	}
	none := regexp.MustCompile(` 0 +0$`)
	if with := core(keyed(tlsconn.NewKey()), "-l", "127.0.0.1", "0"); !none.MatchString(with) {
		t.Errorf("with a key: %q", with)
	}
	var ours syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_CORE, &ours); err != nil || ours.Max == 0 {
		testkit.NotHere(t, "a limit of core dumps above 0")
	}
	if without := core(nil, "-l", "127.0.0.1", "0"); none.MatchString(without) {
		t.Errorf("without a key: %q", without)
	}
}

// A cut before the first answer is status 3, with a key and without: trying
// again is right, and works. Nothing was stored before.
func TestCutBeforeTheFirstAnswer(t *testing.T) {
	t.Parallel()
	for _, with := range []string{"a key", "none"} {
		for _, kind := range []harmKind{harmFIN, harmRST} {
			for at, place := range map[int]string{0: "at once", 10: "later"} {
				for _, listening := range []string{"--pull", "--push"} {
					t.Run(fmt.Sprint(with, kind, place, listening), func(t *testing.T) {
						t.Parallel()
						var o opts
						if with == "a key" {
							o.env = keyed(tlsconn.NewKey())
						}
						dir, file := t.TempDir(), testkit.TempFile(t, "the content")
						dials, operands := "--push", []string{dir, file}
						if listening == "--push" {
							dials, operands = "--pull", []string{file, dir}
						}
						l := startPurr(t, o, listening, "-lk", "127.0.0.1", "0", operands[0])
						between := newRelay(t, l.addr(), harm{}, harm{kind: kind, at: at})
						args := []string{dials, "127.0.0.1", portOf(t, between.ln.Addr()), operands[1]}
						d := startPurr(t, o, args...)
						d.ends(3)
						d.complains("127.0.0.1 port")
						if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
							t.Errorf("%v was stored, %v", left, err)
						}
						args[2] = l.port() // past the relay
						startPurr(t, o, args...).ends(0)
						l.runs()
						testkit.HasContent(t, dir+"/file", "the content")
					})
				}
			}
		}
	}
}

// A program that a run with a key executes does not find the key.
func TestKeyIsNotInherited(t *testing.T) {
	const child = "PURR_TEST_INHERITS"
	if os.Getenv(child) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKeyIsNotInherited$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1", keyVariable+"="+tlsconn.NewKey().String())
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, said)
		}
		return
	}
	p, ctx := testRun(t, nil, nil, "h", "80")
	if err := p.encryption.prepareKey(ctx, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	if !p.encryption.on {
		t.Error("there is no key")
	}
	if left, err := exec.Command("env").Output(); err != nil || strings.Contains(string(left), keyVariable) {
		t.Errorf("a child finds %s, %v", left, err)
	}
}
