//go:build unix

package tunnel

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/datagram"
	"purr/internal/testkit"
)

// A finiteTest is a Finite with both of its ends: the test plays the target.
type finiteTest struct {
	*net.UnixConn
	theirs *net.UnixConn
	ctx    context.Context
	from   *datagram.Peer

	mu       sync.Mutex
	received int
	reason   error
}

func (f *finiteTest) Ended(sent int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.received != sent {
		return nil
	}
	return f.reason
}

// receive returns the next datagram to the target.
func (f *finiteTest) receive(t *testing.T) string {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := f.theirs.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.received++
	return string(b[:n])
}

// end sends datagrams, sets the reason, and prompts its use by an empty one. An
// earlier empty one may have done that already.
func (f *finiteTest) end(t *testing.T, reason error, datagrams ...string) {
	t.Helper()
	for _, d := range datagrams {
		testkit.WriteString(t, f.theirs, d)
	}
	f.mu.Lock()
	f.reason = reason
	f.mu.Unlock()
	_, _ = f.theirs.Write(nil)
}

// finiteRelay runs a tunnel to targets that can end.
func finiteRelay(t *testing.T, change func(*Datagrams)) (r *relayTest, dialled chan *finiteTest) {
	t.Helper()
	dialled = make(chan *finiteTest, 10)
	front := frontSocket(t, "127.0.0.1:0")
	r = relayOf(t, front, front.LocalAddr(), func(d *Datagrams) {
		d.Dial = func(ctx context.Context, from *datagram.Peer) (datagram.Conn, error) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
			if err != nil {
				return nil, err
			}
			var ends [2]*net.UnixConn
			for i, fd := range pair {
				f := os.NewFile(uintptr(fd), "pair")
				c, err := net.FileConn(f)
				_ = f.Close()
				if err != nil {
					return nil, err
				}
				ends[i] = c.(*net.UnixConn)
			}
			_ = ends[1].SetDeadline(time.Now().Add(testkit.Patience))
			t.Cleanup(func() { _ = ends[1].Close() })
			f := &finiteTest{UnixConn: ends[0], theirs: ends[1], ctx: ctx, from: from}
			dialled <- f
			return f, nil
		}
		if change != nil {
			change(d)
		}
	})
	return r, dialled
}

// readString returns the next datagram on c.
func readString(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

var errTargetEnded = errors.New("the target has ended")

// An empty datagram of a target that has ended ends its sender, after the
// answers that are still on their way; the next datagram dials another target.
func TestFiniteTarget(t *testing.T) {
	testkit.NoLeaks(t)
	r, dialled := finiteRelay(t, nil)
	c := udpDial(t, r.front)
	for n := range 3 {
		testkit.WriteString(t, c, "question")
		f := <-dialled
		if got := f.receive(t); got != "question" || f.from.NetAddr().String() != c.LocalAddr().String() {
			t.Errorf("%q of %v", got, f.from)
		}
		f.end(t, errTargetEnded, "first", "", "last")
		for _, want := range []string{"first", "last"} { // and no empty one
			if got := readString(t, c); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		testkit.Eventually(t, "the end", func() bool {
			return strings.Count(r.log.String(), "ended after 1 and 2: "+errTargetEnded.Error()) == n+1
		})
		<-f.ctx.Done()
	}
	r.lacks("lost")
}

// A datagram that is sent to a target while this one has an end is not lost
// with it: the target gets it, and may go on.
func TestFiniteTargetGoesOn(t *testing.T) {
	testkit.NoLeaks(t)
	r, dialled := finiteRelay(t, nil)
	c := udpDial(t, r.front)
	testkit.WriteString(t, c, "one")
	f := <-dialled
	f.receive(t)
	testkit.WriteString(t, c, "two")
	testkit.Eventually(t, "the second datagram", func() bool { return unreadOf(t, f.theirs) })
	f.end(t, errTargetEnded)
	f.end(t, errTargetEnded, "answer to one")
	if got := readString(t, c); got != "answer to one" {
		t.Errorf("%q", got)
	}
	if got := f.receive(t); got != "two" {
		t.Errorf("%q", got)
	}
	r.lacks("ended")
	f.end(t, nil)
	f.end(t, nil, "answer to two")
	if got := readString(t, c); got != "answer to two" {
		t.Errorf("%q", got)
	}
	r.lacks("ended")
	f.end(t, errTargetEnded)
	r.has("ended after 2 and 2: " + errTargetEnded.Error())
	r.lacks("lost")
}

// unreadOf reports whether a datagram waits on c.
func unreadOf(t *testing.T, c *net.UnixConn) (waits bool) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		waits = err == nil
	})
	return waits
}

// The end of a sender ends the context of its Dial, while that waits as well.
func TestDialEndsWithItsSender(t *testing.T) {
	testkit.NoLeaks(t)
	waiting := make(chan error, 2)
	r, _ := finiteRelay(t, func(d *Datagrams) {
		d.Limit = 1
		d.Dial = func(ctx context.Context, _ *datagram.Peer) (datagram.Conn, error) {
			<-ctx.Done()
			waiting <- ctx.Err()
			return nil, ctx.Err()
		}
	})
	first, second := udpDial(t, r.front), udpDial(t, r.front)
	testkit.WriteString(t, first, "x")
	testkit.Eventually(t, "the first sender", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.open == 1 })
	testkit.WriteString(t, second, "x")
	r.has(ErrDisplaced.Error())
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// An empty datagram with an answer behind it ends nothing before that answer.
func TestFiniteTargetAnswersLate(t *testing.T) {
	testkit.NoLeaks(t)
	admitted := make(chan struct{})
	admit := func() {
		t.Helper()
		select {
		case admitted <- struct{}{}:
		case <-time.After(5 * time.Second):
			t.Fatal("nothing is to be admitted")
		}
	}
	r, dialled := finiteRelay(t, func(d *Datagrams) {
		d.Batch, d.Admit = 1, func(int) error { <-admitted; return nil }
	})
	c := udpDial(t, r.front)
	testkit.WriteString(t, c, "question")
	admit()
	f := <-dialled
	f.receive(t)
	f.end(t, errTargetEnded, "first", "", "last") // before the first one is admitted
	for _, want := range []string{"first", "last"} {
		admit()
		if got := readString(t, c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	r.has("ended after 1 and 2: " + errTargetEnded.Error())
}

// Datagrams that are dropped because a target does not read are not waited for
// when it has ended.
func TestFiniteTargetFull(t *testing.T) {
	testkit.NoLeaks(t)
	r, dialled := finiteRelay(t, nil)
	c := udpDial(t, r.front)
	testkit.WriteString(t, c, "first")
	f := <-dialled
	lost := "lost, the target: " + datagram.ErrQueueFull.Error()
	for !strings.Contains(r.log.String(), lost) {
		testkit.WriteString(t, c, testkit.Noise(10_000))
	}
	testkit.Eventually(t, "the end", func() bool { // once all have passed or were dropped
		for unreadOf(t, f.theirs) {
			f.receive(t)
		}
		f.end(t, errTargetEnded)
		return strings.Contains(r.log.String(), errTargetEnded.Error())
	})
}
