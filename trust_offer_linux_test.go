package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"purr/internal/push"
	"purr/internal/testkit"
)

// A link that takes the place of an offered file while the sender waits leads
// to nothing.
func TestPushReplacedFile(t *testing.T) {
	t.Parallel()
	x := newTransfer(t, push.Sender, "file")
	x.send = []string{"-k"}
	x.file("file", "offered")
	x.file("secret", "secret")
	address := x.listen()
	path := filepath.Join(x.from, "file")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("secret", path); err != nil {
		t.Fatal(err)
	}
	x.end(push.Receiver, address...).ends(4)
	x.leaves()
	x.sender.waitErr(regexp.MustCompile(`file: replaced by another file since the start`))
}

// What is sent is the file that was there at the start: another that takes its
// name while it is read is not sent in its place.
func TestPushReplacedWhileRead(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x, path := changing(t, listening)
		x.start()
		x.relay.atPause(func() {
			testkit.WriteFile(t, path+".new", "new")
			if err := os.Rename(path+".new", path); err != nil {
				t.Error(err)
			}
		})
		x.ends(4)
		said(x.sender, `^purr: s\.bin: replaced by another file since the start: not (stored|sent)$`)
		said(x.receiver, `^purr: "s\.bin".*the sender gave up: replaced by another file since the start`)
		x.leaves()
	})
}

// Files of the system's have sizes that are not those of their content: nothing
// of them is reported as verified.
func TestPushWrongSizes(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/sys/class/net/lo/mtu", "--live /proc/version"} {
		bothWays(t, func(t *testing.T, listening push.Role) {
			options := strings.Fields(path)
			x := newTransfer(t, listening, options[len(options)-1])
			x.send = options[:len(options)-1]
			x.start().ends(4)
			x.leaves()
			said(x.sender, `^purr: \w+: holds (more|less) than its size says: .*: not (stored|sent)$`)
		})
	}
}

// 400 operands fit into 256 descriptors.
func TestPushManyOperands(t *testing.T) {
	t.Parallel()
	from, into := t.TempDir(), t.TempDir()
	var names []string
	for i := range 400 {
		name := fmt.Sprint("f", i)
		if i%2 == 0 {
			testkit.WriteFile(t, filepath.Join(from, "d"+name, "in"), name)
			name = "d" + name
		} else {
			testkit.WriteFile(t, filepath.Join(from, name), name)
		}
		names = append(names, name)
	}
	receiver := startPurr(t, opts{}, "-v", "--pull", "-l", "127.0.0.1", "0", into)
	host, port, _ := strings.Cut(receiver.addr(), ":")
	sender := shell(t, opts{dir: from}, fmt.Sprintf("ulimit -n 256; exec purr --push %s %s %s", host, port, strings.Join(names, " ")))
	sender.ends(0)
	receiver.ends(0)
	sameTree(t, into, from)
}
