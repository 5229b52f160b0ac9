// Package testkit holds helpers that the tests of several packages share.
package testkit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Patience is the deadline of whatever should happen at once but may be slow on
// a busy machine.
const Patience = 30 * time.Second

// kept is a writer that keeps everything and can be waited on.
type Output struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	More   chan struct{} // closed, and replaced, at each write
	closed bool
}

// Write appends b and wakes Wait.
func (k *Output) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.buf.Write(b)
	close(k.More)
	k.More = make(chan struct{})
	return len(b), nil
}

// Close ends the output: Wait no longer waits.
func (k *Output) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	close(k.More)
}

// String returns the output so far.
func (k *Output) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buf.String()
}

// Len returns the number of bytes written so far.
func (k *Output) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buf.Len()
}

// Wait returns the first match of re, or nil if there is none at the end of
// the output or of patience.
func (k *Output) Wait(re *regexp.Regexp) []string {
	deadline := time.After(Patience)
	for {
		k.mu.Lock()
		m := re.FindStringSubmatch(k.buf.String())
		more, closed := k.More, k.closed
		k.mu.Unlock()
		if m != nil || closed {
			return m
		}
		select {
		case <-more:
		case <-deadline:
			return nil
		}
	}
}

// Promptly is what "at once" may take where the promise is 100 ms. Under the
// race detector much more runs at the same time, and a process may be held up
// while this one is not.
func Promptly() time.Duration {
	if UnderRace {
		return 3 * time.Second
	}
	return 500 * time.Millisecond
}

// AtOnce sets how many tests run at the same time, as -parallel, which
// overrides it. Without it that is the number of processors, but most tests
// wait most of the time. Under the race detector it is half as many: they would
// starve those that measure time.
func AtOnce(n int) {
	if UnderRace {
		n /= 2
	}
	if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
		panic(err)
	}
}

// Noise is n bytes that never repeat: a lost, doubled or moved block shows.
func Noise(n int) string { return allNoise()[:n] }

var allNoise = sync.OnceValue(func() string {
	b := make([]byte, 0, 32<<20)
	for x := uint64(0x9e3779b97f4a7c15); len(b) < cap(b); {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return string(b)
})

// Missing skips the test and names what is missing; with PURR_TEST_REQUIRE set,
// as in CI, it fails it.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("PURR_TEST_REQUIRE") != "" {
		t.Fatalf("%s needs %s", t.Name(), what)
	}
	t.Skipf("SKIPPED: %s needs %s", t.Name(), what)
}

// NotHere skips the test, by name, where the kernel or its settings lack what
// it needs: unlike a program, that cannot be installed.
func NotHere(t testing.TB, what string) {
	t.Helper()
	t.Skipf("SKIPPED: %s needs %s", t.Name(), what)
}

// Program skips the test if a program is not installed.
func Program(t testing.TB, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		Missing(t, fmt.Sprintf("%s (Debian package %s)", program, pkg))
	}
	return path
}

// Brief shortens bytes for a message.
func Brief(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%q... (%d bytes)", s[:200], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// ReadAll reads to the end of a connection.
func ReadAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("after %d bytes: %v", len(b), err)
	}
	return string(b)
}

// ReadN reads exactly n bytes.
func ReadN(t testing.TB, r io.Reader, n int) string {
	t.Helper()
	b := make([]byte, n)
	if got, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("after %s: %v", Brief(string(b[:got])), err)
	}
	return string(b)
}

// TempFile makes a file with the given content.
func TempFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// SecretFile makes a file that only its owner may read.
func SecretFile(t testing.TB, content string) string {
	t.Helper()
	path := TempFile(t, content)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Absent checks that nothing exists at path.
func Absent(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there (%v)", path, err)
	}
}

// Eventually polls until check holds. It is for states of the system that have
// no notification.
func Eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !check(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// WriteFile makes a file with the directories above it.
func WriteFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ReadFile returns the content of a file.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// NoLeaks checks, when the test is over, that the goroutines it started have
// ended. It is for tests that do not run in parallel with others.
func NoLeaks(t *testing.T) {
	t.Helper()
	existing := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, existing) })
}

// WriteString writes s, or fails the test.
func WriteString(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// SHA256 returns the digest of content.
func SHA256(content string) []byte {
	s := sha256.Sum256([]byte(content))
	return s[:]
}

// UnixPair is the two ends of a Unix stream connection.
func UnixPair(t testing.TB) (ours, theirs *net.UnixConn) {
	t.Helper()
	path := filepath.Join(SocketDir(t), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ours, err = net.DialUnix("unix", nil, ln.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.SetDeadline(time.Now().Add(Patience))
	theirs, err = ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
	_ = theirs.SetDeadline(time.Now().Add(Patience))
	return ours, theirs
}
