package testkit

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// nsVariable names the test that a re-executed test binary runs in namespaces.
const nsVariable = "PURR_TEST_NAMESPACE"

// InNamespaces runs the calling test in network, mount and process namespaces
// of its own, so that it can lay out networks and start servers on any port,
// and nothing of it outlives the test. It returns true inside; outside it has
// passed on the result and the test must return. Where namespaces are not to be
// had the test is skipped.
func InNamespaces(t *testing.T) (inside bool) {
	t.Helper()
	if os.Getenv(nsVariable) == t.Name() {
		for _, c := range []string{"mount --make-rprivate /", "mount -t tmpfs tmpfs /run", "mount -t proc proc /proc", "ip link set lo up"} {
			MustRun(t, c)
		}
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		Missing(t, "ip (Debian package iproute2)")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), nsVariable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		Missing(t, "root or user namespaces: "+err.Error())
	}
	err := cmd.Wait()
	if err != nil {
		t.Errorf("in namespaces: %v\n%s", err, out.String())
	} else {
		t.Logf("in namespaces:\n%s", out.String())
	}
	return false
}

// MustRun runs a command line without quoting.
func MustRun(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// MustRunAll runs the lines of a script, without quoting. Afterwards it waits
// for the links that are up: until the kernel has learned, in the background,
// that the other end is up as well, it drops what is sent over a link and has
// no IPv6 route to a group.
func MustRunAll(t *testing.T, script string) {
	t.Helper()
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line != "" {
			MustRun(t, line)
		}
	}
	Eventually(t, "all links run", func() bool {
		links, err := net.Interfaces()
		return err == nil && !slices.ContainsFunc(links, func(i net.Interface) bool {
			return i.Flags&net.FlagUp != 0 && i.Flags&net.FlagRunning == 0
		})
	})
	MustRun(t, "ip link set lo up") // waits for the lock under which that is done
}
