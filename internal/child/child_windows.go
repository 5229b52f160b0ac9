package child

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// Shell returns the command that runs a line of the command interpreter.
func Shell(line string) *Command {
	return &Command{Path: "cmd.exe", Args: []string{"cmd.exe", "/c", line}}
}

func ownGroup() *syscall.SysProcAttr { return nil }

func statusOf(state *os.ProcessState) int { return state.ExitCode() }

func (p *Process) terminate() { _ = p.cmd.Process.Kill() }

func (p *Process) kill() { _ = p.cmd.Process.Kill() }

func (p *Process) groupLeft() bool { return false }

// Lends returns false: a socket of Windows is no standard handle.
func Lends(net.Conn) bool { return false }

// Serve fails.
func (r *Runner) Serve(context.Context, net.Conn, []string) (status int, err error) {
	return 0, errors.ErrUnsupported
}
