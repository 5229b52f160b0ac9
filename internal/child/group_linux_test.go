package child

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// A process that has ended, and that its parent does not wait for, is not left
// of its group: containers often have no process that waits for orphans.
func TestZombiesAreNotLeft(t *testing.T) {
	t.Parallel()
	leader := exec.Command("sleep", "1000")
	leader.SysProcAttr = ownGroup()
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	group := leader.Process.Pid
	defer leader.Wait()
	member := exec.Command("sleep", "1000")
	member.SysProcAttr = ownGroup()
	member.SysProcAttr.Pgid = group
	if err := member.Start(); err != nil {
		t.Fatal(err)
	}
	defer member.Wait()
	if onlyZombies(group) {
		t.Error("two processes run")
	}
	_ = member.Process.Kill()
	testkit.Eventually(t, "one has ended", func() bool {
		err := unix.Waitid(unix.P_PID, member.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		return err == nil && !onlyZombies(group)
	})
	_ = leader.Process.Kill()
	testkit.Eventually(t, "both have ended", func() bool { return onlyZombies(group) })
	if err := unix.Kill(-group, 0); err != nil {
		t.Errorf("the group is gone: %v", err)
	}
}

// The end of a command that leaves another process is seen although nothing
// waits for orphans; where they become ours, as process 1 has them, they are
// waited for.
func TestOrphansAreReaped(t *testing.T) {
	if os.Getenv("PURR_TEST_SUBREAPER") == "" {
		test := exec.Command("/proc/self/exe", "-test.run", "^TestOrphansAreReaped$")
		test.Env = append(os.Environ(), "PURR_TEST_SUBREAPER=1")
		if out, err := test.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	r := &Runner{Command: Shell("sleep 1000 & echo; sleep 1000"), Grace: testkit.Patience, Stderr: os.Stderr}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer stdout.Close()
	p, err := r.Start(nil, nil, stdout)
	if err != nil {
		t.Fatal(err)
	}
	testkit.ReadN(t, out, 1)
	begun := time.Now()
	p.Terminate()
	if took := time.Since(begun); took > testkit.Patience/2 {
		t.Errorf("it took %v", took)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("process %d is left (%v)", pid, err)
	}
}
