package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// HideMemory keeps a secret in memory from other programs of the same user: no
// core is dumped (RLIMIT_CORE in getrlimit(2)), and ptrace(2) and
// /proc/PID/mem are denied (PR_SET_DUMPABLE in prctl(2)). A program that this
// process executes inherits the first alone.
func HideMemory() error {
	return errors.Join(
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0),
	)
}
