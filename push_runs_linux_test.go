package main

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/push"
	"purr/internal/testkit"
)

// Pushes and pulls that go well, each way.

// The pushed files: a tree of each kind of file.
func makeTree(t testing.TB, dir string) {
	t.Helper()
	for name, content := range map[string]string{
		"empty": "", "one": "x", "large": testkit.Noise(3_000_000), "zeros": strings.Repeat("\x00", 1<<20),
		"a b": "space", "50%": "percent", "what?": "question", "n#1": "hash", "a&b+c=d;e": "more", "-rf": "dash", "%2e%2e": "escaped",
		"你好/🐈": "unicode", "bad\xff\xfe": "no UTF-8", `back\slash"quote`: "quoting", "deep/er/and/er/f": "deep", " lead and trail ": "blanks",
		strings.Repeat("n", 255): "long", "readonly": "0400", "program": "0755", "locked/f": "in a directory of mode 0555",
	} {
		testkit.WriteFile(t, filepath.Join(dir, name), content)
	}
	if err := os.MkdirAll(filepath.Join(dir, "nothing/in/here"), 0o750); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": "one", "deep/up": "../one", "deep/dir": "er", "dangling": "nowhere", "locked/l": "f"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{"readonly": 0o400, "program": 0o755, "locked": 0o555, "locked/f": 0o444} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 { // only root can read it
		testkit.WriteFile(t, filepath.Join(dir, "closed"), "0000")
		if err := os.Chmod(filepath.Join(dir, "closed"), 0); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Date(2001, 2, 3, 4, 5, 6, 123456789, time.UTC)
	for name, when := range map[string]time.Time{"one": old, "large": old.Add(1), "nothing/in": old, "locked": old, "empty": time.Unix(-12345, 5)} {
		if err := os.Chtimes(filepath.Join(dir, name), time.Time{}, when); err != nil {
			t.Fatal(err)
		}
	}
}

// describe lists a tree, with all that is to be kept of it.
func describe(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %s %x %d", info.ModTime().UTC(), testkit.SHA256(string(content)), len(content))
		case info.IsDir():
			what += fmt.Sprintf(" %s", info.ModTime().UTC())
		default:
			what, err = os.Readlink(path)
		}
		name, _ := filepath.Rel(dir, path)
		all[name] = what
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return all
}

// sameTree checks that two trees are the same.
func sameTree(t testing.TB, got, want string) {
	t.Helper()
	g, w := describe(t, got), describe(t, want)
	for name := range w {
		if g[name] != w[name] {
			t.Errorf("%q is %q, want %q", name, g[name], w[name])
		}
	}
	for name := range g {
		if _, ok := w[name]; !ok {
			t.Errorf("%q is there, but was not sent", name)
		}
	}
}

// Everything that a tree can hold comes through, over TCP and a Unix socket,
// and a second run finds it there.
func TestPushTree(t *testing.T) {
	t.Parallel()
	for _, unix := range []bool{false, true} {
		for _, operand := range []string{"tree", "tree/", "."} {
			if unix && operand != "tree" {
				continue
			}
			t.Run(fmt.Sprintf("%s unix %v", operand, unix), func(t *testing.T) {
				t.Parallel()
				bothWays(t, func(t *testing.T, listening push.Role) {
					x := newTransfer(t, listening, operand)
					x.unix = unix
					from, into := filepath.Join(x.from, "tree"), filepath.Join(x.into, "tree")
					if operand == "." {
						from, into = x.from, x.into
					}
					makeTree(t, from)
					x.start().ends(0)
					sameTree(t, into, from)
					said(x.sender, `^purr: \d+ files, \d+ bytes stored and verified`)
					x.start().ends(0)
					sameTree(t, into, from)
					said(x.receiver, `large": 3000000 bytes already there, identical, sha256 `+short(testkit.Noise(3_000_000)))
				})
			})
		}
	}
}

// If a file cannot be sent or stored, both ends print it, and the rest goes on.
func TestPushLeavesOut(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "d")
		x.file("d/good", "good")
		x.file("d/.hidden", "hidden")
		if err := syscall.Mkfifo(filepath.Join(x.from, "d/fifo"), 0o644); err != nil {
			t.Fatal(err)
		}
		if ln, err := net.Listen("unix", filepath.Join(x.from, "d/s")); err == nil { // the path may be too long for it
			t.Cleanup(func() { _ = ln.Close() })
		}
		for link, target := range map[string]string{"abs": "/etc/passwd", "out": "../../x", "sly": "sub/../../../x"} {
			if err := os.Symlink(target, filepath.Join(x.from, "d", link)); err != nil {
				t.Fatal(err)
			}
		}
		x.start().ends(4)
		x.receives("d/good", "good")
		x.leaves("d", "d/good")
		said(x.sender, `^purr: d/fifo: neither a file, a directory nor a link: not (stored|sent)$`)
		said(x.receiver, `^purr: "d/fifo": the sender gave up: neither a file, a directory nor a link; nothing stored$`)
		said(x.sender, `^purr: d/\.hidden: refused by the other end: hidden name: .*$`)
		for _, name := range []string{"abs", "out", "sly"} {
			said(x.sender, `^purr: d/`+name+`: refused by the other end: (leads outside by a symbolic link|unsafe target of a symbolic link)$`)
			said(x.receiver, `^purr: "d/`+name+`" refused: `)
		}
	})
}

// A file that may not be read is left out.
func TestPushUnreadable(t *testing.T) {
	t.Parallel()
	x := newTransfer(t, push.Receiver, "d")
	x.file("d/good", "good")
	x.file("d/small", "secret")
	x.file("d/large", testkit.Noise(1_000_000))
	for _, name := range []string{"d/small", "d/large"} {
		if err := os.Chmod(filepath.Join(x.from, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	address := x.listen()
	x.sender = confined(t, opts{dir: x.from}, append(append([]string{"--push"}, address...), "d")...)
	x.ends(4)
	x.leaves("d", "d/good")
	for _, name := range []string{"small", "large"} {
		said(x.sender, `^purr: d/`+name+`: permission denied: not stored$`)
		said(x.receiver, `^purr: "d/`+name+`": the sender gave up: permission denied; nothing stored$`)
	}
}

func TestPushForce(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "small", "large")
		x.file("small", "new")
		x.file("large", testkit.Noise(1_000_000))
		testkit.WriteFile(t, filepath.Join(x.into, "small"), "old")
		testkit.WriteFile(t, filepath.Join(x.into, "large"), testkit.Noise(999_999)+"x")
		x.take = []string{"--force"}
		x.start().ends(0)
		x.leaves("large", "small")
		x.receives("small", "new")
		x.receives("large", testkit.Noise(1_000_000))
	})
}

func TestPushRename(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "small.txt", "large")
		x.file("small.txt", "new")
		x.file("large", testkit.Noise(1_000_000))
		testkit.WriteFile(t, filepath.Join(x.into, "small.txt"), "old")
		testkit.WriteFile(t, filepath.Join(x.into, "small.1.txt"), "older")
		testkit.WriteFile(t, filepath.Join(x.into, "large"), "old")
		x.take = []string{"--rename"}
		x.start().ends(0)
		x.leaves("large", "large.1", "small.1.txt", "small.2.txt", "small.txt")
		x.receives("small.2.txt", "new")
		x.receives("large.1", testkit.Noise(1_000_000))
		x.receives("large", "old")
		said(x.receiver, `^purr: stored "small\.txt" as "small\.2\.txt": 3 bytes`)
		said(x.sender, `^purr: small\.txt: 3 bytes stored and verified as "small\.2\.txt", sha256 `)
		said(x.sender, `^purr: large: 1000000 bytes stored and verified as "large\.1", sha256 `)
	})
}

// --max-size is for all files together.
func TestPushMaxSize(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "large", "small1", "small2")
		x.file("large", testkit.Noise(1_000_000))
		x.file("small1", testkit.Noise(3000))
		x.file("small2", testkit.Noise(3000))
		x.take = []string{"--max-size", "5000"}
		x.start().ends(4)
		said(x.sender, `^purr: large: refused by the other end: over --max-size 5000: \d+ bytes left$`)
		said(x.receiver, `^purr: "large" refused: over --max-size 5000: \d+ bytes left$`)
		found, _ := filepath.Glob(filepath.Join(x.into, "*"))
		if len(found) != 1 || !strings.Contains(found[0], "small") {
			t.Errorf("%q are there, want one small file", found)
		}
	})
}

// Holes stay holes, and cost no time.
func TestPushSparse(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "s.bin")
		x.file("s.bin", "beginning")
		f, err := os.OpenFile(filepath.Join(x.from, "s.bin"), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("end"), 100<<20); err != nil {
			t.Fatal(err)
		}
		x.start().ends(0)
		info, err := os.Stat(filepath.Join(x.into, "s.bin"))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Blocks * 512; info.Size() != 100<<20+3 || got > 1<<20 {
			t.Errorf("%d bytes that take %d on the disk", info.Size(), got)
		}
	})
}

// Many small files, and no more memory for them than for a few.
func TestPushManyFiles(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "d")
		x.from, x.into = inMemory(t), inMemory(t)
		n := 3000
		if testkit.UnderRace {
			n = 500
		}
		for i := range n {
			x.file(filepath.Join("d", strconv.Itoa(i%10), strconv.Itoa(i)), testkit.Noise(i))
		}
		x.start()
		modest(x.sender)
		modest(x.receiver)
		x.ends(0)
		sameTree(t, filepath.Join(x.into, "d"), filepath.Join(x.from, "d"))
		said(x.sender, fmt.Sprintf(`^purr: %d files, %d bytes stored and verified$`, n, n*(n-1)/2))
	})
}

// modest watches how much memory a process takes, until it ends.
func modest(p *process) {
	p.t.Helper()
	if testkit.UnderRace {
		return
	}
	most := make(chan int, 1)
	go func() {
		kB := 0
		defer func() { most <- kB }()
		for {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
			if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
				_, _ = fmt.Sscan(rest, &kB)
			}
			select {
			case <-p.ended:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	p.t.Cleanup(func() {
		if kB := <-most; kB == 0 || kB > 64<<10 {
			p.t.Errorf("%s: %d kB of memory", p.name, kB)
		}
	})
}

// inMemory is a directory for many files, where to sync them costs nothing.
var inMemory = testkit.InMemory

// With -k a receiver takes from several senders at once.
func TestPushSeveralSenders(t *testing.T) {
	t.Parallel()
	p, addr, into := startPull(t, "-k")
	host, port, _ := net.SplitHostPort(addr)
	var senders []*process
	for i := range 4 {
		dir := t.TempDir()
		testkit.WriteFile(t, filepath.Join(dir, fmt.Sprint("d", i), "large"), testkit.Noise(2_000_000+i))
		senders = append(senders, startPurr(t, opts{dir: dir}, "--push", host, port, fmt.Sprint("d", i)))
	}
	for i, s := range senders {
		s.ends(0)
		hasContent(t, filepath.Join(into, fmt.Sprint("d", i), "large"), testkit.Noise(2_000_000+i))
	}
	p.signal(syscall.SIGTERM)
	p.ends(143)
}

// With -k a sender gives to several receivers at once.
func TestPullSeveralReceivers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	testkit.WriteFile(t, filepath.Join(dir, "large"), testkit.Noise(2_000_000))
	testkit.WriteFile(t, filepath.Join(dir, "small"), "content")
	p, addr := startPush(t, dir, "-k", ".")
	host, port, _ := net.SplitHostPort(addr)
	var receivers []*process
	for range 4 {
		receivers = append(receivers, startPurr(t, opts{dir: t.TempDir()}, "--pull", host, port))
	}
	for _, r := range receivers {
		r.ends(0)
		hasContent(t, filepath.Join(r.cmd.Dir, "large"), testkit.Noise(2_000_000))
		hasContent(t, filepath.Join(r.cmd.Dir, "small"), "content")
	}
	p.signal(syscall.SIGTERM)
	p.ends(143)
}

// A file of size 0 with content, as in /proc, cannot be verified.
func TestPushProc(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "/proc/self/status")
		x.start().ends(4)
		x.leaves()
		said(x.sender, `^purr: status: holds more than its size says: .*: not (stored|sent)$`)
	})
}

// A file that is named beside "." is found, whichever comes first.
func TestPushBesideContents(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		beside := testkit.TempFile(t, "beside")
		x := newTransfer(t, listening, ".", beside)
		x.file("in", "content")
		x.start().ends(0)
		x.receives("in", "content")
		x.receives(filepath.Base(beside), "beside")
	})
}
