package main

import (
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// Silence ends the conversation of a command as it ends every other one: with
// status 0, also if the command has to be terminated then, which -v reports. A
// command that ends by itself at the end of its input has its own status. No
// command is left.
func TestExecSilence(t *testing.T) {
	t.Parallel()
	key := keyed(tlsconn.NewKey())
	for name, test := range map[string]struct {
		options, script string
		env             []string
		status          int
		verbose         string // what -v reports
	}{
		"TCP":             {"", "exec sleep 1000", nil, 0, "had not ended in time, and was terminated"},
		"TCP, stubborn":   {"", "trap '' TERM; while :; do sleep 1; done", nil, 0, "had not ended in time, and was terminated"},
		"TCP, has spoken": {"", "echo something; exec sleep 1000", nil, 0, "had not ended in time, and was terminated"},
		"its own status":  {"", "cat; exit 5", nil, 5, "has ended with status 5"},
		"a signal of its": {"", "cat; kill -TERM $$", nil, 143, "has ended with status 143"},
		"--idle-timeout":  {"--idle-timeout 0.3 -w 60", "exec sleep 1000", nil, 0, "had not ended in time, and was terminated"},
		"-U":              {"-U", "exec sleep 1000", nil, 0, "had not ended in time, and was terminated"},
		"-u":              {"-u", "exec sleep 1000", nil, 0, "had not ended in time, and was terminated"},
		"-u, its own":     {"-u", "cat >/dev/null; exit 5", nil, 5, "has ended with status 5"},
		"key":             {"", "exec sleep 1000", key, 0, "had not ended in time, and was terminated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, v := range []string{"", " -v"} {
				mark := "SILENCE_" + filepath.Base(t.TempDir()) + v + t.Name() + "=1"
				address := []string{"127.0.0.1", "0"}
				if test.options == "-U" {
					address = []string{filepath.Join(testkit.SocketDir(t), "s")}
				}
				args := append(words("-w 0.3 --exec-grace 0.1 "+test.options+v+" -l --sh-exec"), append([]string{test.script}, address...)...)
				p := startPurr(t, opts{env: append([]string{mark}, test.env...)}, args...)
				switch {
				case test.options == "-U":
					awaitUnix(t, address[0])
					dialTest(t, "unix", address[0])
				case test.options == "-u":
					testkit.WriteString(t, dialTest(t, "udp", p.addr()), "x")
				case test.env != nil:
					startPurr(t, opts{env: test.env, openStdin: true}, "127.0.0.1", p.port())
				default:
					dialTest(t, "tcp", p.addr())
				}
				p.ends(test.status)
				if said := p.said(); strings.Contains(said, "purr: ") != (v != "") || v != "" && (!strings.Contains(said, "idle for 300ms") || !strings.Contains(said, "the command "+test.verbose+"\n")) {
					t.Errorf("%q: said %q", v, said)
				}
				if left := children(t, mark); len(left) > 0 {
					t.Errorf("%q: %q are left", v, left)
				}
			}
		})
	}
}

// A command that runs on after its peer has closed is an error, whether it has
// the Unix socket itself or pipes, which it has under -w.
func TestExecPeerCloses(t *testing.T) {
	t.Parallel()
	for _, options := range []string{"", "--upper", "-w 60"} {
		path := filepath.Join(testkit.SocketDir(t), "s")
		p := startPurr(t, opts{}, append(words("--exec-grace 0.1 "+options+" -l -U --sh-exec"), "exec sleep 1000", path)...)
		awaitUnix(t, path)
		_ = dialTest(t, "unix", path).Close()
		p.ends(1)
		if said := p.said(); !strings.HasPrefix(said, "purr: ") || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: said %q", options, said)
		}
	}
}
