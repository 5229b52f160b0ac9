//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// The errors for a text that is no key.
func TestWordKeyError(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                      "this is no key: purr makes its keys (--key-new) and takes no passwords",
		"hunter2":               "this is no key: purr makes its keys (--key-new) and takes no passwords",
		strings.Repeat("A", 26): "mistyped: 26 characters where a key has 27; purr makes its keys (--key-new) and takes no passwords",
		strings.Repeat("0", 27): "mistyped: character 1 is none that a key has (A-Z, 2-7)",
	} {
		_, err := tlsconn.ParseKey(text)
		if err = wordKeyError(err); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// keyed is an environment with a key.
func keyed(k tlsconn.Key) []string { return []string{keyVariable + "=" + k.String()} }

// Command lines that are wrong about the key: status 2, one line, and nothing
// was opened.
func TestWrongKeyOptions(t *testing.T) {
	t.Parallel()
	good := tlsconn.NewKey().String()
	empty, bad, file := testkit.SecretFile(t, ""), testkit.SecretFile(t, "hunter2\n"), testkit.SecretFile(t, good+"\n")
	shared, writable := testkit.SecretFile(t, good), testkit.SecretFile(t, good)
	if err := errors.Join(os.Chmod(shared, 0o640), os.Chmod(writable, 0o602)); err != nil {
		t.Fatal(err)
	}
	mistyped := "A" + good[1:]
	if good[0] == 'A' {
		mistyped = "B" + good[1:]
	}
	if _, err := tlsconn.ParseKey(mistyped); err == nil { // the one of 32
		mistyped = good + "A"
	}
	for _, test := range []struct {
		args, variable string
		says           []string
	}{
		{"--key-file F --key-new -l 0", "", []string{"--key-file and --key-new"}},
		{"--key-file " + file + " -u 127.0.0.1 9", "", []string{"--key-file", "-u", "use TCP"}},
		{"--key-new -u -l 0", "", []string{"--key-new", "-u", "use TCP"}},
		{"-u 127.0.0.1 9", good, []string{"-u", "PURR_KEY", "unset"}},
		{"-u -l 0", "nonsense", []string{"-u", "PURR_KEY"}},
		{"-uU /nowhere", good, []string{"-u", "PURR_KEY"}},
		{"--key-file " + file + " -z 127.0.0.1 9", "", []string{"--key-file", "-z"}},
		{"--key-file " + file + " --wait-for 1 127.0.0.1 9 -- true", "", []string{"--key-file", "-- CMD"}},
		{"--key-new 127.0.0.1 9", "", []string{"--key-new needs -l", "--wait-for"}},
		{"--key-new -l 0", good, []string{"--key-new", "PURR_KEY", "unset"}},
		{"-l 0", "hunter2", []string{"PURR_KEY: ", "takes no passwords"}},
		{"-l 0", mistyped, []string{"PURR_KEY: mistyped"}},
		{"127.0.0.1 9", "hunter2", []string{"PURR_KEY: ", "takes no passwords"}},
		{"-l 0", " ", []string{"PURR_KEY is set and empty", "unset it"}},
		{"--key-file /nowhere/key -l 0", "", []string{"--key-file", "/nowhere/key", "no such file"}},
		{"--key-file " + shared + " -l 0", "", []string{"--key-file", "other users may read or change it (mode 0640): say chmod 600 " + shared}},
		{"--key-file " + writable + " 127.0.0.1 9", "", []string{"--key-file", "(mode 0602): say chmod 600 " + writable}},
		{"--key-file " + empty + " -l 0", "", []string{"--key-file", empty, "is empty"}},
		{"--key-file " + bad + " -l 0", "", []string{"--key-file", bad, "takes no passwords"}},
		{"--key-file " + filepath.Dir(bad) + " -l 0", "", []string{"--key-file", "is a directory"}},
		{"--key-file - -l 0", "", []string{"--key-file", "stdin", "is empty"}}, // /dev/null
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			var o opts
			if test.variable != "" {
				o.env = []string{keyVariable + "=" + test.variable}
			}
			p := startPurr(t, o, words(test.args)...)
			p.ends(2)
			p.complains(test.says...)
			p.printed("")
			if said := p.said(); strings.Contains(said, good[:10]) || strings.Contains(said, "hunter2") {
				t.Errorf("the secret is in the message: %s", said)
			}
		})
	}
}

// With -z, and with a command to wait for, there is nothing to encrypt: even
// an unusable variable does not matter.
func TestKeyOfNoMatter(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	port := portOf(t, ln.Addr())
	o := opts{env: []string{keyVariable + "=hunter2"}}
	startPurr(t, o, "-z", "127.0.0.1", port).ends(0)
	startPurr(t, o, "--wait-for", "5", "127.0.0.1", port, "--", "true").ends(0)
	startPurr(t, o, "--list-payloads").ends(0)
	startPurr(t, o, "--version").ends(0)
}

var newKeyLine = pattern(`(?m)^purr: a new key: ([A-Z2-7]{27}); at the other end put it in a file \(umask 077; cat >key\) and say: (.*)$`)

// follow does at the other end what the line about a new key asks for, and more
// words behind it.
func follow(t *testing.T, line []string, o opts, more string) *process {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	return shell(t, o, fmt.Sprintf("(umask 077; echo %s >key); %s%s", line[1], line[2], more))
}

// --key-new prints the key and a command that works at the other end.
func TestKeyNew(t *testing.T) {
	t.Parallel()
	listener := startPurr(t, opts{}, "-l", "--key-new", "127.0.0.1", "0")
	m := listener.waitErr(newKeyLine())
	follow(t, m, opts{stdin: strings.NewReader("hello\n")}, "").ends(0)
	listener.ends(0)
	listener.printed("hello\n")

	path := filepath.Join(testkit.SocketDir(t), "s")
	unix := startPurr(t, opts{}, "-l", "--key-new", "-U", path)
	m = unix.waitErr(newKeyLine())
	follow(t, m, opts{stdin: strings.NewReader("hello\n")}, "").ends(0)
	unix.ends(0)
	unix.printed("hello\n")

	port := freePort(t, "tcp")
	dialer := startPurr(t, opts{stdin: strings.NewReader("hello\n")}, "--key-new", "--wait-for", "20", "127.0.0.1", port)
	m = dialer.waitErr(newKeyLine())
	other := follow(t, m, opts{}, "")
	dialer.ends(0)
	other.ends(0)
	other.printed("hello\n")
}

func TestOtherEnd(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"-l 9000":            "purr --key-file key HOST 9000",
		"-l 0.0.0.0 9000":    "purr --key-file key HOST 9000",
		"-l :: 9000":         "purr --key-file key HOST 9000",
		"-l ::1 9000":        "purr --key-file key ::1 9000",
		"-l example 9000":    "purr --key-file key example 9000",
		"-lU /tmp/s":         "purr --key-file key -U /tmp/s",
		"-U /tmp/s":          "purr --key-file key -l -U /tmp/s",
		"10.0.0.1 9000":      "purr --key-file key -l 9000",
		"-lk --echo h 9000":  "purr --key-file key h 9000",
		"--pull -l 9000":     "purr --key-file key --push HOST 9000 PATH...",
		"--push -l 9000 .":   "purr --key-file key --pull HOST 9000",
		"--pull h 9000":      "purr --key-file key --push -l 9000 PATH...",
		"--push -U /tmp/s .": "purr --key-file key --pull -l -U /tmp/s",
	} {
		c, err := newConfig(words(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
		} else if got := otherEnd(c, 9000); got != want {
			t.Errorf("%s: the other end is %q, want %q", args, got, want)
		}
	}
}

// A key comes from a file, from stdin's first line, or from the variable.
// --key-file goes before the variable.
func TestKeySources(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	file := testkit.SecretFile(t, strings.ToLower(k.String())+"\nsome more that does not matter\n")
	payload := testkit.Noise(300_000)
	dialer := func(t *testing.T, o opts, args ...string) (d, l *process) {
		l = startPurr(t, opts{env: keyed(k)}, "-v", "-l", "127.0.0.1", "0")
		d = startPurr(t, o, append(args, "127.0.0.1", l.port())...)
		d.ends(0)
		l.ends(0)
		l.printed(payload)
		return d, l
	}
	t.Run("file", func(t *testing.T) {
		d, _ := dialer(t, opts{stdin: strings.NewReader(payload)}, "--key-file", file)
		d.quiet()
	})
	t.Run("FIFO", func(t *testing.T) { // as of <(program)
		fifo := filepath.Join(t.TempDir(), "fifo")
		if err := testkit.Mkfifo(fifo); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(fifo, 0o644); err != nil {
			t.Fatal(err)
		}
		go func() { _ = os.WriteFile(fifo, []byte(k.String()+"\n"), 0) }()
		d, _ := dialer(t, opts{stdin: strings.NewReader(payload)}, "--key-file", fifo)
		d.quiet()
	})
	t.Run("file and variable", func(t *testing.T) {
		d, _ := dialer(t, opts{stdin: strings.NewReader(payload), env: keyed(tlsconn.NewKey())}, "--key-file", file)
		d.quiet()
		d, _ = dialer(t, opts{stdin: strings.NewReader(payload), env: keyed(tlsconn.NewKey())}, "-v", "--key-file", file)
		d.waitErr(regexp.MustCompile("PURR_KEY is set too, and --key-file goes before it"))
	})
	t.Run("pipe", func(t *testing.T) {
		d, _ := dialer(t, opts{stdin: strings.NewReader(k.String() + "\n" + payload)}, "--key-file", "-")
		d.quiet()
	})
	t.Run("regular stdin", func(t *testing.T) {
		d, _ := dialer(t, opts{stdin: opened(t, testkit.TempFile(t, k.String()+"\r\n"+payload))}, "--key-file=-")
		d.quiet()
	})
}

// The examples of the manual, in a shell.
func TestKeyTwoLiners(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	payload := []byte(testkit.Noise(1_000_000))
	if err := os.WriteFile(filepath.Join(dir, "sent"), payload, 0o600); err != nil {
		t.Fatal(err)
	}
	one := shell(t, opts{dir: dir}, "purr -l --key-new 127.0.0.1 0 >came")
	m := one.waitErr(newKeyLine())
	two := follow(t, m, opts{dir: dir}, " <sent")
	two.ends(0)
	one.ends(0)
	if came, err := os.ReadFile(filepath.Join(dir, "came")); err != nil || !bytes.Equal(came, payload) {
		t.Errorf("%d of %d bytes came, %v", len(came), len(payload), err)
	}
	two.quiet()
}
