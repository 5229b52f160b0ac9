package store

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// forbid runs f in a thread in which a system call fails with EPERM:
// seccomp(2).
func forbid(t *testing.T, call uint32, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // without unlocking: the thread ends with the goroutine
		filter := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
		}
		if err != nil {
			done <- err
			return
		}
		f()
	}()
	if err := <-done; err != nil {
		testkit.NotHere(t, fmt.Sprintf("seccomp: %v", err))
	}
}

// Where the file system does not permit the time, files and directories are
// stored without it.
func TestTimeLost(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(SmallFile + 1)
	var lost []string
	dir := t.TempDir()
	forbid(t, unix.SYS_UTIMENSAT, func() {
		s, err := Open(dir, Options{TimeLost: func(path string, err error) { lost = append(lost, path+": "+err.Error()) }})
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		for _, size := range []int{3, len(content)} {
			for _, s.unnamed = range []bool{true, false} {
				f, err := put(s, File{Path: "f", Size: int64(size), ModTime: time.Unix(1, 0)}, content[:size])
				if err != nil {
					t.Errorf("%d bytes: %v", size, err)
					continue
				}
				testkit.HasContent(t, filepath.Join(dir, f.Path), content[:size])
				s.options.Force = true
			}
		}
		if err := s.Mkdir("d", 0o755, time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
	})
	if len(lost) != 5 || lost[0] != "f: operation not permitted" || lost[4] != "d: operation not permitted" {
		t.Errorf("told: %q", lost)
	}
}
