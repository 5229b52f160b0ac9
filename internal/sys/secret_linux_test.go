package sys

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// A process with a secret cannot be dumped, and still opens its own descriptors
// by name.
func TestHideMemory(t *testing.T) {
	const variable = "PURR_TEST_HIDES"
	if os.Getenv(variable) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestHideMemory$", "-test.v")
		cmd.Env = append(os.Environ(), variable+"=1")
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, said)
		}
		return
	}
	if err := HideMemory(); err != nil {
		t.Fatal(err)
	}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core.Cur != 0 || core.Max != 0 {
		t.Errorf("core size %+v, %v", core, err)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("dumpable %d, %v", dumpable, err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", os.Stdin.Fd()))
	if err != nil {
		t.Error(err)
	} else {
		_ = f.Close()
	}
}
