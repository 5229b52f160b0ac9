//go:build unix

package sock

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// deadSocket leaves a socket at path that no process has bound.
func deadSocket(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
}

// A live socket of any type stays, listening or not, and its owner notices
// nothing; a dead one and nothing else is removed.
func TestClearPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.SocketDir(t), "s")
	clear := func() error { return ClearPath(t.Context(), path) }
	if err := clear(); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			t.Fatal(err)
		}
		if err := clear(); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("bound, type %d: %v", kind, err)
		}
		_ = unix.Close(fd)
		if err := clear(); err != nil {
			t.Errorf("dead, type %d: %v", kind, err)
		}
		testkit.Absent(t, path)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := clear(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listening: %v", err)
	}
	_ = ln.SetDeadline(time.Now()) // what is in the queue is returned all the same
	raw, err := ln.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if conn, _, err := unix.Accept(int(fd)); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("the listener got a client: %d, %v", conn, err)
		}
	})
	_ = ln.Close()
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := clear(); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
	if testkit.ReadFile(t, path) != "data" {
		t.Error("the file has changed")
	}
}

// Of several that start at the same time on a dead path one owns it, is not
// replaced, and the others fail with that reason. No file is left beside it.
func TestClearPathAtOnce(t *testing.T) {
	t.Parallel()
	dir := testkit.SocketDir(t)
	path := filepath.Join(dir, "s")
	for range 100 {
		deadSocket(t, path)
		const n = 4
		owners := make([]*net.UnixListener, n)
		var starts sync.WaitGroup
		gate := make(chan struct{})
		for i := range n {
			starts.Go(func() {
				<-gate
				err := ClearPath(t.Context(), path)
				if err == nil {
					owners[i], err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
				}
				if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
					t.Error(err)
				}
			})
		}
		close(gate)
		starts.Wait()
		count := 0
		for _, ln := range owners {
			if ln == nil {
				continue
			}
			count++
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			_ = ln.SetDeadline(time.Now().Add(testkit.Patience))
			served, err := ln.Accept()
			if err != nil {
				t.Fatalf("the owner is not at its path: %v", err)
			}
			_ = served.Close()
			_ = c.Close()
			_ = ln.Close() // and removes the file
		}
		if count != 1 {
			t.Fatalf("%d owners", count)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
			t.Fatalf("left behind: %v (%v)", files, err)
		}
	}
}

// A lock that another program holds for ever is an error that names the
// directory, and a cancelled run does not wait for it.
func TestClearPathLocked(t *testing.T) {
	t.Parallel()
	dir := testkit.SocketDir(t)
	path := filepath.Join(dir, "s")
	deadSocket(t, path)
	unlock, err := lockDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := ClearPath(t.Context(), path); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("locked: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := ClearPath(stopped, path); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	unlock()
	if err := ClearPath(t.Context(), path); err != nil {
		t.Error(err)
	}
	testkit.Absent(t, path)
}
