package child

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"purr/internal/datagram"
)

// Shell returns the command that runs a line of the command interpreter.
func Shell(line string) *Command {
	return &Command{Path: "cmd.exe", Args: []string{"cmd.exe", "/c", line}}
}

// ownGroup returns nil: Windows has no process groups that end together.
func ownGroup() *syscall.SysProcAttr { return nil }

func statusOf(state *os.ProcessState) int { return state.ExitCode() }

// terminate kills the process at once: Windows has no SIGTERM.
func (p *Process) terminate() { _ = p.cmd.Process.Kill() }

func (p *Process) kill() { _ = p.cmd.Process.Kill() }

// groupLeft returns false: the process has no group.
func (p *Process) groupLeft() bool { return false }

// Lends returns false: a socket of Windows is no standard handle.
func Lends(net.Conn) bool { return false }

// Serve returns ErrUnsupported: a socket of Windows is no standard handle.
func (r *Runner) Serve(context.Context, net.Conn, []string) (status int, err error) {
	return 0, errors.ErrUnsupported
}

// HasDatagrams is false: Windows has no Unix datagram sockets.
const HasDatagrams = false

// Datagrams runs no command.
type Datagrams struct{}

// NewDatagrams returns nil.
func NewDatagrams(*Runner, int, net.Addr, func(peer string, status int)) *Datagrams { return nil }

// Dial returns ErrUnsupported.
func (d *Datagrams) Dial(context.Context, *datagram.Peer) (datagram.Conn, error) {
	return nil, errors.ErrUnsupported
}
