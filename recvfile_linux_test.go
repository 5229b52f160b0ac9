package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// --recv-file: a name that appears with the complete file or not at all.

const cannotTell = "raw mode cannot tell a finished file from a killed sender: use --push/--pull, or --expect-size/--expect-sha256"

// holds checks that a directory has exactly these files.
func holds(t testing.TB, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", names) {
		t.Errorf("%s holds %q, want %q", dir, got, names)
	}
}

// hasContent checks the content of a file.
var hasContent = testkit.HasContent

// seesReset checks that the peer reads until a reset.
func seesReset(t testing.TB, r io.Reader) {
	t.Helper()
	if b, err := io.ReadAll(r); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the sender saw %v after %d bytes, want a reset", err, len(b))
	}
}

// Every netcat can send, as a client and as a server.
func TestRecvFileFromStockSenders(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight/4 + 321)
	path := testkit.TempFile(t, content)
	want := fmt.Sprintf("received %d bytes, sha256 %s, closed in order; %s", len(content), sumOf(content), cannotTell)
	check := func(t *testing.T, p *process, dir string) {
		t.Helper()
		p.ends(0)
		p.complains("purr: 127.0.0.1 port ", want)
		p.printed("")
		holds(t, dir, "f")
		hasContent(t, filepath.Join(dir, "f"), content)
	}
	for _, peer := range netcats {
		t.Run(peer.program+" dials purr", func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := startPurr(t, opts{openStdin: true, dir: dir}, "-l", "--recv-file", "f", "127.0.0.1", "0")
			client := shell(t, opts{stdin: opened(t, path)}, peer.command(t, peer.dialSend, p.port()))
			client.ends(0)
			check(t, p, dir)
		})
		t.Run("purr dials "+peer.program, func(t *testing.T) {
			t.Parallel()
			dir, port := t.TempDir(), freePort(t, "tcp")
			server := shell(t, opts{stdin: opened(t, path)}, peer.command(t, peer.listenSend, port))
			awaitPort(t, "tcp", port)
			p := startPurr(t, opts{openStdin: true, dir: dir}, "--recv-file", "f", "127.0.0.1", port)
			check(t, p, dir)
			server.ends(0)
		})
	}
	t.Run("mode", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		p := shell(t, opts{dir: dir}, `umask 027; exec purr -l --recv-file f 127.0.0.1 0`)
		_ = dialTest(t, "tcp", p.addr()).Close()
		p.ends(0)
		info, err := os.Stat(filepath.Join(dir, "f"))
		if err != nil || info.Mode() != 0o640 || info.Size() != 0 {
			t.Errorf("%v %v (%v), want an empty file of mode 0640", info.Mode(), info.Size(), err)
		}
	})
	t.Run("unix, in upper case", func(t *testing.T) {
		t.Parallel()
		dir, socket := t.TempDir(), filepath.Join(testkit.SocketDir(t), "s")
		p := startPurr(t, opts{dir: dir}, "-v", "-l", "--upper", "--recv-file", "f", "-U", socket)
		p.waitErr(listeningOn)
		c := dialTest(t, "unix", socket)
		writeAll(t, c, "hello")
		_ = c.Close()
		p.ends(0)
		p.waitErr(regexp.MustCompile(`received 5 bytes, sha256 ` + sumOf("HELLO")))
		hasContent(t, filepath.Join(dir, "f"), "HELLO")
	})
}

// receivings are the ways in which --recv-file fails: act is the sender's next
// step after half of 300,000 bytes, and says matches the receiver's message.
var receivings = []struct {
	name   string
	args   []string
	act    func(t *testing.T, p *process, c streamConn)
	status int
	says   string
}{
	{"reset", nil, func(t *testing.T, _ *process, c streamConn) { testkit.Reset(t, c) }, 1, "connection reset by peer"},
	{"idle", []string{"-w", "1"}, sees, 1, "idle for 1s before the peer had finished"},
	{"SIGTERM", nil, func(t *testing.T, p *process, c streamConn) { p.signal(syscall.SIGTERM); sees(t, p, c) }, 143, ""},
	{"SIGINT", nil, func(t *testing.T, p *process, c streamConn) { p.signal(syscall.SIGINT); sees(t, p, c) }, 130, ""},
	{"too much", []string{"--expect-size", "1k"}, sees, 5, "more than the expected 1024 bytes came: nothing stored as f"},
	{"too little", []string{"--expect-size", "300000"}, finishes, 5, "150000 bytes came, and 300000 were expected: nothing stored as f"},
	{"another digest", []string{"--expect-sha256", sumOf("x")}, finishes, 5, "150000 bytes with sha256 2f12f679ae3c8ba330b11535ea7a65bd10c0d35cb95525f4414955a7cb185405 came, and " + sumOf("x") + " was expected: nothing stored as f"},
}

func sees(t *testing.T, _ *process, c streamConn) { t.Helper(); seesReset(t, c) }

func finishes(t *testing.T, _ *process, c streamConn) {
	t.Helper()
	_ = c.CloseWrite()
	seesReset(t, c)
}

// A failed transfer leaves nothing, or with --keep-partial the partial file.
func TestRecvFileFails(t *testing.T) {
	t.Parallel()
	for _, test := range receivings {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, keep %v", test.name, keep), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				args := append([]string{"-l", "--recv-file", "f", "127.0.0.1", "0"}, test.args...)
				if keep {
					args = append(args, "--keep-partial")
				}
				p := startPurr(t, opts{dir: dir}, args...)
				c := dialTest(t, "tcp", p.addr()).(streamConn)
				half := testkit.Noise(150_000)
				_, _ = io.WriteString(c, half)
				if test.name != "too much" {
					partial := ""
					testkit.Eventually(t, "half has been stored", func() bool {
						found, _ := filepath.Glob(filepath.Join(dir, ".f.purr-????????"))
						if len(found) != 1 {
							return false
						}
						partial = found[0]
						info, err := os.Stat(partial)
						return err == nil && info.Size() == int64(len(half))
					})
				}
				test.act(t, p, c)
				p.ends(test.status)
				said := strings.ReplaceAll(p.said(), "\x00\n", "")
				if !strings.Contains(said, test.says) {
					t.Errorf("said %q, want %q", said, test.says)
				}
				if !keep {
					holds(t, dir)
					return
				}
				m := regexp.MustCompile(`(?m)^purr: kept (\d+) bytes in (\.f\.purr-\w{8})$`).FindStringSubmatch(said)
				if m == nil {
					t.Fatalf("said %q", said)
				}
				holds(t, dir, m[2])
				b, err := os.ReadFile(filepath.Join(dir, m[2]))
				if err != nil || m[1] != fmt.Sprint(len(b)) || !strings.HasPrefix(half, string(b)) || test.name != "too much" && len(b) != len(half) {
					t.Errorf("kept %d bytes (%v), said %q", len(b), err, said)
				}
			})
		}
	}
}

// The system of a killed sender sends FIN: only an expected size shows the
// loss.
func TestRecvFileKilledSender(t *testing.T) {
	t.Parallel()
	for _, peer := range netcats {
		t.Run(peer.program, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := startPurr(t, opts{dir: dir}, "-l", "--recv-file", "f", "--expect-size", "8M", "127.0.0.1", "0")
			client := shell(t, opts{openStdin: true}, "exec "+peer.command(t, peer.dialSend, p.port()))
			writeAll(t, client.stdin, testkit.Noise(100_000))
			testkit.Eventually(t, "some has been stored", func() bool {
				found, _ := filepath.Glob(filepath.Join(dir, ".f.purr-*"))
				if len(found) != 1 {
					return false
				}
				info, err := os.Stat(found[0])
				return err == nil && info.Size() == 100_000
			})
			client.kill()
			p.ends(5)
			p.complains("100000 bytes came, and 8388608 were expected")
			holds(t, dir)
		})
	}
}

// A file of the expected size or digest is stored, and the message names which.
func TestRecvFileAsExpected(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(quick)
	for _, test := range []struct{ option, value, says string }{
		{"--expect-size", "300000", "closed in order; the size is the expected one"},
		{"--expect-sha256", strings.ToUpper(sumOf(content)), "closed in order; the SHA-256 is the expected one"},
	} {
		dir := t.TempDir()
		p := startPurr(t, opts{}, "-l", test.option, test.value, "--recv-file", dir+"/f", "127.0.0.1", "0")
		sender := startPurr(t, opts{stdin: strings.NewReader(content)}, "127.0.0.1", p.port())
		sender.ends(0)
		p.ends(0)
		p.complains("received 300000 bytes", test.says)
		hasContent(t, dir+"/f", content)
	}
}

// A full disk resets the connection, and both ends report an error.
func TestRecvFileDiskFull(t *testing.T) {
	t.Parallel()
	rootOnly(t)
	for _, upper := range []string{"", "--upper"} {
		dir := t.TempDir()
		script := `mount -t tmpfs -o size=1m tmpfs "$1" && cd "$1" && purr -l ` + upper + ` --recv-file f 127.0.0.1 0; s=$?; ls -A; exit $s`
		p := shell(t, opts{}, `exec unshare -m sh -c "$1" sh "$2"`, script, dir)
		sender := startPurr(t, opts{}, "--send-file", testkit.TempFile(t, testkit.Noise(eight)), "127.0.0.1", p.port())
		sender.ends(1)
		fewer(t, sender, eight)
		p.ends(1)
		p.complains("write to f: no space left on device")
		p.printed("")
	}
}

// A name that cannot be stored is refused before a socket is opened.
func TestRecvFileRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("exists")
	for link, to := range map[string]string{"link": "exists", "dangling": "nothing"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, flag, says string }{
		{"exists", "-v", "exists exists: choose another name, or say --force to replace it"},
		{"link", "-v", "link is a symbolic link to exists: name the file itself, or remove the link"},
		{"link", "--force", "link is a symbolic link to exists"},
		{"dangling", "-v", "dangling is a symbolic link to nothing"},
		{"dangling", "--force", "dangling is a symbolic link to nothing"},
		{".", "--force", ". is a directory: name a file in it"},
		{"no/f", "-v", "stat no: no such file or directory"},
		{"no/", "-v", "no/ is a directory that does not exist: name the file in it"},
		{"exists/f", "-v", "not a directory"},
		{strings.Repeat("x", 256), "-v", "file name too long"},
	} {
		p := startPurr(t, opts{dir: dir}, "-l", test.flag, "--recv-file", test.name, "127.0.0.1", "0")
		p.ends(2)
		p.complains("option --recv-file: ", test.says)
		ln := listenTest(t)
		p = startPurr(t, opts{dir: dir}, test.flag, "--recv-file", test.name, "127.0.0.1", portOf(t, ln.Addr()))
		p.ends(2)
		own := dialTest(t, "tcp", ln.Addr().String())
		c, err := ln.Accept() // its own connection would be the first
		if err != nil {
			t.Fatal(err)
		}
		if _ = c.Close(); c.RemoteAddr().String() != own.LocalAddr().String() {
			t.Errorf("%s: it connected", test.name)
		}
	}
	holds(t, dir, "dangling", "exists", "link")
	hasContent(t, filepath.Join(dir, "exists"), "old")
}

// Directories of other users, for a user other than root.
func TestRecvFileNotPermitted(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		testkit.Missing(t, "root, to be another user")
	}
	testkit.Program(t, "setpriv", "util-linux")
	dir := testkit.SocketDir(t)
	if err := os.WriteFile(dir+"/f", []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode       os.FileMode
		name, says string
	}{
		{0o755, "new", "permission denied"},
		{0o333, "new", "permission denied"},                     // it could not be put on stable storage
		{0o777 | os.ModeSticky, "f", "operation not permitted"}, // as in /tmp
	} {
		if err := os.Chmod(dir, test.mode); err != nil {
			t.Fatal(err)
		}
		checkAsNobody(t, dir+"/"+test.name, test.says)
	}
	hasContent(t, dir+"/f", "old")
}

// checkAsNobody checks the option in a thread with the user ID of nobody.
func checkAsNobody(t *testing.T, path, says string) {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		// The thread is not given back, and ends with the goroutine.
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			result <- errno
			return
		}
		c := &config{file: fileConfig{recv: path, force: true}}
		result <- c.checkRecvFile()
	}()
	if err := ends(t, result); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v, want %q", path, err, says)
	}
}

// --force replaces the file at the end of the transfer.
func TestRecvFileForce(t *testing.T) {
	t.Parallel()
	path := testkit.TempFile(t, "old")
	for _, content := range []string{"", "new"} {
		p := startPurr(t, opts{}, "-l", "--force", "--recv-file", path, "127.0.0.1", "0")
		c := dialTest(t, "tcp", p.addr())
		if content == "" {
			testkit.Reset(t, c)
			p.ends(1)
			hasContent(t, path, "old")
			continue
		}
		writeAll(t, c, content)
		hasContent(t, path, "old")
		_ = c.Close()
		p.ends(0)
		hasContent(t, path, "new")
	}
	holds(t, filepath.Dir(path), "file")
}

// A file that is created with the final name meanwhile is not replaced. A
// directory that is moved meanwhile receives the file.
func TestRecvFileMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startPurr(t, opts{dir: dir}, "-l", "--recv-file", "f", "127.0.0.1", "0")
	c := dialTest(t, "tcp", p.addr()).(streamConn)
	writeAll(t, c, "hello")
	if err := os.WriteFile(dir+"/f", []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	seesReset(t, c)
	p.ends(1)
	p.complains("store f: file exists")
	holds(t, dir, "f")
	hasContent(t, dir+"/f", "other")

	if err := os.Mkdir(dir+"/before", 0o700); err != nil {
		t.Fatal(err)
	}
	p = startPurr(t, opts{dir: dir}, "-l", "--recv-file", "before/g", "127.0.0.1", "0")
	c = dialTest(t, "tcp", p.addr()).(streamConn)
	writeAll(t, c, "hello")
	testkit.Eventually(t, "it is being received", func() bool {
		found, _ := filepath.Glob(dir + "/before/.g.purr-*")
		return len(found) == 1
	})
	if err := os.Rename(dir+"/before", dir+"/after"); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	p.ends(0)
	holds(t, dir+"/after", "g")
}

// With a key the sender authenticates the end of the file.
func TestRecvFileWithKey(t *testing.T) {
	t.Parallel()
	k, dir := tlsconn.NewKey(), t.TempDir()
	l := startPurr(t, opts{env: keyed(k), dir: dir}, "-l", "--recv-file", "f", "127.0.0.1", "0")
	startPurr(t, opts{env: keyed(k)}, "--send-file", testkit.TempFile(t, "content"), "127.0.0.1", l.port()).ends(0)
	l.ends(0)
	said(l, `received 7 bytes, sha256 [0-9a-f]{64}, closed in order; the sender has said that this is the end$`)
	hasContent(t, filepath.Join(dir, "f"), "content")
}
