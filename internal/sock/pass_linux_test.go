package sock

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// A passed connection is the receiver's, after the sender has closed its own.
func TestPass(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	out, in := os.NewFile(uintptr(pair[0]), "out"), os.NewFile(uintptr(pair[1]), "in")
	defer out.Close()
	defer in.Close()
	ours, theirs := testkit.TcpPair(t)
	if !IsUnixSocket(out) {
		t.Error("a socketpair is no Unix socket")
	}
	if err := Pass(out, ours); err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	b, control := make([]byte, 9), make([]byte, 64)
	n, size, _, _, err := unix.Recvmsg(pair[1], b, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n != 1 || b[0] != 0 {
		t.Fatal(n, b, err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	f := os.NewFile(uintptr(fds[0]), "passed")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	testkit.WriteString(t, c, "hello")
	if got := testkit.ReadN(t, theirs, 5); got != "hello" {
		t.Error(got)
	}

	r, w := testkit.StdioPipe(t)
	if IsUnixSocket(r) || Pass(w, c) == nil || Pass(out, struct{ net.Conn }{c}) == nil {
		t.Error("passed over a pipe, or a wrapped connection")
	}
	tcp, err := theirs.File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	if IsUnixSocket(tcp) {
		t.Error("TCP is a Unix socket")
	}
}
