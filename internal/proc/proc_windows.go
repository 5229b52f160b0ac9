package proc

import (
	"os"
	"os/exec"
)

// CheckInherited returns ErrUnsupported: Windows inherits handles, not
// descriptors.
func CheckInherited(int) error { return ErrUnsupported }

// Exec runs another program in place of this one, as far as Windows can: it has
// the descriptors and the console, and its status is that of the error, an
// *exec.ExitError.
func Exec(path string, args []string, stdin, stdout, stderr *os.File) error {
	cmd := exec.Command(path, args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	return cmd.Run()
}

// statusSignals returns nil: there is no such signal here.
func statusSignals() []os.Signal { return nil }
