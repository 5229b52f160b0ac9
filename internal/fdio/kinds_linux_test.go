package fdio

import (
	"fmt"
	"io"
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

// The null device is known by its number, and a stdin that was opened for
// writing only is as empty as it.
func TestNoInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, device := range map[string]uint64{"null": unix.Mkdev(1, 3), "zero": unix.Mkdev(1, 5)} {
		if err := unix.Mknod(dir+"/"+name, unix.S_IFCHR|0o600, int(device)); err != nil {
			testkit.NotHere(t, fmt.Sprintf("the right to make devices: %v", err))
		}
	}
	file := testkit.TempFile(t, "content")
	for _, test := range []struct {
		path  string
		flags int
		want  string // what is read; empty: it ends at once
		kind  Kind
	}{
		{dir + "/null", os.O_RDONLY, "", Null},
		{"/dev/null", os.O_WRONLY, "", Null},
		{file, os.O_WRONLY, "", Null},
		{file, os.O_RDONLY, "cont", Regular},
		{file, os.O_RDWR, "cont", Regular},
		{dir + "/zero", os.O_RDONLY, "\x00\x00\x00\x00", Other},
	} {
		f, err := os.OpenFile(test.path, test.flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		in, b := NewReader(f, nil), make([]byte, 4)
		if in.Kind() != test.kind {
			t.Errorf("%s: kind %d, want %d", test.path, in.Kind(), test.kind)
		}
		if test.kind == Null || test.kind == Regular { // others wait
			n, err := in.Read(b)
			if string(b[:n]) != test.want || test.want == "" && err != io.EOF {
				t.Errorf("%s: read %q (%v), want %q", test.path, b[:n], err, test.want)
			}
		}
		_ = f.Close()
	}
	if n, err := Ended.Read(make([]byte, 1)); n != 0 || err != io.EOF || !Ended.Ready() || Ended.Kind() != Null {
		t.Errorf("the end is not one: %d, %v", n, err)
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
		testkit.NotHere(t, "the usual limit for pipes")
	}
	if err != nil || size != pipeSize {
		t.Errorf("a pipe of %d bytes (%v)", size, err)
	}
}
