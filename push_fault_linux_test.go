package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/push"
	"purr/internal/testkit"
)

// The faults of a push or pull: each end's message and status, and the files on
// the receiver's disk.

// eightMB is the file of most of these tests.
func eightMB() string { return testkit.Noise(8_000_000) }

// midway prepares a transfer of one file that stops somewhere in its middle, as
// if the network were gone.
func midway(t testing.TB, listening push.Role) *transfer {
	x := newTransfer(t, listening, "s.bin")
	x.file("s.bin", eightMB())
	x.fromSender = harm{kind: harmStall, at: 3_000_000}
	return x
}

// again runs a transfer once more, without harm, and checks that it goes on
// from what there is.
func (x *transfer) again() {
	x.t.Helper()
	x.fromSender, x.fromReceiver = harm{}, harm{}
	x.start().ends(0)
	said(x.sender, `^purr: s\.bin: resuming at [1-9][0-9]{6} of 8000000 bytes$`)
	x.leaves("s.bin")
	x.receives("s.bin", eightMB())
}

const regexpGone = `the other end closed the connection`

const regexpKept = `"s\.bin": transfer cut: %s; [1-9][0-9]{6} of 8000000 bytes kept in \S+/\.purr-part-[0-9a-f]{16} for a resume$`

func TestPushNoFault(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "s.bin")
		x.file("s.bin", eightMB())
		x.start().ends(0)
		said(x.sender, `^purr: s\.bin: 8000000 bytes stored and verified, sha256 `+short(eightMB())+`, \S+ .iB/s$`)
		said(x.receiver, `^purr: stored "s\.bin": 8000000 bytes, sha256 `+short(eightMB())+`, \S+ .iB/s$`)
		x.leaves("s.bin")
		x.receives("s.bin", eightMB())
	})
}

func TestPushSenderKilled(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := midway(t, listening).start()
		x.arrives(2 << 20)
		x.sender.kill()
		x.relay.end(false)
		x.receiver.ends(3)
		said(x.receiver, fmt.Sprintf(regexpKept, regexpGone))
		x.leaves("part")
		x.again()
	})
}

func TestPushReceiverKilled(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := midway(t, listening).start()
		x.arrives(2 << 20)
		x.receiver.kill()
		x.relay.end(false)
		x.sender.ends(3)
		said(x.sender, `: not confirmed: `+regexpGone)
		said(x.sender, `^purr: s\.bin: not confirmed$`)
		x.leaves("part")
		x.again()
	})
}

// A connection that ends in the middle, in each way.
func TestPushCut(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]harmKind{"in order": harmFIN, "reset": harmRST} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x := midway(t, listening)
				if kind == harmFIN {
					x.fromSender.kind = kind
				}
				x.start()
				if kind == harmRST { // unread bytes are lost at the receiver
					x.arrives(2 << 20)
					x.relay.end(true)
				}
				x.ends(3)
				said(x.receiver, fmt.Sprintf(regexpKept, regexpGone))
				said(x.sender, `: not confirmed: `+regexpGone+`$`)
				x.leaves("part")
				x.again()
			})
		})
	}
}

// The event of a cut file reports the kept part, and its path.
func TestPushCutEvent(t *testing.T) {
	t.Parallel()
	x := midway(t, push.Sender)
	x.fromSender.kind = harmFIN
	x.take = []string{"--json"}
	x.start().ends(3)
	f := parseEvents(t, x.receiver.err.String())["file"]
	partials := x.partials()
	if len(partials) != 1 {
		t.Fatalf("partial files: %q", partials)
	}
	info, err := os.Stat(partials[0])
	if err != nil {
		t.Fatal(err)
	}
	if partial, _ := f["partial"].(string); f["status"] != "cut" || f["path"] != "s.bin" || f["kept"] != float64(info.Size()) || filepath.Base(partial) != filepath.Base(partials[0]) {
		t.Errorf("%v, and there are %d bytes in %s", f, info.Size(), partials[0])
	}
}

// If the network stalls without an error, both ends time out.
func TestPushStalled(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]harmKind{"both ways": harmStall, "one way": harmHalf} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x := midway(t, listening)
				x.fromSender.kind = kind
				x.send = []string{"--idle-timeout", "2"}
				x.take = x.send
				x.start().ends(3)
				for _, p := range []*process{x.sender, x.receiver} {
					if p.took < 1800*time.Millisecond {
						t.Errorf("%s: gave up after %v%s", p.name, p.took, p.heard())
					}
				}
				how := "(lost contact for 2s|nothing heard for 2s|the other end closed the connection)"
				if kind == harmHalf { // bytes may have arrived a moment before the end
					how = strings.Replace(how, " for 2s", "( for 2s)?", 1)
				}
				said(x.receiver, fmt.Sprintf(regexpKept, how))
				said(x.sender, `: not confirmed: `+how+`$`)
				x.leaves("part")
				x.again()
			})
		})
	}
}

// A transfer that is cut with --no-resume, or below a megabyte, leaves nothing.
func TestPushCutLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]int{"--no-resume": 3_000_000, "--force": 500_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x := midway(t, listening)
				x.fromSender = harm{kind: harmRST, at: at}
				x.take = []string{name}
				x.start().ends(3)
				said(x.receiver, `"s\.bin": transfer cut: the other end closed the connection; nothing stored$`)
				x.leaves()
			})
		})
	}
}

// The ways in which a file can change while it is sent.
var changes = map[string]func(path string) error{
	"grows": func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = f.WriteString("more")
			_ = f.Close()
		}
		return err
	},
	"shrinks": func(path string) error {
		info, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, info.Size()-(1<<20))
		}
		return err
	},
	"is rewritten": func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt([]byte("other"), 16<<20)
			_ = f.Close()
		}
		return err
	},
}

// changing prepares a transfer of a file that is paused in the middle of it, at
// 1 MiB: what then is under way, in the buffers of the sockets, is less than
// the rest.
func changing(t testing.TB, listening push.Role) (x *transfer, path string) {
	x = newTransfer(t, listening, "s.bin")
	content := []byte(testkit.Noise(20 << 20))
	mark := strings.Repeat("HERE", 4)
	copy(content[1<<20:], mark)
	x.file("s.bin", string(content))
	x.fromSender = harm{kind: harmPause, mark: mark[:8]}
	return x, filepath.Join(x.from, "s.bin")
}

// A file that is written to while it is sent is sent once more, and given up
// if that happens again.
func TestPushChangingFile(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x, path := changing(t, listening)
				x.start()
				for range 2 {
					x.relay.atPause(func() {
						if err := change(path); err != nil {
							t.Error(err)
						}
					})
				}
				x.ends(4)
				said(x.sender, `^purr: s\.bin: changed while being read \(\d+ bytes, now \d+\): not (stored|sent)$`)
				said(x.receiver, `^purr: "s\.bin".*the sender gave up: changed while being read \(\d+ bytes, now \d+\)`)
				x.leaves()
			})
		})
	}
}

func TestPushChangedFile(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x, path := changing(t, listening)
				x.start()
				x.relay.atPause(func() {
					if err := change(path); err != nil {
						t.Error(err)
					}
				})
				x.relay.atPause(func() {})
				x.ends(0)
				x.leaves("s.bin")
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				x.receives("s.bin", string(b))
			})
		})
	}
}

// With --live, the initial content of a growing file is sent.
func TestPushLive(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x, path := changing(t, listening)
		x.send = []string{"--live"}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		x.start()
		x.relay.atPause(func() {
			if err := changes["grows"](path); err != nil {
				t.Error(err)
			}
		})
		x.ends(0)
		x.receives("s.bin", string(before))
	})
}

func TestPushNameExists(t *testing.T) {
	t.Parallel()
	for _, size := range []int{5, 8_000_000} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x := newTransfer(t, listening, "s.bin")
				x.file("s.bin", testkit.Noise(size))
				testkit.WriteFile(t, filepath.Join(x.into, "s.bin"), "old")
				x.start().ends(4)
				said(x.sender, `^purr: s\.bin: refused by the other end: exists$`)
				said(x.receiver, `^purr: "s\.bin" refused: exists$`)
				x.leaves("s.bin")
				x.receives("s.bin", "old")
			})
		})
	}
}

// If a file is removed while it is sent, both ends print it.
func TestPushRemoved(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x, path := changing(t, listening)
		x.start()
		x.relay.atPause(func() {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		})
		x.ends(4)
		said(x.sender, `^purr: s\.bin: no such file or directory: not stored$`)
		said(x.receiver, `^purr: "s\.bin": the sender gave up: no such file or directory; nothing stored$`)
		x.leaves()
	})
}

// A name that is a symbolic link is never written through, and never replaced.
func TestPushOverLink(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		t.Run(fmt.Sprintf("force %v", force), func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x := newTransfer(t, listening, "s.bin", "d")
				x.file("s.bin", eightMB())
				x.file("d/f", "inside")
				victim := testkit.TempFile(t, "victim")
				outside := filepath.Dir(victim)
				for name, target := range map[string]string{"s.bin": victim, "d": outside} {
					if err := os.Symlink(target, filepath.Join(x.into, name)); err != nil {
						t.Fatal(err)
					}
				}
				why := "exists"
				if force {
					x.take = []string{"--force"}
					why = "exists, as a symbolic link: --force replaces files only"
				}
				x.start().ends(4)
				said(x.sender, `^purr: s\.bin: refused by the other end: `+why+`$`)
				said(x.receiver, `^purr: "s\.bin" refused: `+why+`$`)
				said(x.receiver, `^purr: "d/f" refused: `)
				hasContent(t, victim, "victim")
				testkit.Absent(t, filepath.Join(outside, "f"))
				if target, err := os.Readlink(filepath.Join(x.into, "s.bin")); target != victim {
					t.Errorf("the link leads to %q (%v)", target, err)
				}
			})
		})
	}
}

// A bit that the network flips is found, in a large file and in a small one.
func TestPushBitFlipped(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 8_000_000} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x := newTransfer(t, listening, "s.bin")
				content := testkit.Noise(size/2) + "HEREHEREHEREHERE" + testkit.Noise(size/2)
				x.file("s.bin", content)
				x.fromSender = harm{kind: harmFlip, mark: "HEREHERE"}
				x.start().ends(5)
				said(x.sender, `^purr: s\.bin: digest mismatch: damaged on the way$`)
				said(x.receiver, `^purr: "s\.bin".*: digest mismatch: damaged on the way$`)
				x.leaves()
			})
		})
	}
}

// If the sender does not receive a result, the stored file remains, and the
// next run has nothing to do.
func TestPushReceiptLost(t *testing.T) {
	t.Parallel()
	for name, mark := range map[string]string{"of the file": `"result"`, "of all": `{"end"`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x := newTransfer(t, listening, "s.bin")
				x.file("s.bin", testkit.Noise(1000))
				x.fromReceiver = harm{kind: harmRST, mark: mark}
				x.start()
				x.sender.ends(3)
				// The receiver may have known before.
				if s := x.receiver.status(); s != 0 && s != 3 {
					t.Errorf("status %d%s", s, x.receiver.heard())
				}
				said(x.sender, `: not confirmed: the other end closed the connection$`)
				x.leaves("s.bin")
				x.receives("s.bin", testkit.Noise(1000))
				x.fromReceiver = harm{}
				x.start().ends(0)
				for _, p := range []*process{x.sender, x.receiver} {
					said(p, `s\.bin"?: 1000 bytes already there, identical, sha256 `+short(testkit.Noise(1000))+`$`)
				}
			})
		})
	}
}

func TestPushSameRole(t *testing.T) {
	t.Parallel()
	for _, as := range []push.Role{push.Sender, push.Receiver} {
		t.Run(string(as), func(t *testing.T) {
			t.Parallel()
			x := newTransfer(t, as, "s.bin")
			x.file("s.bin", "content")
			address := x.listen()
			waiting := map[push.Role]**process{push.Sender: &x.sender, push.Receiver: &x.receiver}[as]
			listener := *waiting
			dialer := x.end(as, address...)
			for _, p := range []*process{listener, dialer} {
				p.ends(6)
				said(p, `is a `+string(as)+`, too: one end says --push, the other --pull$`)
				p.printed("")
			}
			x.leaves()
		})
	}
}

// An interrupted end notifies the other one in time.
func TestPushInterrupted(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := midway(t, listening).start()
		x.arrives(2 << 20)
		x.receiver.signal(syscall.SIGINT)
		x.receiver.ends(130)
		x.leaves("part")
		x.relay.end(false)
		x.sender.ends(3)
		said(x.sender, `^purr: s\.bin: not confirmed$`)

		x = midway(t, listening).start()
		x.arrives(2 << 20)
		x.sender.signal(syscall.SIGINT)
		x.sender.ends(130)
		said(x.sender, `^purr: s\.bin: not confirmed$`)
		x.relay.end(false)
		x.receiver.ends(3)
		x.leaves("part")
	})
}

// With too few descriptors a push or pull does not begin; with the fewest that
// it takes, all of it works.
func TestPushFewDescriptors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range []string{"--pull -l 127.0.0.1 0 .", "--push 127.0.0.1 1 ."} {
		p := shell(t, opts{dir: dir}, fmt.Sprintf("ulimit -n %d; exec purr %s", leastDescriptors-1, args))
		p.ends(2)
		p.complains("need 32 descriptors", "ulimit -n")
	}
	for i := range 40 {
		testkit.WriteFile(t, fmt.Sprintf("%s/d/%d/small", dir, i), "small")
		testkit.WriteFile(t, fmt.Sprintf("%s/d/large%d", dir, i), testkit.Noise(300_000))
	}
	for _, listens := range []string{"--push -l 127.0.0.1 0 d", "--pull -l 127.0.0.1 0 INTO"} {
		t.Run(listens, func(t *testing.T) {
			t.Parallel()
			into := t.TempDir()
			limited := fmt.Sprintf("ulimit -n %d; exec purr -v ", leastDescriptors)
			listener := shell(t, opts{dir: dir}, limited+strings.ReplaceAll(listens, "INTO", into))
			dials := "--pull 127.0.0.1 $1 " + into
			if strings.HasPrefix(listens, "--pull") {
				dials = "--push 127.0.0.1 $1 d"
			}
			shell(t, opts{dir: dir}, limited+dials, listener.port()).ends(0)
			listener.ends(0)
			if out, err := exec.Command("diff", "-r", filepath.Join(dir, "d"), filepath.Join(into, "d")).CombinedOutput(); err != nil {
				t.Errorf("%v: %.2000s", err, out)
			}
		})
	}
}
