package proc

import (
	"os"
	"os/exec"
)

// CheckInherited returns ErrUnsupported: Windows inherits handles, not
// descriptors.
func CheckInherited(int) error { return ErrUnsupported }

// Exec runs a program with the given files and waits for its end: Windows
// cannot replace the process by it. The error is nil if the program succeeds,
// an *exec.ExitError with its exit status if it fails, and else the reason why
// it was not run.
func Exec(path string, args []string, stdin, stdout, stderr *os.File) error {
	cmd := exec.Command(path, args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	return cmd.Run()
}

// statusSignals returns nil: there is no such signal here.
func statusSignals() []os.Signal { return nil }
