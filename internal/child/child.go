// Package child runs a command for each peer of a program: with the peer's
// socket itself as its stdin and stdout, or with pipes. A command has a process
// group of its own, which is ended when the peer is gone.
package child

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"purr/internal/sock"
)

// A Command is a program with its arguments.
type Command struct {
	Path string   // as found in PATH
	Args []string // the name first
}

// Parse returns the command in a line, as Split reads it. Its program must
// exist.
func Parse(line string) (*Command, error) {
	args, err := Split(line)
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return nil, err
	}
	return &Command{Path: path, Args: args}, nil
}

// ParseShell returns the command that runs a line in the shell; see Shell. A
// blank line is an error.
func ParseShell(line string) (*Command, error) {
	if strings.TrimSpace(line) == "" {
		return nil, errors.New("it has no command")
	}
	return Shell(line), nil
}

// Split cuts a line into the words of a command: at blanks, except within "..."
// and '...'. A backslash takes the next character as it is. Within '...' it is
// a character like others, and on Windows everywhere, because paths contain it.
// There is at least one word, and the first one is not empty.
func Split(line string) (words []string, err error) {
	var word strings.Builder
	begun, escaped, quote := false, false, rune(0)
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'' && os.PathSeparator != '\\':
			begun, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			begun, quote = true, r
		case quote == 0 && strings.ContainsRune(" \t\r\n", r):
			if begun {
				words = append(words, word.String())
				word.Reset()
			}
			begun = false
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	switch {
	case quote != 0:
		return nil, errors.New("a quote is not closed")
	case escaped:
		return nil, errors.New("nothing follows the last backslash")
	case begun:
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("it has no command")
	}
	return words, nil
}

// Env returns the variables of a command that describe its connection, under
// the names of Ncat and of netcat: NCAT_REMOTE_ADDR and the like. The address
// of a Unix socket is its path, empty without one, and the port empty; that of
// a VM socket is its CID.
func Env(local, remote net.Addr) (env []string) {
	set := func(name, value string) {
		env = append(env, "NCAT_"+name+"="+value, "NC_"+name+"="+value)
	}
	protocol := "UNIX"
	for side, a := range map[string]net.Addr{"LOCAL": local, "REMOTE": remote} {
		addr, port := "", ""
		if host, number, ok := sock.HostPort(a); ok {
			addr, port = host, strconv.Itoa(number)
			protocol = strings.ToUpper(a.Network())
		} else if vm, ok := a.(*sock.VMAddr); ok {
			addr, port, protocol = strconv.FormatUint(uint64(vm.CID), 10), strconv.FormatUint(uint64(vm.Port), 10), "VSOCK"
		} else if a != nil && a.String() != "@" { // what package net makes of no path
			addr = a.String()
		}
		set(side+"_ADDR", addr)
		set(side+"_PORT", port)
	}
	set("PROTO", protocol)
	return env
}

// A Runner runs a command any number of times at once. Any goroutine may use
// it.
type Runner struct {
	*Command
	Grace  time.Duration // between SIGTERM and SIGKILL
	Stderr *os.File      // of the command

	mu     sync.Mutex
	live   map[*Process]int // what keeps each: that it runs, and hold
	closed bool
}

// ErrClosed is the error of a Runner that is closed.
var ErrClosed = errors.New("no more commands are run")

// ErrEnded is the reason for the end of a sender of Datagrams whose command has
// ended.
var ErrEnded = errors.New("the command has ended")

// Start starts the command with env beside the environment of this process. The
// files stay the caller's, and may be closed afterwards. After Close the error
// is ErrClosed.
func (r *Runner) Start(env []string, stdin, stdout *os.File) (*Process, error) {
	cmd := exec.Command(r.Path)
	cmd.Args, cmd.Env = r.Args, append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, r.Stderr
	cmd.SysProcAttr = ownGroup()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, grace: r.Grace, done: make(chan struct{})}
	if r.live == nil {
		r.live = make(map[*Process]int)
	}
	r.live[p]++
	go func() {
		_ = cmd.Wait()
		p.status = statusOf(cmd.ProcessState)
		close(p.done)
		r.release(p)
	}()
	return p, nil
}

// release is the opposite of hold.
func (r *Runner) release(p *Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live[p]--; r.live[p] == 0 {
		delete(r.live, p)
	}
}

// Close terminates the commands that run, and waits for their ends. None is
// started any more.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed = true
	var all sync.WaitGroup
	for p := range r.live {
		all.Go(p.Terminate)
	}
	r.mu.Unlock()
	all.Wait()
}

// A Process is a command that was started.
type Process struct {
	cmd    *exec.Cmd
	grace  time.Duration
	done   chan struct{}
	status int // once done is closed
}

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ended reports whether the process has ended.
func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits for the end of the process and returns its exit status; 128+n if a
// signal n ended it. The error is the cause of ctx if that ends first.
func (p *Process) Wait(ctx context.Context) (status int, err error) {
	select {
	case <-p.done:
		return p.status, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Terminate ends the process and its group: first with SIGTERM, after the grace
// with SIGKILL. It returns when the process has ended.
func (p *Process) Terminate() {
	p.terminate()
	late := time.NewTimer(p.grace)
	defer late.Stop()
	for pause := 5 * time.Millisecond; !p.ended() || p.groupLeft(); pause = min(2*pause, 100*time.Millisecond) {
		select {
		case <-late.C:
			p.kill()
			<-p.done
			return
		case <-time.After(pause):
		}
	}
}
