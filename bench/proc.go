package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A command is a program to be started as one end of a measurement.
type command struct {
	argv   []string
	stdin  *os.File // nil: /dev/null
	stdout *os.File // nil: /dev/null
	extra  []*os.File
	env    []string     // added to the environment
	netns  string       // name of the network namespace to start in; "": ours
	cores  *unix.CPUSet // the processors it may use; nil: all of ours
}

// A proc is a running child. It leads its own process group, so that its descendants can be ended with it.
type proc struct {
	name    string
	pid     int
	started int64         // when it was started (CLOCK_MONOTONIC, ns)
	stderr  *os.File      // an unlinked file: a pipe would keep Wait waiting for grandchildren
	done    chan struct{} // closed when the child has been waited for; the fields below are valid then
	err     error         // how it ended, as from exec.Cmd.Wait
	ended   int64         // when (CLOCK_MONOTONIC, ns)
	cpu     time.Duration // user+system time of the child and the descendants that were waited for
}

// startProc starts c. When ctx ends, the whole process group is killed.
func startProc(ctx context.Context, dir string, c command) (*proc, error) {
	stderr, err := os.CreateTemp(dir, "stderr-*")
	if err != nil {
		return nil, err
	}
	os.Remove(stderr.Name())
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Stderr = stderr
	cmd.ExtraFiles = c.extra
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Env = append(cmd.Env, c.env...)
	if c.stdin != nil {
		cmd.Stdin = c.stdin
	}
	if c.stdout != nil {
		cmd.Stdout = c.stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	started := now()
	if err := c.startIn(cmd); err != nil {
		stderr.Close()
		return nil, err
	}
	p := &proc{
		name:    filepath.Base(c.argv[0]),
		pid:     cmd.Process.Pid,
		started: started,
		stderr:  stderr,
		done:    make(chan struct{}),
	}
	go p.wait(cmd)
	return p, nil
}

// startIn starts cmd in the network namespace of c. The thread that forks goes there and back: the child
// inherits it without an `ip netns exec` whose own CPU time would be counted as the child's.
func (c command) startIn(cmd *exec.Cmd) error {
	if c.netns == "" {
		return c.startOn(cmd)
	}
	there, err := os.Open("/run/netns/" + c.netns)
	if err != nil {
		return err
	}
	defer there.Close()
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer here.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = c.startOn(cmd)
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread stays locked: nobody else may use it
	}
	runtime.UnlockOSThread()
	return err
}

// startOn starts cmd on the processors of c, which the child inherits from the thread that forks.
func (c command) startOn(cmd *exec.Cmd) error {
	if c.cores == nil {
		return cmd.Start()
	}
	runtime.LockOSThread()
	var ours unix.CPUSet
	err := errors.Join(unix.SchedGetaffinity(0, &ours), unix.SchedSetaffinity(0, c.cores))
	if err == nil {
		err = cmd.Start()
	}
	if back := unix.SchedSetaffinity(0, &ours); back != nil {
		return errors.Join(err, back) // the thread stays locked: nobody else may use it
	}
	runtime.UnlockOSThread()
	return err
}

// splitCores returns one processor for the programs under test and the others for the neutral ends; nil and nil, which
// is all for each, if there is only one.
func splitCores() (under, neutral *unix.CPUSet) {
	var ours unix.CPUSet
	if unix.SchedGetaffinity(0, &ours) != nil || ours.Count() < 2 {
		return nil, nil
	}
	first := 0
	for !ours.IsSet(first) {
		first++
	}
	ours.Clear(first)
	under = new(unix.CPUSet)
	under.Set(first)
	return under, &ours
}

// wait is the goroutine that waits for the child and then for what is left of its group.
func (p *proc) wait(cmd *exec.Cmd) {
	p.err = cmd.Wait()
	p.ended = now()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.cpu = cpuTime(usage)
	}
	// We are a subreaper: descendants that outlived the child are ours now.
	syscall.Kill(-p.pid, syscall.SIGKILL)
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		var status syscall.WaitStatus
		var usage syscall.Rusage
		pid, err := syscall.Wait4(-p.pid, &status, syscall.WNOHANG, &usage)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			break // ECHILD: nobody left
		}
		if pid > 0 {
			p.cpu += cpuTime(&usage)
			continue
		}
		time.Sleep(time.Millisecond)
	}
	close(p.done)
}

// kill ends the process group and waits until the child is gone.
func (p *proc) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// signal sends sig to the process group, unless the child has ended.
func (p *proc) signal(sig syscall.Signal) {
	select {
	case <-p.done:
	default:
		syscall.Kill(-p.pid, sig)
	}
}

// exited says whether the child has ended.
func (p *proc) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// failure words how the child ended, with the end of its stderr; nil if it ended with status 0.
func (p *proc) failure() error {
	if p.err == nil {
		return nil
	}
	if said := p.said(); said != "" {
		return fmt.Errorf("%s: %w: %s", p.name, p.err, said)
	}
	return fmt.Errorf("%s: %w", p.name, p.err)
}

// said returns the last line the child wrote to stderr, cut to what fits a table.
func (p *proc) said() string {
	const keep = 4096
	info, err := p.stderr.Stat()
	if err != nil {
		return ""
	}
	text := make([]byte, keep)
	n, err := p.stderr.ReadAt(text, max(0, info.Size()-keep))
	if err != nil && err != io.EOF {
		return ""
	}
	text = bytes.TrimSpace(text[:n])
	text = text[bytes.LastIndexByte(text, '\n')+1:]
	return fmt.Sprintf("%.120s", strings.ToValidUTF8(string(text), "?"))
}

// groupCPU returns the CPU time that the live members of the child's group have used so far, and the descendants
// that they waited for. Live threads count in ns; what has ended counts in the kernel's ticks of 10 ms.
func (p *proc) groupCPU() time.Duration {
	const tick = 10 * time.Millisecond
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var sum time.Duration
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// pid (name) state ppid pgrp ...: the name may hold anything, so count from its end.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 15 || fields[2] != strconv.Itoa(p.pid) {
			continue
		}
		for _, ticks := range fields[13:15] { // cutime, cstime
			n, _ := strconv.Atoi(ticks)
			sum += time.Duration(n) * tick
		}
		sum += threadTime(filepath.Dir(path))
	}
	return sum
}

// threadTime adds up the time (ns) that the threads of one process spent on a processor.
func threadTime(procDir string) time.Duration {
	threads, _ := filepath.Glob(procDir + "/task/*/schedstat")
	var sum time.Duration
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}

// statusKB returns a field of /proc/PID/status in KB, such as VmRSS or VmHWM; 0 if the process is gone.
//
// The peak is read here and not from rusage: ru_maxrss also holds the peak that the child had before its exec,
// when it shared this program's memory.
func statusKB(pid int, field string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

// cpuTime is the user and system time of a rusage.
func cpuTime(u *syscall.Rusage) time.Duration {
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// now reads CLOCK_MONOTONIC (ns): the one clock that all processes here share.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // cannot happen on Linux
	}
	return t.Nano()
}
