package confine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// insideVariable is set in the process that a test confines.
const insideVariable = "CONFINE_TEST_DIR"

// inside runs the test again in a process of its own, which it may confine, in
// a directory that prepare has filled. It returns that directory, and true in
// the process; outside it has passed on the result.
func inside(t *testing.T, prepare func(dir string)) (dir string, confined bool) {
	t.Helper()
	if dir := os.Getenv(insideVariable); dir != "" {
		return dir, true
	}
	if version, err := landlocksys.LandlockGetABIVersion(); err != nil || version < tcpABI {
		testkit.NotHere(t, fmt.Sprintf("Landlock %d, this kernel has %d", tcpABI, version))
	}
	dir = t.TempDir()
	prepare(dir)
	run := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.Command("/proc/self/exe", "-test.run="+run, "-test.v", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), insideVariable+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return "", false
}

// restrict is Restrict, which must confine the process.
func restrict(t *testing.T, r Rules) {
	t.Helper()
	held, err := Restrict(r)
	if err != nil || !held.Files || held.TCP == r.AnyTCP {
		t.Fatalf("%+v, %v", held, err)
	}
}

// allowed and denied check the error of an attempt.
func allowed(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func denied(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, syscall.EACCES) {
		t.Errorf("%s: %v, want permission denied", what, err)
	}
}

func read(path string) error { _, err := os.ReadFile(path); return err }

func write(path string) error { return os.WriteFile(path, []byte("x"), 0o666) }

// fill makes the directories in, out, run and tree/below, with a file in each.
func fill(t *testing.T) func(dir string) {
	return func(dir string) {
		for _, name := range []string{"in", "out", "run", "tree/below"} {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := write(filepath.Join(dir, name, "file")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A process without rights reads, writes and connects nothing, on no thread;
// what is open stays open.
func TestRestrictToNothing(t *testing.T) {
	dir, confined := inside(t, fill(t))
	if !confined {
		return
	}
	file := filepath.Join(dir, "in", "file")
	open, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}

	// Threads that exist before.
	const threads = 8
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for range threads {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread() // and the thread ends with the goroutine
			ready.Done()
			<-begin
			denied(t, "reading on an older thread", read(file))
		})
	}
	ready.Wait()
	restrict(t, Rules{})
	close(begin)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			denied(t, "reading on a newer thread", read(file))
		})
	}
	done.Wait()

	_, err = open.WriteAt([]byte("y"), 0)
	allowed(t, "writing to an open file", err)
	allowed(t, "truncating an open file", open.Truncate(0))
	_, err = w.WriteString("pipe")
	allowed(t, "writing to an open pipe", err)
	_, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", r.Fd()), os.O_RDONLY, 0)
	allowed(t, "opening a pipe without a name", err)
	denied(t, "writing", write(filepath.Join(dir, "out", "new")))
	denied(t, "replacing", write(file))
	denied(t, "removing", os.Remove(file))
	_, err = os.ReadDir(dir)
	denied(t, "listing", err)
	denied(t, "executing", exec.Command("/bin/sh", "-c", ":").Run())
	denied(t, "reading a name file", read("/etc/hosts"))
	_, err = net.Dial("tcp4", ln.Addr().String())
	denied(t, "connecting", err)
	if noNewPrivs, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); noNewPrivs != 1 {
		t.Errorf("no_new_privs is %d, %v", noNewPrivs, err)
	}
}

// Files that are read, and trees.
func TestRestrictToReading(t *testing.T) {
	dir, confined := inside(t, fill(t))
	if !confined {
		return
	}
	in := func(path string) string { return filepath.Join(dir, path) }
	restrict(t, Rules{Read: []string{in("in/file"), in("tree"), in("missing"), in("out/file")}})
	allowed(t, "reading a file", read(in("in/file")))
	allowed(t, "reading below a directory", read(in("tree/below/file")))
	_, err := os.ReadDir(in("tree/below"))
	allowed(t, "listing it", err)
	denied(t, "reading another file", read(in("run/file")))
	_, err = os.ReadDir(in("in"))
	denied(t, "listing the directory of a file", err)
	denied(t, "writing to it", write(in("in/file")))
	denied(t, "writing below it", write(in("tree/below/new")))
}

// What takes the place of a file, and a link in a tree that leads out of it,
// are not read.
func TestRestrictToWhatWasThere(t *testing.T) {
	dir, confined := inside(t, fill(t))
	if !confined {
		return
	}
	in := func(path string) string { return filepath.Join(dir, path) }
	swap := exec.Command("/bin/sh", "-c", `read go && cd "$1" && mv in/file in/old && ln -s ../run/file in/file && ln -s ../../run/file tree/below/link && echo done`, "sh", dir)
	stdin, err := swap.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := swap.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := swap.Start(); err != nil {
		t.Fatal(err)
	}
	restrict(t, Rules{Read: []string{in("in/file"), in("tree")}})
	_, err = io.WriteString(stdin, "go\n")
	allowed(t, "starting the swap", err)
	if text, err := io.ReadAll(stdout); string(text) != "done\n" {
		t.Fatalf("%q, %v", text, err)
	}
	denied(t, "reading the link in the file's place", read(in("in/file")))
	denied(t, "reading a link out of the tree", read(in("tree/below/link")))
	allowed(t, "reading the file under its new name", read(in("in/old")))
}

// A tree that is written to, names that are removed, and a device.
func TestRestrictToWriting(t *testing.T) {
	dir, confined := inside(t, fill(t))
	if !confined {
		return
	}
	in := func(path string) string { return filepath.Join(dir, path) }
	restrict(t, Rules{Write: []string{in("in"), "/dev/null"}, Remove: []string{in("run/port"), "", "@name"}})
	allowed(t, "reading", read(in("in/file")))
	allowed(t, "replacing", write(in("in/file")))
	allowed(t, "creating", write(in("in/new")))
	allowed(t, "a directory", os.Mkdir(in("in/dir"), 0o777))
	allowed(t, "below it", write(in("in/dir/new")))
	allowed(t, "a link", os.Symlink("new", in("in/link")))
	allowed(t, "a hard link", os.Link(in("in/new"), in("in/hard")))
	allowed(t, "renaming", os.Rename(in("in/new"), in("in/newer")))
	allowed(t, "removing", os.Remove(in("in/newer")))
	allowed(t, "removing a directory", os.RemoveAll(in("in/dir")))
	allowed(t, "writing to a device", write("/dev/null"))
	denied(t, "creating a FIFO", syscall.Mkfifo(in("in/fifo"), 0o666))
	denied(t, "creating elsewhere", write(in("out/new")))
	denied(t, "a link elsewhere", os.Symlink("file", in("out/link")))
	denied(t, "reading elsewhere", read(in("out/file")))
	if err := os.Rename(in("in/file"), in("out/moved")); !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EXDEV) {
		t.Errorf("moving it out: %v", err)
	}
	if err := os.Link(in("out/file"), in("in/stolen")); !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EXDEV) {
		t.Errorf("linking it in: %v", err)
	}
	denied(t, "creating where only removing is allowed", write(in("run/new")))
	denied(t, "reading there", read(in("run/file")))
	allowed(t, "removing there", os.Remove(in("run/file")))
}

// TCP connections lead to the ports of the rules, and to name servers if names
// are looked up.
func TestRestrictTCP(t *testing.T) {
	for name, test := range map[string]struct {
		rules Rules
		first bool // whether the first port is allowed
		other bool
		hosts bool // whether /etc/hosts is read
		etc   bool // whether another file in /etc is
	}{
		"none":  {rules: Rules{}},
		"port":  {rules: Rules{Connect: []int{-1}}, first: true},
		"any":   {rules: Rules{AnyTCP: true}, first: true, other: true},
		"names": {rules: Rules{Names: true}, hosts: true},
		"fresh": {rules: Rules{Names: true, FreshNames: true}, hosts: true, etc: true},
	} {
		t.Run(name, func(t *testing.T) {
			_, confined := inside(t, func(string) {})
			if !confined {
				return
			}
			ports := make([]int, 2)
			for i := range ports {
				ln, err := net.Listen("tcp4", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				ports[i] = ln.Addr().(*net.TCPAddr).Port
			}
			for i := range test.rules.Connect {
				test.rules.Connect[i] = ports[0]
			}
			restrict(t, test.rules)
			check := func(what string, ok bool, err error) {
				t.Helper()
				if ok {
					allowed(t, what, err)
				} else {
					denied(t, what, err)
				}
			}
			for i, ok := range []bool{test.first, test.other} {
				_, err := net.Dial("tcp4", "127.0.0.1:"+strconv.Itoa(ports[i]))
				check("connecting", ok, err)
			}
			check("reading hosts(5)", test.hosts, read("/etc/hosts"))
			check("reading passwd(5)", test.etc, read("/etc/passwd"))
			if _, err := net.Dial("tcp4", "127.0.0.1:53"); (test.hosts || test.other) == errors.Is(err, syscall.EACCES) {
				t.Errorf("connecting to a name server: %v", err)
			}
		})
	}
}

// The local port of a connection is one of the rules.
func TestRestrictBind(t *testing.T) {
	_, confined := inside(t, func(string) {})
	if !confined {
		return
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	from := func(port int) error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}}
		_, err := d.Dial("tcp4", ln.Addr().String())
		return err
	}
	restrict(t, Rules{Connect: []int{ln.Addr().(*net.TCPAddr).Port}, Bind: []int{0}})
	allowed(t, "binding to a free port", from(0))
	denied(t, "binding to a port", from(1))
}

// Abstract Unix sockets of other processes are out of reach, unless the run is
// about Unix sockets.
func TestRestrictUnixSockets(t *testing.T) {
	for _, unixSockets := range []bool{false, true} {
		t.Run(strconv.FormatBool(unixSockets), func(t *testing.T) {
			// The listener is outside, and its name that of the directory.
			var ln net.Listener
			name := func(dir string) string { return "@" + strings.ReplaceAll(dir, "/", "-") }
			dir, confined := inside(t, func(dir string) {
				var err error
				if ln, err = net.Listen("unix", name(dir)); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = ln.Close() })
			})
			if !confined {
				return
			}
			restrict(t, Rules{UnixSockets: unixSockets})
			_, err := net.Dial("unix", name(dir))
			if unixSockets {
				allowed(t, "connecting", err)
			} else if !errors.Is(err, syscall.EPERM) {
				t.Errorf("connecting: %v, want operation not permitted", err)
			}
		})
	}
}
