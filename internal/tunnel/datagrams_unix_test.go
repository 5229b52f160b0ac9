//go:build unix

package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"purr/internal/datagram"
	"purr/internal/fdio"
	"purr/internal/testkit"
)

// A relayTest is a running tunnel of datagrams with its log.
type relayTest struct {
	t      *testing.T
	front  net.Addr
	log    testkit.Output // a line for each event
	result chan error
	stop   context.CancelCauseFunc
	open   int // followers that have not ended
	mu     sync.Mutex
}

// A followerTest writes a line for each event of a sender.
type followerTest struct {
	r              *relayTest
	name           string
	sent, received int
}

func (f *followerTest) logf(format string, args ...any) {
	fmt.Fprintf(&f.r.log, "%s: %s\n", f.name, fmt.Sprintf(format, args...))
}
func (f *followerTest) Dialled() { f.logf("dialled") }
func (f *followerTest) Moved(toSender bool, _ *datagram.Batch, list []int) {
	if toSender {
		f.sent += len(list)
	} else {
		f.received += len(list)
	}
}
func (f *followerTest) Refused(target bool) { f.logf("refused, target %v", target) }
func (f *followerTest) Ended(reason error) {
	f.r.mu.Lock()
	f.r.open--
	f.r.mu.Unlock()
	f.logf("ended after %d and %d: %v", f.received, f.sent, reason)
}

var errStop = errors.New("stopped by the test")

// relayOf runs a tunnel between front and the target to.
func relayOf(t *testing.T, front net.PacketConn, to net.Addr, change func(*Datagrams)) *relayTest {
	t.Helper()
	r := &relayTest{t: t, front: front.LocalAddr(), log: testkit.Output{More: make(chan struct{})}, result: make(chan error, 1)}
	d := Datagrams{Network: to.Network(), Target: "the target", Limit: 1 << 16,
		Dial: func(ctx context.Context, _ *datagram.Peer) (datagram.Conn, error) {
			dialer := net.Dialer{}
			if to.Network() == "unixgram" {
				dialer.LocalAddr = &net.UnixAddr{Name: fmt.Sprintf("%s-%d", to, time.Now().UnixNano()), Net: "unixgram"}
			}
			c, err := dialer.DialContext(ctx, to.Network(), to.String())
			if err != nil {
				return nil, err
			}
			return c.(datagram.Conn), nil
		},
		Follow: func(_ netip.AddrPort, name string) Follower {
			r.mu.Lock()
			r.open++
			r.mu.Unlock()
			return &followerTest{r: r, name: name}
		},
		Lost: func(peer string, err error) { fmt.Fprintf(&r.log, "lost, %s: %v\n", peer, err) },
	}
	if front.LocalAddr().Network() == "unixgram" {
		d.Network = "unixgram"
	}
	if change != nil {
		change(&d)
	}
	i, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	s, err := datagram.Open(front.(datagram.Conn), i)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	r.stop = stop
	go func() { r.result <- d.Run(ctx, s, i); s.Close(); close(r.result) }()
	t.Cleanup(func() {
		stop(errStop)
		<-r.result
		i.Close()
		if r.open != 0 {
			t.Errorf("%d senders have not ended", r.open)
		}
	})
	return r
}

// ends stops the tunnel, unless it has ended, and returns its result.
func (r *relayTest) ends() error {
	r.t.Helper()
	select {
	case err := <-r.result:
		return err
	case <-time.After(testkit.Patience):
		r.t.Fatalf("the tunnel goes on\n%s", &r.log)
	}
	return nil
}

// has waits until the log has the texts.
func (r *relayTest) has(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		testkit.Eventually(r.t, text, func() bool { return strings.Contains(r.log.String(), text) })
	}
}

// lacks checks that the log has none of the texts.
func (r *relayTest) lacks(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		if strings.Contains(r.log.String(), text) {
			r.t.Errorf("%q in\n%s", text, &r.log)
		}
	}
}

func udpSocket(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenPacket("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	_ = c.(*net.UDPConn).SetReadBuffer(4 << 20)
	return c.(*net.UDPConn)
}

// frontSocket listens as the program does.
func frontSocket(t *testing.T, addr string) net.PacketConn {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		datagram.AskForDestination(raw)
		return nil
	}}
	c, err := config.ListenPacket(t.Context(), "udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answering answers each datagram with its sender's address in front, and
// stays silent to "quiet".
func answering(t *testing.T, c net.PacketConn) net.Addr {
	go func() {
		b := make([]byte, 1<<17)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if string(b[:n]) != "quiet" {
				_, _ = c.WriteTo(append([]byte(from.String()+" "), b[:n]...), from)
			}
		}
	}()
	return c.LocalAddr()
}

func udpDial(t *testing.T, to net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(to.Network(), to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c
}

// ask sends a datagram and returns the answer without the address in front,
// and that.
func ask(t *testing.T, c net.Conn, question string) (answer, via string) {
	t.Helper()
	testkit.WriteString(t, c, question)
	b := make([]byte, 1<<17)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	via, answer, _ = strings.Cut(string(b[:n]), " ")
	return answer, via
}

// Each sender has a socket towards the target and gets the answers to its own
// datagrams, empty and long ones too.
func TestDatagrams(t *testing.T) {
	testkit.NoLeaks(t)
	target := udpSocket(t, "127.0.0.1:0")
	r := relayOf(t, frontSocket(t, "127.0.0.1:0"), answering(t, target), nil)
	a, b := udpDial(t, r.front), udpDial(t, r.front)
	vias := make(map[string]string)
	for _, text := range []string{"one", "", testkit.Noise(60_000), "x"} {
		for name, c := range map[string]net.Conn{"a": a, "b": b} {
			answer, via := ask(t, c, text)
			if answer != text {
				t.Errorf("%s: got %s, want %s", name, testkit.Brief(answer), testkit.Brief(text))
			}
			if old := vias[name]; old != "" && old != via {
				t.Errorf("%s: first from %s, then from %s", name, old, via)
			}
			vias[name] = via
		}
	}
	if vias["a"] == vias["b"] {
		t.Error("both senders share a socket")
	}
	r.stop(errStop)
	if err := r.ends(); !errors.Is(err, errStop) {
		t.Error(err)
	}
	r.has("dialled", "ended after 4 and 4: "+errStop.Error())
	r.lacks("lost", "refused")
	_ = target.Close()
}

// Many datagrams at once arrive in order, each whole, both ways.
func TestDatagramsInOrder(t *testing.T) {
	testkit.NoLeaks(t)
	target := udpSocket(t, "127.0.0.1:0")
	r := relayOf(t, frontSocket(t, "127.0.0.1:0"), target.LocalAddr(), nil)
	c := udpDial(t, r.front)
	b := make([]byte, 1<<16)
	var via net.Addr
	for at := 0; at < 500; at += 100 {
		for n := at; n < at+100; n++ {
			testkit.WriteString(t, c, fmt.Sprint(n, " ", testkit.Noise(n%5*100)))
		}
		for n := at; n < at+100; n++ {
			size, from, err := target.ReadFrom(b)
			if want := fmt.Sprint(n, " ", testkit.Noise(n%5*100)); err != nil || string(b[:size]) != want {
				t.Fatalf("%d: %s (%v)", n, testkit.Brief(string(b[:size])), err)
			}
			via = from
		}
		for n := at; n < at+100; n++ {
			_, _ = target.WriteTo(fmt.Append(nil, n), via)
		}
		for n := at; n < at+100; n++ {
			if size, err := c.Read(b); err != nil || string(b[:size]) != fmt.Sprint(n) {
				t.Fatalf("answer %d: %s (%v)", n, b[:size], err)
			}
		}
	}
	r.lacks("lost")
}

// The answer leaves from the address that the sender has written to.
func TestDatagramsAnswerFromTheAddressAsked(t *testing.T) {
	if runtime.GOOS != "linux" {
		testkit.NotHere(t, "a kernel that answers from the address asked, as Linux does")
	}
	testkit.NoLeaks(t)
	target := udpSocket(t, "127.0.0.1:0")
	r := relayOf(t, frontSocket(t, "0.0.0.0:0"), answering(t, target), nil)
	c := udpSocket(t, "127.0.0.1:0")
	port := r.front.(*net.UDPAddr).Port
	b := make([]byte, 100)
	for range 2 {
		for _, host := range []string{"127.0.0.2", "127.0.0.1", "127.0.0.3"} {
			to := &net.UDPAddr{IP: net.ParseIP(host), Port: port}
			if _, err := c.WriteToUDP([]byte("x"), to); err != nil {
				t.Fatal(err)
			}
			if _, from, err := c.ReadFromUDP(b); err != nil || from.String() != to.String() {
				t.Errorf("asked %v, answered from %v (%v)", to, from, err)
			}
		}
	}
	_ = target.Close()
}

// A silent sender ends, and comes back with a new socket.
func TestDatagramsIdle(t *testing.T) {
	testkit.NoLeaks(t)
	target := udpSocket(t, "127.0.0.1:0")
	r := relayOf(t, frontSocket(t, "127.0.0.1:0"), answering(t, target), func(d *Datagrams) { d.Idle = 50 * time.Millisecond })
	c := udpDial(t, r.front)
	for n := range 2 {
		if answer, _ := ask(t, c, "x"); answer != "x" {
			t.Error(answer)
		}
		testkit.Eventually(t, "the end of the sender", func() bool { return strings.Count(r.log.String(), "ended after 1 and 1: idle") == n+1 })
	}
	_ = target.Close()
}

// Beyond the limit a new sender displaces the oldest that was never answered;
// senders that were answered keep their place.
func TestDatagramsLimit(t *testing.T) {
	testkit.NoLeaks(t)
	target := udpSocket(t, "127.0.0.1:0")
	r := relayOf(t, frontSocket(t, "127.0.0.1:0"), answering(t, target), func(d *Datagrams) { d.Limit = 2 })
	name := func(c net.Conn) string { return fmt.Sprintf("127.0.0.1 port %d", c.LocalAddr().(*net.UDPAddr).Port) }
	first, second, third, fourth := udpDial(t, r.front), udpDial(t, r.front), udpDial(t, r.front), udpDial(t, r.front)
	ask(t, first, "x")
	testkit.WriteString(t, second, "quiet")
	r.has(name(second) + ": dialled")
	if answer, _ := ask(t, third, "x"); answer != "x" { // second is displaced, and not first
		t.Error(answer)
	}
	r.has(name(second) + ": ended after 1 and 0: " + ErrDisplaced.Error())
	testkit.WriteString(t, fourth, "x")
	r.has("lost, " + name(fourth) + ": " + ErrFull.Error())
	for _, c := range []net.Conn{first, third} {
		if answer, _ := ask(t, c, "y"); answer != "y" {
			t.Error(answer)
		}
	}
	r.lacks(name(first)+": ended", name(third)+": ended", name(fourth)+": dialled")
	_ = target.Close()
}

// A refused datagram is reported once and ends nothing: as soon as the target
// is there, it answers.
func TestDatagramsRefused(t *testing.T) {
	if runtime.GOOS != "linux" {
		testkit.NotHere(t, "ICMP errors as Linux reports them")
	}
	testkit.NoLeaks(t)
	closed := udpSocket(t, "127.0.0.1:0")
	addr := closed.LocalAddr()
	_ = closed.Close()
	r := relayOf(t, frontSocket(t, "127.0.0.1:0"), addr, nil)
	c := udpDial(t, r.front)
	testkit.Eventually(t, "the refusal", func() bool { // the system limits the rate of ICMP errors
		testkit.WriteString(t, c, "quiet")
		return strings.Contains(r.log.String(), "refused, target true")
	})
	for range 5 {
		testkit.WriteString(t, c, "quiet")
	}
	target := udpSocket(t, addr.String())
	answering(t, target)
	if answer, _ := ask(t, c, "x"); answer != "x" {
		t.Error(answer)
	}
	if n := strings.Count(r.log.String(), "refused"); n != 1 {
		t.Errorf("%d lines\n%s", n, &r.log)
	}
	r.lacks("ended", "lost")
	_ = target.Close()
}

// A tunnel that leads to itself, and forged senders, start no loop.
func TestDatagramsLoops(t *testing.T) {
	testkit.NoLeaks(t)
	for _, host := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		front := frontSocket(t, host)
		to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: front.LocalAddr().(*net.UDPAddr).Port}
		r := relayOf(t, front, to, nil)
		c := udpDial(t, to)
		testkit.WriteString(t, c, "x")
		r.has(": " + ErrItself.Error())
		if n := strings.Count(r.log.String(), "dialled"); n > 1 {
			t.Errorf("%d senders\n%s", n, &r.log)
		}
	}
}

// Datagrams are held in order while the target is dialled, as many as have
// room, and a target that cannot be dialled ends its sender alone.
func TestDatagramsHeld(t *testing.T) {
	testkit.NoLeaks(t)
	target := udpSocket(t, "127.0.0.1:0")
	release := make(chan error)
	r := relayOf(t, frontSocket(t, "127.0.0.1:0"), target.LocalAddr(), func(d *Datagrams) {
		dial := d.Dial
		d.Dial = func(ctx context.Context, from *datagram.Peer) (datagram.Conn, error) {
			if err := <-release; err != nil {
				return nil, err
			}
			return dial(ctx, from)
		}
	})
	c := udpDial(t, r.front)
	for n := range 10 {
		testkit.WriteString(t, c, fmt.Sprint(n, " ", testkit.Noise(8000)))
	}
	r.has("lost, the target: " + datagram.ErrQueueFull.Error())
	release <- nil
	b := make([]byte, 1<<16)
	for n := range 8 { // the eighth is the first beyond 64 KiB with their overhead
		if size, err := target.Read(b); err != nil || !strings.HasPrefix(string(b[:size]), fmt.Sprint(n, " ")) {
			t.Fatalf("%d: %s (%v)", n, testkit.Brief(string(b[:size])), err)
		}
	}
	other := udpDial(t, r.front)
	testkit.WriteString(t, other, "x")
	release <- syscall.ENETUNREACH
	r.has("ended after 1 and 0: " + syscall.ENETUNREACH.Error())
	testkit.WriteString(t, c, "still")
	if size, err := target.Read(b); err != nil || string(b[:size]) != "still" {
		t.Fatalf("%s (%v)", b[:size], err)
	}
}

// With Single the first sender has the tunnel, whose end is the result; without
// a sender it is a timeout.
func TestDatagramsSingle(t *testing.T) {
	testkit.NoLeaks(t)
	single := func(d *Datagrams) { d.Single, d.Idle, d.First = true, 300*time.Millisecond, testkit.Patience }
	target := udpSocket(t, "127.0.0.1:0")
	r := relayOf(t, frontSocket(t, "127.0.0.1:0"), answering(t, target), single)
	first, second := udpDial(t, r.front), udpDial(t, r.front)
	ask(t, first, "x")
	testkit.WriteString(t, second, "y")
	r.has(ErrOther.Error())
	if err := r.ends(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(r.log.String(), "dialled"); n != 1 {
		t.Errorf("%d senders", n)
	}
	r = relayOf(t, frontSocket(t, "127.0.0.1:0"), target.LocalAddr(), func(d *Datagrams) {
		single(d)
		d.Dial = func(context.Context, *datagram.Peer) (datagram.Conn, error) { return nil, syscall.EACCES }
	})
	testkit.WriteString(t, udpDial(t, r.front), "x")
	if err := r.ends(); !errors.Is(err, syscall.EACCES) {
		t.Error(err)
	}
	r = relayOf(t, frontSocket(t, "127.0.0.1:0"), target.LocalAddr(), func(d *Datagrams) { single(d); d.First = 20 * time.Millisecond })
	if err := r.ends(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	_ = target.Close()
}

// Two dialled peers are joined: each hears what the other sends.
func TestDatagramsBetweenTwoPeers(t *testing.T) {
	testkit.NoLeaks(t)
	a, b := udpSocket(t, "127.0.0.1:0"), udpSocket(t, "127.0.0.1:0")
	front := udpDial(t, a.LocalAddr())
	r := relayOf(t, front.(net.PacketConn), b.LocalAddr(), func(d *Datagrams) { d.Single = true })
	r.has("dialled")
	var ourB net.Addr
	buffer := make([]byte, 100)
	for range 3 {
		if _, err := a.WriteTo([]byte("to b"), r.front); err != nil {
			t.Fatal(err)
		}
		n, from, err := b.ReadFrom(buffer)
		if err != nil || string(buffer[:n]) != "to b" {
			t.Fatalf("%q, %v", buffer[:n], err)
		}
		ourB = from
		if _, err := b.WriteTo([]byte("to a"), ourB); err != nil {
			t.Fatal(err)
		}
		if n, from, err := a.ReadFrom(buffer); err != nil || string(buffer[:n]) != "to a" || from.String() != r.front.String() {
			t.Fatalf("%q from %v, %v", buffer[:n], from, err)
		}
	}
	r.lacks("lost", "refused", "ended")
}

// Unix datagram sockets: a sender without a name is passed on and gets no
// answer, one that never reads loses its own answers only, and a target that
// was replaced is dialled again.
func TestDatagramsUnix(t *testing.T) {
	testkit.NoLeaks(t)
	dir := testkit.SocketDir(t)
	listen := func(name string) *net.UnixConn {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	target := listen("target")
	to := answering(t, target)
	r := relayOf(t, listen("front"), to, nil)
	dial := func(name string) net.Conn {
		var own *net.UnixAddr
		if name != "" {
			own = &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unixgram"}
		}
		c, err := net.DialUnix("unixgram", own, r.front.(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		return c
	}
	named, hog := dial("named"), listen("hog") // not connected: its queue is short
	long := testkit.Noise(90_000)
	if answer, _ := ask(t, named, long); answer != long {
		t.Error(testkit.Brief(answer))
	}
	testkit.WriteString(t, dial(""), "x")
	r.has(datagram.ErrNoAddress.Error())
	for n := range 200 {
		if _, err := hog.WriteTo([]byte("flood"), r.front); err != nil {
			t.Fatal(err)
		}
		if answer, _ := ask(t, named, fmt.Sprint(n)); answer != fmt.Sprint(n) {
			t.Fatal(answer)
		}
	}
	r.has("hog: " + datagram.ErrQueueFull.Error())
	_ = target.Close()
	_ = os.Remove(to.String())
	testkit.WriteString(t, named, "nobody is there")
	r.has("named: ended")
	answering(t, listen("target"))
	if answer, _ := ask(t, named, "again"); answer != "again" {
		t.Error(answer)
	}
}

// A thousand senders each get their own answer; afterwards no descriptor is
// left, and while they are silent they cost no processor time.
func TestDatagramsThousandSenders(t *testing.T) {
	if runtime.GOOS != "linux" {
		testkit.NotHere(t, "/proc/self/fd")
	}
	testkit.NoLeaks(t)
	descriptors := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	var limit syscall.Rlimit
	if _ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); limit.Cur < 3000 {
		testkit.NotHere(t, "3,000 descriptors")
	}
	before := descriptors()
	target := udpSocket(t, "127.0.0.1:0")
	r := relayOf(t, frontSocket(t, "127.0.0.1:0"), answering(t, target), nil)
	clients := make([]net.Conn, 1000)
	for n := range clients {
		clients[n] = udpDial(t, r.front)
		testkit.WriteString(t, clients[n], fmt.Sprint(n))
	}
	var vias []string
	b := make([]byte, 100)
	for n, c := range clients {
		for tries := 0; ; tries++ { // a burst of a thousand may not fit into a socket buffer
			_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			size, err := c.Read(b)
			if err == nil {
				via, answer, _ := strings.Cut(string(b[:size]), " ")
				if vias = append(vias, via); answer != fmt.Sprint(n) {
					t.Fatalf("client %d got %q", n, answer)
				}
				break
			}
			if tries == 50 {
				t.Fatalf("client %d: %v", n, err)
			}
			testkit.WriteString(t, c, fmt.Sprint(n))
		}
	}
	if slices.Sort(vias); len(slices.Compact(vias)) != len(clients) {
		t.Error("senders share a socket")
	}
	used := func() time.Duration {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begun := used()
	if took := used() - begun; took > 100*time.Millisecond {
		t.Errorf("%v of processor time while nothing moves", took)
	}
	r.stop(errStop)
	_ = r.ends()
	for _, c := range clients {
		_ = c.Close()
	}
	_ = target.Close()
	if after := descriptors(); after > before+4 { // of the runtime's poller, and of the interrupt
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
