package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The names of the tools, as they stand in the tables.
const (
	purr    = "purr"
	obsd    = "nc.openbsd"
	trad    = "nc.traditional"
	ncat    = "ncat"
	socat   = "socat"
	python  = "python"
	rsync   = "rsync"
	haproxy = "haproxy"
	bare    = "bare Go" // the program in the folder bare
)

// A tool is one netcat, or what else does its work.
type tool struct {
	name    string
	path    string
	version string
	absent  error // why it cannot be run; nil if it can
}

// versionFlags say how each tool is asked for its version, and what of the answer is the version.
var versionFlags = map[string]struct {
	flag string
	find *regexp.Regexp
}{
	purr:    {"--version", regexp.MustCompile(`(?m)^(?:purr )?(.+)$`)},
	obsd:    {"-h", regexp.MustCompile(`Debian patchlevel ([^)]+)`)},
	trad:    {"-h", regexp.MustCompile(`\[v([^\]]+)\]`)},
	ncat:    {"--version", regexp.MustCompile(`Version (\S+)`)},
	socat:   {"-V", regexp.MustCompile(`socat version (\S+)`)},
	python:  {"--version", regexp.MustCompile(`Python (\S+)`)},
	rsync:   {"--version", regexp.MustCompile(`version (\S+)`)},
	haproxy: {"-v", regexp.MustCompile(`version (\S+)`)},
}

// toolNames are the tools in the order of the tables.
var toolNames = []string{purr, obsd, trad, ncat, socat, python, rsync, haproxy}

// findTools looks for the peers in PATH. purr is what buildPurr returned.
func findTools(ctx context.Context, own *tool) map[string]*tool {
	tools := map[string]*tool{purr: own}
	for _, name := range []string{obsd, trad, ncat, socat, rsync, haproxy} {
		t := &tool{name: name}
		t.path, t.absent = exec.LookPath(name)
		tools[name] = t
	}
	tools[python] = &tool{name: python}
	tools[python].path, tools[python].absent = findPython(ctx)
	for _, t := range tools {
		if t.absent == nil {
			t.version = askVersion(ctx, t)
		}
	}
	return tools
}

// buildPurr returns the purr to measure: the program at path, or a build of the module above this one in dir. If it is
// there already, it is not built again.
func buildPurr(ctx context.Context, dir, path string) *tool {
	if path != "" {
		return findBuild(path)
	}
	t := &tool{name: purr, path: filepath.Join(dir, purr)}
	t.absent = goBuild(ctx, "..", t.path, "-trimpath", "-tags", "urfave_cli_no_docs,urfave_cli_no_suggest", "-ldflags", "-s -w") // as in the README
	return t
}

// findBuild returns the build of purr at path.
func findBuild(path string) *tool {
	t := &tool{name: purr}
	t.path, t.absent = exec.LookPath(path)
	if t.absent == nil {
		t.path, t.absent = filepath.Abs(t.path)
	}
	return t
}

// buildBare returns the Go program that only dials, built in dir unless it is
// there already.
func buildBare(ctx context.Context, dir string) *tool {
	t := &tool{name: bare, path: filepath.Join(dir, "bare")}
	t.absent = goBuild(ctx, "bare", t.path, "-trimpath", "-ldflags", "-s -w")
	return t
}

// install copies the programs into a new directory on the disk and measures the
// copies, as an installation makes them: the pages of a file that the linker has
// just written, or of one in memory, are small ones, which costs each start of
// purr about 0.5 ms. A tool may be nil or absent. The caller removes dir.
func install(disk string, tools ...*tool) (dir string, err error) {
	if dir, err = os.MkdirTemp(disk, "purr-bench-*"); err != nil {
		return "", err
	}
	for i, t := range tools {
		if t == nil || t.absent != nil {
			continue
		}
		program, err := os.ReadFile(t.path)
		if err != nil {
			return dir, err
		}
		t.path = filepath.Join(dir, fmt.Sprintf("%d-%s", i, filepath.Base(t.path)))
		if err := os.WriteFile(t.path, program, 0o755); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// goBuild builds the program whose source is in the directory from, unless the
// file to exists.
func goBuild(ctx context.Context, from, to string, flags ...string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-o", to}, flags, []string{"."})...)
	cmd.Dir = from
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("go build in %s: %w: %s", from, err, first)
	}
	// go build writes no program when the directory holds no main package.
	_, err := os.Stat(to)
	return err
}

// findPython returns the real interpreter: what is first in PATH may be a script that looks for it.
func findPython(ctx context.Context) (string, error) {
	path, err := exec.LookPath("python3")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(out)), nil
}

// askVersion returns the version that the tool gives itself, or "?".
func askVersion(ctx context.Context, t *tool) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ask := versionFlags[t.name]
	out, _ := exec.CommandContext(ctx, t.path, ask.flag).CombinedOutput() // the status of -h differs
	if found := ask.find.FindSubmatch(out); found != nil {
		return strings.TrimSpace(string(found[1]))
	}
	return "?"
}

// errCannot is what a row gets for a tool that has no way to do its work.
var errCannot = errors.New("cannot")

// An address is where a program under test listens or dials.
type address struct {
	network string // tcp, unix or udp
	host    string
	port    string // the path for unix
}

// send is the command that dials a and sends its stdin, nothing else.
func (t *tool) send(a address) ([]string, error) {
	switch unix := a.network == "unix"; {
	case t.name == purr && unix:
		return []string{t.path, "-U", a.port}, nil
	case (t.name == purr || t.name == bare) && !unix:
		return []string{t.path, a.host, a.port}, nil
	case t.name == obsd && unix:
		return []string{t.path, "-N", "-U", a.port}, nil
	case t.name == obsd:
		return []string{t.path, "-n", "-N", a.host, a.port}, nil
	case t.name == trad && !unix:
		return []string{t.path, "-n", "-q", "0", a.host, a.port}, nil
	case t.name == ncat && unix:
		return []string{t.path, "-U", a.port}, nil
	case t.name == ncat:
		return []string{t.path, "-n", a.host, a.port}, nil
	case t.name == socat:
		return []string{t.path, "-u", "STDIN", a.socatDial()}, nil
	}
	return nil, errCannot
}

// sendFile is the command that dials a and sends a file, and whether it takes the file as its stdin.
func (t *tool) sendFile(a address, file string) (argv []string, onStdin bool, err error) {
	argv, err = t.send(a)
	if t.name == purr {
		return append(argv, "--send-file", file), false, err
	}
	return argv, true, err
}

// sendUpper is the pipeline that dials a and sends its stdin in upper case: one program or two.
func (t *tool) sendUpper(a address) ([][]string, error) {
	argv, err := t.send(a)
	if err != nil {
		return nil, err
	}
	if t.name == purr {
		return [][]string{append(argv, "--upper")}, nil
	}
	tr, err := exec.LookPath("tr")
	if err != nil {
		return nil, err
	}
	return [][]string{{tr, "a-z", "A-Z"}, argv}, nil
}

// receive is the command that listens on a and writes what comes to stdout.
func (t *tool) receive(a address) ([]string, error) {
	switch unix := a.network == "unix"; {
	case t.name == purr && unix:
		return []string{t.path, "-l", "-d", "-U", a.port}, nil
	case t.name == purr:
		return []string{t.path, "-l", "-d", a.port}, nil
	case t.name == obsd && unix:
		return []string{t.path, "-l", "-d", "-U", a.port}, nil
	case t.name == obsd:
		return []string{t.path, "-n", "-l", "-d", a.port}, nil
	case t.name == trad && !unix:
		return []string{t.path, "-n", "-l", "-p", a.port}, nil
	case t.name == ncat && unix:
		return []string{t.path, "-l", "--recv-only", "-U", a.port}, nil
	case t.name == ncat:
		return []string{t.path, "-4", "-n", "-l", "--recv-only", a.port}, nil
	case t.name == socat && unix:
		return []string{t.path, "-u", "UNIX-LISTEN:" + a.port, "STDOUT"}, nil
	case t.name == socat:
		return []string{t.path, "-u", "TCP-LISTEN:" + a.port + ",reuseaddr", "STDOUT"}, nil
	}
	return nil, errCannot
}

// duplex is the command that dials a and carries stdin there and what comes to stdout.
func (t *tool) duplex(a address) ([]string, error) {
	if t.name == socat {
		// The default of half a second after the first end would cut the other direction.
		return []string{t.path, "-t", "60", "STDIO", a.socatDial()}, nil
	}
	argv, err := t.send(a)
	if t.name == trad && err == nil {
		argv = []string{t.path, "-n", a.host, a.port} // -q 0 would do the same
	}
	return argv, err
}

// socatDial is the address in socat's words.
func (a address) socatDial() string {
	if a.network == "unix" {
		return "UNIX-CONNECT:" + a.port
	}
	return strings.ToUpper(a.network) + ":" + a.host + ":" + a.port
}

// sendUDP is the command that sends each piece it reads from stdin as a datagram to a.
func (t *tool) sendUDP(a address) ([]string, error) {
	switch t.name {
	case purr:
		return []string{t.path, "-u", a.host, a.port}, nil
	case obsd, trad, ncat:
		return []string{t.path, "-n", "-u", a.host, a.port}, nil
	case socat:
		return []string{t.path, "-u", "STDIN", a.socatDial()}, nil
	}
	return nil, errCannot
}

// receiveUDP is the command that writes the datagrams that come to a port to stdout.
func (t *tool) receiveUDP(port string) ([]string, error) {
	switch t.name {
	case purr:
		return []string{t.path, "-u", "-l", "-d", port}, nil
	case obsd:
		return []string{t.path, "-n", "-u", "-l", "-d", port}, nil
	case trad:
		return []string{t.path, "-n", "-u", "-l", "-p", port}, nil
	case ncat:
		return []string{t.path, "-4", "-n", "-u", "-l", "--recv-only", port}, nil
	case socat:
		return []string{t.path, "-u", "UDP4-RECV:" + port, "STDOUT"}, nil
	}
	return nil, errCannot
}
