package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/push"
	"purr/internal/testkit"
)

// The faults of the receiver's disk.

// inMount starts the receiver in a file system of its own, of so many bytes,
// and prints the files left there. prepare is a command for the shell that is
// run in it first.
func (x *transfer) inMount(size, prepare string, address ...string) {
	x.t.Helper()
	script := `dir=$1 size=$2 prepare=$3; shift 3
		mount -t tmpfs -o size=$size tmpfs "$dir" && cd "$dir" && eval "$prepare" && purr "$@" "$dir"; s=$?; find . -mindepth 1; exit $s`
	args := append(append([]string{"--pull"}, x.take...), address...)
	x.receiver = shell(x.t, opts{}, `exec unshare -m sh -c "$@"`, append([]string{script, "sh", x.into, size, prepare}, args...)...)
}

// The receiver's disk is too small: no byte is sent.
func TestPushDiskTooSmall(t *testing.T) {
	t.Parallel()
	rootOnly(t)
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "s.bin")
		x.file("s.bin", eightMB())
		if listening == push.Sender {
			x.inMount("2m", "true", x.listen()...)
		} else {
			x.inMount("2m", "true", "-v", "-l", "127.0.0.1", "0")
			host, port, _ := net.SplitHostPort(x.receiver.addr())
			x.end(push.Sender, host, port)
		}
		x.sender.ends(4)
		x.receiver.ends(4)
		said(x.sender, `^purr: s\.bin: refused by the other end: not enough space: \d+ bytes free, 8000000 needed$`)
		said(x.receiver, `^purr: "s\.bin" refused: not enough space: \d+ bytes free, 8000000 needed$`)
		x.receiver.printed("")
	})
}

// Several files together do not fit: those that have a name are whole.
func TestPushDiskFills(t *testing.T) {
	t.Parallel()
	rootOnly(t)
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, ".")
		for i := range 40 {
			x.file(fmt.Sprintf("f%02d", i), testkit.Noise(200_000))
		}
		x.take = []string{"-v"}
		show := `trap 'cmp -n 200000 f?? 2>/dev/null' EXIT`
		if listening == push.Sender {
			x.inMount("3m", show, x.listen()...)
		} else {
			x.inMount("3m", show, "-l", "127.0.0.1", "0")
			host, port, _ := net.SplitHostPort(x.receiver.addr())
			x.end(push.Sender, host, port)
		}
		x.sender.ends(4)
		x.receiver.ends(4)
		said(x.sender, `^purr: f\d\d: refused by the other end: (not enough space: \d+ bytes free, 200000 needed|no space left on device; partial removed)$`)
		said(x.receiver, `^purr: "f\d\d" refused: (not enough space|no space left on device; partial removed)`)
		stored := strings.Count(x.receiver.err.String(), "purr: stored ")
		if found := strings.Fields(x.receiver.out.String()); len(found) != stored || stored == 0 || stored >= 40 {
			t.Errorf("%d files were stored, and %q is there", stored, found)
		}
	})
}

// A client that does not know the length fills the disk.
func TestPutFillsDisk(t *testing.T) {
	t.Parallel()
	rootOnly(t)
	curl := testkit.Program(t, "curl", "curl")
	x := newTransfer(t, push.Receiver)
	x.inMount("2m", "true", "-v", "-l", "127.0.0.1", "0")
	p := start(t, opts{stdin: strings.NewReader(eightMB())}, curl, "-sS", "-T", "-", "http://"+x.receiver.addr()+"/s.bin")
	p.status()
	p.printed("no space left on device; partial removed\n")
	x.receiver.ends(4)
	said(x.receiver, `^purr: "s\.bin" refused: no space left on device; partial removed$`)
	x.receiver.printed("")
}

// confined runs purr as a user subject to file permissions, also under root.
func confined(t testing.TB, o opts, args ...string) *process {
	t.Helper()
	if os.Getuid() != 0 {
		return startPurr(t, o, args...)
	}
	testkit.Program(t, "setpriv", "util-linux")
	return shell(t, o, `exec setpriv --bounding-set=-dac_override,-dac_read_search purr "$@"`, args...)
}

func TestPushPermissionDenied(t *testing.T) {
	t.Parallel()
	x := newTransfer(t, push.Receiver, "sub")
	x.file("sub/s.bin", eightMB())
	x.file("sub/small", "small")
	if err := os.Mkdir(filepath.Join(x.into, "sub"), 0o555); err != nil {
		t.Fatal(err)
	}
	x.receiver = confined(t, opts{}, "--pull", "-v", "-l", "127.0.0.1", "0", x.into)
	host, port, _ := net.SplitHostPort(x.receiver.addr())
	x.end(push.Sender, host, port)
	x.ends(4)
	for _, name := range []string{"s.bin", "small"} {
		said(x.sender, `^purr: sub/`+name+`: refused by the other end: permission denied$`)
		said(x.receiver, `^purr: "sub/`+name+`" refused: permission denied$`)
	}
	x.leaves("sub")
}

// A directory without write permission is an error before a client is accepted.
func TestPullIntoReadOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	p := confined(t, opts{}, "--pull", "-l", "127.0.0.1", "0", dir)
	p.ends(1)
	p.complains("pull into "+dir, "permission denied")
}
