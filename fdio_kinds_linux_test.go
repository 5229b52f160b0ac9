package main

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/testkit"
)

// kindOf tells what stdin and stdout can be.
func TestKindOf(t *testing.T) {
	dir := t.TempDir()
	open := func(name string, flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(name, flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	r, w := testkit.StdioPipe(t)
	if err := syscall.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", dir+"/null"); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(pair[0]), "socket")
	defer socket.Close()
	defer unix.Close(pair[1])
	for _, test := range []struct {
		name string
		f    *os.File
		want fdio.Kind
	}{
		{"file", open(dir+"/file", os.O_CREATE|os.O_RDWR), fdio.Regular},
		{"append", open(dir+"/file", os.O_APPEND|os.O_WRONLY), fdio.Append},
		{"pipe, read", r, fdio.Pipe},
		{"pipe, write", w, fdio.Pipe},
		{"fifo", open(dir+"/fifo", os.O_RDWR), fdio.FIFO},
		{"null", open("/dev/null", os.O_RDONLY), fdio.Null},
		{"null by another name", open(dir+"/null", os.O_WRONLY), fdio.Null},
		{"zero", open("/dev/zero", os.O_RDONLY), fdio.Other},
		{"full", open("/dev/full", os.O_WRONLY), fdio.Other},
		{"directory", open(dir, os.O_RDONLY), fdio.Other},
		{"socket", socket, fdio.Socket},
		{"terminal", open("/dev/ptmx", os.O_RDWR), fdio.Terminal},
	} {
		if got := fdio.KindOf(test.f); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}
