package fdio

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

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
		want Kind
	}{
		{"file", open(dir+"/file", os.O_CREATE|os.O_RDWR), Regular},
		{"append", open(dir+"/file", os.O_APPEND|os.O_WRONLY), Append},
		{"pipe, read", r, Pipe},
		{"pipe, write", w, Pipe},
		{"fifo", open(dir+"/fifo", os.O_RDWR), FIFO},
		{"null", open("/dev/null", os.O_RDONLY), Null},
		{"null by another name", open(dir+"/null", os.O_WRONLY), Null},
		{"zero", open("/dev/zero", os.O_RDONLY), Other},
		{"full", open("/dev/full", os.O_WRONLY), Other},
		{"directory", open(dir, os.O_RDONLY), Other},
		{"socket", socket, Socket},
		{"terminal", open("/dev/ptmx", os.O_RDWR), Terminal},
	} {
		if got := KindOf(test.f); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// The bytes that a reader has left in a pipe are known, also when it is gone.
func TestUnread(t *testing.T) {
	t.Parallel()
	r, w := testkit.StdioPipe(t)
	out := New(w, nil)
	if n := out.Unread(); n != 0 {
		t.Errorf("%d bytes in an empty pipe", n)
	}
	testkit.WriteString(t, w, "0123456789")
	testkit.ReadN(t, r, 4)
	_ = r.Close()
	if n := out.Unread(); n != 6 {
		t.Errorf("%d bytes were left unread, want 6", n)
	}
	f, err := os.Open(testkit.TempFile(t, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := New(f, nil).Unread(); n != -1 {
		t.Errorf("%d bytes of a file are unread", n)
	}
}

// A pipe is enlarged, and nothing else is touched.
func TestEnlargePipe(t *testing.T) {
	t.Parallel()
	r, _ := testkit.StdioPipe(t)
	in := New(r, nil)
	in.EnlargePipe()
	size, err := unix.FcntlInt(uintptr(in.FD()), unix.F_GETPIPE_SZ, 0)
	if limit, limitErr := os.ReadFile("/proc/sys/fs/pipe-max-size"); limitErr != nil || string(limit) != "1048576\n" {
		t.Skip("another limit for pipes")
	}
	if err != nil || size != pipeSize {
		t.Errorf("a pipe of %d bytes (%v)", size, err)
	}
}
