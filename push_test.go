//go:build linux

package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"purr/internal/push"
	"purr/internal/relpath"
	"purr/internal/testkit"
)

// A transfer is a --push and a --pull, each a process of its own.
type transfer struct {
	t         testing.TB
	listening push.Role // the end that waits for the other to dial
	from      string    // the directory in which the sender runs
	paths     []string  // the operands of the sender
	into      string    // where the receiver stores
	send      []string  // more options of the sender
	take      []string  // more options of the receiver
	unix      bool
	env       []string // of both ends
	// Each end's bytes are harmed on their way, if there is any harm.
	fromSender, fromReceiver harm
	relay                    *relay

	sender, receiver *process
}

// newTransfer prepares to push the paths, which are in a directory of their
// own.
func newTransfer(t testing.TB, listening push.Role, paths ...string) *transfer {
	t.Helper()
	return &transfer{t: t, listening: listening, from: t.TempDir(), paths: paths, into: t.TempDir()}
}

// bothWays runs a test with either end listening.
func bothWays(t *testing.T, test func(t *testing.T, listening push.Role)) {
	t.Helper()
	for _, listening := range []push.Role{push.Receiver, push.Sender} {
		t.Run(string(listening)+" listens", func(t *testing.T) {
			t.Parallel()
			test(t, listening)
		})
	}
}

// file makes a file for the sender.
func (x *transfer) file(name, content string) {
	x.t.Helper()
	testkit.WriteFile(x.t, filepath.Join(x.from, name), content)
}

// listen starts the end that waits, and returns the operands to dial.
func (x *transfer) listen() []string {
	x.t.Helper()
	address := []string{"127.0.0.1", "0"}
	path := filepath.Join(testkit.SocketDir(x.t), "s")
	if x.unix {
		address = []string{"-U", path}
	}
	p := x.end(x.listening, append([]string{"-v", "-l"}, address...)...)
	if x.unix {
		p.waitErr(boundOn)
		return address
	}
	host, port, _ := net.SplitHostPort(p.addr())
	if x.fromSender.kind == harmNone && x.fromReceiver.kind == harmNone {
		return []string{host, port}
	}
	dialer, listener := x.fromSender, x.fromReceiver
	if x.listening == push.Sender {
		dialer, listener = listener, dialer
	}
	x.relay = newRelay(x.t, p.addr(), dialer, listener)
	return x.relay.addr()
}

// end starts one end with the given address.
func (x *transfer) end(as push.Role, address ...string) *process {
	x.t.Helper()
	if as == push.Sender {
		args := append(append([]string{"--push"}, x.send...), address...)
		x.sender = startPurr(x.t, opts{dir: x.from, env: x.env}, append(args, x.paths...)...)
		return x.sender
	}
	args := append(append([]string{"--pull"}, x.take...), address...)
	x.receiver = startPurr(x.t, opts{env: x.env}, append(args, x.into)...)
	return x.receiver
}

// start starts both ends.
func (x *transfer) start() *transfer {
	x.t.Helper()
	x.t.Cleanup(func() {
		if x.t.Failed() {
			x.t.Logf("sender: %s\nreceiver: %s", testkit.Brief(x.sender.err.String()), testkit.Brief(x.receiver.err.String()))
		}
	})
	address := x.listen()
	x.end(x.listening.Other(), address...)
	return x
}

// relayed starts both ends, the dialler with more options, with a relay between
// them that tell configures.
func (x *transfer) relayed(tell func(*relay), options ...string) (listener, dialer *process) {
	x.t.Helper()
	address := x.listen()
	x.relay = newRelay(x.t, net.JoinHostPort(address[0], address[1]), harm{}, harm{})
	tell(x.relay)
	dialer = x.end(x.listening.Other(), append(options, x.relay.addr()...)...)
	return x.listener(), dialer
}

// listener is the end that listens.
func (x *transfer) listener() *process {
	if x.listening == push.Sender {
		return x.sender
	}
	return x.receiver
}

// ends waits for both ends, which exit with the same status and print nothing.
func (x *transfer) ends(status int) *transfer {
	x.t.Helper()
	for _, p := range []*process{x.sender, x.receiver} {
		p.ends(status)
		p.printed("")
	}
	return x
}

// said checks one end's messages against a pattern.
func said(p *process, pattern string) {
	p.t.Helper()
	p.status()
	if !regexp.MustCompile(`(?m)` + pattern).MatchString(p.err.String()) {
		p.t.Errorf("%s: said nothing like %q%s", p.name, pattern, p.heard())
	}
}

// receives checks the content of a file at the receiver.
func (x *transfer) receives(name, content string) {
	x.t.Helper()
	hasContent(x.t, filepath.Join(x.into, name), content)
}

// leaves checks which names are in the receiver's directory; "" for nothing,
// and "part" for a partial file.
func (x *transfer) leaves(names ...string) {
	x.t.Helper()
	var found []string
	err := filepath.WalkDir(x.into, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != x.into {
			name, _ := filepath.Rel(x.into, path)
			if strings.HasPrefix(d.Name(), relpath.PartialPrefix) {
				name = "part"
			}
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		x.t.Error(err)
	}
	if fmt.Sprintf("%q", found) != fmt.Sprintf("%q", names) {
		x.t.Errorf("left in the receiver's directory: %q, want %q", found, names)
	}
}

// arrives waits until a partial file at the receiver holds so many bytes.
func (x *transfer) arrives(bytes int64) {
	x.t.Helper()
	testkit.Eventually(x.t, fmt.Sprintf("%d bytes in a partial file", bytes), func() bool {
		for _, path := range x.partials() {
			if info, err := os.Stat(path); err == nil && info.Size() >= bytes {
				return true
			}
		}
		return false
	})
}

func (x *transfer) partials() []string {
	found, _ := filepath.Glob(filepath.Join(x.into, relpath.PartialPrefix+"*"))
	return found
}

// short is the beginning of a content's digest, as messages have it.
func short(content string) string {
	s := sha256.Sum256([]byte(content))
	return fmt.Sprintf("%x", s[:8])
}
