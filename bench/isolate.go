package main

import (
	"context"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolatedEnv says that this program has started itself again in a network namespace of its own, and holds its
// scratch directory.
const isolatedEnv = "PURR_BENCH_ISOLATED"

// isolate starts this program again in a network namespace of its own, if it may. There no other program takes the
// port that was free a moment ago, and nobody who scans ports is served by a listener that serves once.
// It returns if that was not possible.
func isolate(ctx context.Context, dir string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	host, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return
	}
	defer host.Close()
	if unix.Unshare(unix.CLONE_NEWNET) != nil {
		return
	}
	if self, err := os.Executable(); err == nil && output(ctx, "ip", "link", "set", "lo", "up") == nil {
		// Of the threads only this one survives the exec, and it keeps its namespace.
		syscall.Exec(self, os.Args, append(os.Environ(), isolatedEnv+"="+dir))
	}
	if unix.Setns(int(host.Fd()), unix.CLONE_NEWNET) != nil {
		runtime.LockOSThread() // once more than it is unlocked: nobody else gets this thread
	}
}
