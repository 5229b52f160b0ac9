package copier

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// refuseVariable has the error number that splice(2) returns in a re-executed
// test.
const refuseVariable = "PURR_TEST_REFUSE_SPLICE"

// Where the system refuses splice(2), as system call filters and old kernels
// do, the bytes are copied through a buffer, and all of them.
func TestRefused(t *testing.T) {
	if text := os.Getenv(refuseVariable); text != "" {
		errno, _ := strconv.Atoi(text)
		refuseSplice(t, errno)
		checkRefused(t)
		return
	}
	for _, errno := range []syscall.Errno{unix.ENOSYS, unix.EPERM, unix.EINVAL, unix.EOPNOTSUPP} {
		t.Run(errno.Error(), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestRefused$", "-test.timeout=1m")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", refuseVariable, errno))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// refuseSplice makes splice(2) fail in all threads of this process: seccomp(2).
func refuseSplice(t *testing.T, errno int) {
	t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_SPLICE},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	_, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if failed != 0 {
		testkit.NotHere(t, "seccomp: "+failed.Error())
	}
	if _, err := splice(-1, -1, 1); err != syscall.Errno(errno) {
		t.Fatalf("splice returns %v", err)
	}
}

// checkRefused copies between each pair that is spliced elsewhere.
func checkRefused(t *testing.T) {
	content := testkit.Noise(3<<20 + 4321)
	for _, test := range []struct{ src, dst string }{
		{"tcp", "pipe out"}, {"unix", "pipe out"}, {"pipe in", "tcp"}, {"pipe in", "unix"}, {"pipe in", "limited tcp"}, {"tcp", "unix"}, {"unix", "limited tcp"},
	} {
		t.Run(test.src+" to "+test.dst, func(t *testing.T) {
			i := newInterrupt(t)
			src, dst := newEnd(t, test.src, "", i), newEnd(t, test.dst, "", i)
			go func() { _, _ = io.WriteString(src.other, content); src.close() }()
			var kinds []string
			TestHook = func(kind string) { kinds = append(kinds, kind) }
			defer func() { TestHook = nil }()
			c := New(dst.used.(io.Writer), src.used.(io.Reader))
			defer c.Close()
			moved, result := 0, make(chan error, 1)
			go func() { result <- Run(c, MaxSlice, func(n int) error { moved += n; return nil }) }()
			if got := dst.all(len(content)); !bytes.Equal(got, []byte(content)) {
				t.Error("other bytes arrived")
			}
			if err := <-result; err != nil || moved != len(content) {
				t.Errorf("%d of %d bytes: %v", moved, len(content), err)
			}
			dst.checkLimit(t, moved)
			if fmt.Sprint(kinds) != "[splice buffer]" {
				t.Errorf("copied by %q", kinds)
			}
			if c.Blocked() {
				t.Error("blocked after the end")
			}
		})
	}
}
