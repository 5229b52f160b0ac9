//go:build unix

package proc

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// TestMain is the program that the tests run when its name is a question.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case "exec":
		err := Exec("/bin/sh", []string{"sh", "-c", "echo $0 $1; exit 7", "a", "b"}, os.Stdin, os.Stdout, os.Stderr)
		panic(err)
	case "descriptors":
		for fd := 3; fd < 6; fd++ {
			switch err := CheckInherited(fd); err {
			case nil:
				os.Stdout.WriteString("fine ")
			case ErrNotInherited:
				os.Stdout.WriteString("none ")
			case ErrReadOnly:
				os.Stdout.WriteString("read-only ")
			default:
				panic(err)
			}
		}
		if err := WriteReady(3, "ready\n"); err != nil {
			panic(err)
		}
		if CheckInherited(3) != ErrNotInherited {
			panic("it was not closed")
		}
		return
	}
	os.Exit(m.Run())
}

// self returns a command that runs this test binary under another name.
func self(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &exec.Cmd{Path: path, Args: []string{name}, Stderr: os.Stderr}
}

func TestExec(t *testing.T) {
	t.Parallel()
	out, err := self(t, "exec").Output()
	if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.ExitCode() != 7 || string(out) != "a b\n" {
		t.Errorf("%q, %v", out, err)
	}
	if err := Exec("/nonexistent", []string{"x"}, nil, nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// Inherited descriptors are distinguished from those of the process, and from
// ones that cannot be written to.
func TestInherited(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := self(t, "descriptors")
	c.ExtraFiles = []*os.File{w, r}
	var out bytes.Buffer
	c.Stdout = &out
	err = c.Run()
	w.Close()
	if err != nil || !strings.HasPrefix(out.String(), "fine read-only none ") {
		t.Fatalf("%q, %v", out.String(), err)
	}
	text := make([]byte, 20)
	if n, err := r.Read(text); string(text[:n]) != "ready\n" {
		t.Errorf("%q, %v", text[:n], err)
	}
	if err := CheckInherited(int(r.Fd())); err != ErrNotInherited {
		t.Errorf("an own descriptor: %v", err)
	}
}

// The signals that ask for the status can be ignored, caught and reset.
func TestStatusSignals(t *testing.T) {
	IgnoreStatus()
	if !signal.Ignored(syscall.SIGUSR1) {
		t.Error("SIGUSR1 is not ignored")
	}
	reported := make(chan struct{})
	OnStatus(t.Context(), func() { reported <- struct{}{} })
	for range 2 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		<-reported
	}
	ResetStatus()
	if signal.Ignored(syscall.SIGUSR1) {
		t.Error("SIGUSR1 is still ignored")
	}
}

// The first signal stops the program, and its exit has the cause.
func TestOnEnd(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	signals, ended := make(chan syscall.Signal, 2), make(chan error)
	OnEnd(ctx, func(s syscall.Signal) { signals <- s; stop(errors.ErrUnsupported) }, func(cause error) { ended <- cause })
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if cause := <-ended; cause != errors.ErrUnsupported || len(signals) != 1 || <-signals != syscall.SIGHUP {
		t.Errorf("%v", cause)
	}
}
