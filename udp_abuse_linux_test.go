package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// unixClient dials the Unix datagram socket at path, from a name beside it, or
// from none.
func unixClient(t testing.TB, path, name string) *net.UnixConn {
	t.Helper()
	var own *net.UnixAddr
	if name != "" {
		own = &net.UnixAddr{Name: filepath.Join(filepath.Dir(path), name), Net: "unixgram"}
	}
	c, err := net.DialUnix("unixgram", own, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c
}

// A client that floods a Unix datagram echo and never reads costs little, keeps
// no other client from its answers, and -w ends the run once it is silent.
func TestUnixDatagramFlood(t *testing.T) {
	t.Parallel()
	for _, connected := range []bool{false, true} {
		t.Run(fmt.Sprint("connected ", connected), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(testkit.SocketDir(t), "s")
			server := startPurr(t, opts{stdout: devNull(t)}, "-v", "-u", "-l", "-k", "--echo", "-w", "1", "-O", "65536", "-U", path)
			server.waitErr(boundOn)
			hog := unixClient(t, path, "hog")
			flood := func() error { _, err := hog.Write([]byte("flood")); return err }
			if !connected {
				own := hog.LocalAddr().(*net.UnixAddr)
				_ = hog.Close()
				_ = os.Remove(own.Name)
				loose, err := net.ListenUnixgram("unixgram", own)
				if err != nil {
					t.Fatal(err)
				}
				defer loose.Close()
				flood = func() error {
					_, err := loose.WriteToUnix([]byte("flood"), &net.UnixAddr{Name: path, Net: "unixgram"})
					return err
				}
			}
			stop, sent := make(chan struct{}), make(chan int, 1)
			go func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						sent <- n
						return
					default:
					}
					if err := flood(); err != nil {
						sent <- n
						return
					}
				}
			}()
			begun := time.Now()
			other := unixClient(t, path, "other")
			for range 30 {
				answered := false
				for tries := 0; !answered && tries < 50; tries++ {
					writeAll(t, other, "question")
					_ = other.SetReadDeadline(time.Now().Add(time.Second))
					b := make([]byte, 100)
					n, err := other.Read(b)
					answered = err == nil && string(b[:n]) == "question"
				}
				if !answered {
					t.Fatal("never answered")
				}
			}
			time.Sleep(max(0, 2*time.Second-time.Since(begun)))
			lasted := time.Since(begun)
			close(stop)
			flooded := <-sent
			server.ends(0) // -w: the last datagram was a second ago
			state := server.cmd.ProcessState
			cpu := state.UserTime() + state.SystemTime()
			t.Logf("connected %v: %d datagrams in %v, %v of CPU", connected, flooded, lasted, cpu)
			if flooded < 100 || cpu > lasted/2 {
				t.Errorf("connected %v: %v of CPU for %d datagrams in %v", connected, cpu, flooded, lasted)
			}
			said := server.err.String()
			if strings.Count(said, "is full") != 1 || !strings.Contains(said, "/hog: its queue of datagrams is full") || !strings.Contains(said, ", dropped ") {
				t.Errorf("said %q", said)
			}
		})
	}
}

// A Unix datagram of several megabytes is printed and echoed whole.
func TestUnixDatagramOfMegabytes(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{{"-k"}, {}, {"-k", "--echo"}} {
		path := filepath.Join(testkit.SocketDir(t), "s")
		server := startPurr(t, opts{}, append(append([]string{"-v", "-u", "-l"}, mode...), "-U", path)...)
		server.waitErr(boundOn)
		c := unixClient(t, path, "c")
		content := testkit.Noise(3 << 20)
		if err := c.SetWriteBuffer(8 << 20); err != nil {
			t.Fatal(err)
		}
		_, err := c.Write([]byte(content))
		for begun := time.Now(); errors.Is(err, syscall.ENOBUFS) && time.Since(begun) < 5*time.Second; { // the kernel's memory is in pieces
			time.Sleep(10 * time.Millisecond)
			_, err = c.Write([]byte(content))
		}
		if err != nil {
			testkit.NotHere(t, "a send buffer of 3 MiB (net.core.wmem_max): "+err.Error())
		}
		testkit.Eventually(t, "the datagram is printed", func() bool { return server.out.Len() == len(content) })
		server.runs()
		if server.out.String() != content {
			t.Error("other bytes were printed")
		}
	}
}

// With -k a client that cannot be answered, because it has gone, has no name or
// never reads, costs a line: the run goes on, and the next client is answered.
func TestUnixDatagramClientGone(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"closed", "removed", "nameless"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(testkit.SocketDir(t), "s")
			server := startPurr(t, opts{openStdin: true}, "-v", "-u", "-l", "-k", "-U", path)
			server.waitErr(boundOn)
			name := "gone"
			if how == "nameless" {
				name = ""
			}
			gone := unixClient(t, path, name)
			writeAll(t, gone, "first ")
			server.waitOut("first ")
			want := "connection refused"
			switch how {
			case "removed":
				want = "no such file or directory"
				_ = os.Remove(filepath.Join(filepath.Dir(path), "gone"))
			case "closed":
				_ = gone.Close()
			}
			if how != "nameless" { // stdin waits for a client with a name
				writeAll(t, server.stdin, "for the first")
				server.waitErr(regexp.MustCompile(want))
			}
			c := unixClient(t, path, "c")
			writeAll(t, c, "second")
			server.waitOut("second")
			writeAll(t, server.stdin, "answer")
			if got := pkt(t, c); got != "answer" {
				t.Errorf("got %q", got)
			}
			server.runs()
		})
	}
}

// forge sends a UDP datagram from any port of 127.0.0.1.
func forge(t *testing.T, from, to uint16, payload string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.IPPROTO_UDP)
	if err != nil {
		testkit.NotHere(t, "root for a raw socket: "+err.Error())
	}
	defer syscall.Close(fd)
	b := make([]byte, 8, 8+len(payload)) // RFC 768; a checksum of 0 is none
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	if err := syscall.Sendto(fd, append(b, payload...), 0, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
}

// A datagram from port 0 takes no client's place and ends nothing.
func TestUDPFromPortZero(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-l -k", "-l", "-l -k --echo", "-l --echo"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			server := startPurr(t, opts{openStdin: true}, append(append([]string{"-u"}, strings.Fields(args)...), "127.0.0.1", "0")...)
			addr := server.addr()
			to := netip.MustParseAddrPort(addr).Port()
			echo := strings.Contains(args, "echo")
			if !echo {
				writeAll(t, server.stdin, "early") // waits for a client
			}
			forge(t, 0, to, "forged ")
			c := dialTest(t, "udp", addr)
			writeAll(t, c, "hello")
			server.waitOut("hello")
			want := "hello"
			if !echo {
				want = "early"
			}
			if got := pkt(t, c); got != want {
				t.Errorf("got %q", got)
			}
			forge(t, 0, to, "forged ")
			writeAll(t, c, "again")
			server.waitOut("again")
			if echo {
				pkt(t, c)
			} else {
				writeAll(t, server.stdin, "answer")
				if got := pkt(t, c); got != "answer" {
					t.Errorf("got %q", got)
				}
			}
			if printed := server.out.String(); strings.Contains(printed, "forged") != strings.Contains(args, "-k") {
				t.Errorf("printed %q", printed)
			}
			server.runs()
		})
	}
}

// One forged datagram makes two echoes answer each other until that is noticed:
// then it is over, one line is about that, and a client is answered all
// the while. --echo-any lifts it.
func TestUDPEchoLoop(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, args ...string) (p *process, addr netip.AddrPort) {
		p = startPurr(t, opts{stdout: devNull(t)}, append([]string{"-v", "-u", "-l", "-k", "--echo"}, append(args, "127.0.0.1", "0")...)...)
		return p, netip.MustParseAddrPort(p.addr())
	}
	t.Run("noticed", func(t *testing.T) {
		t.Parallel()
		one, first := start(t, "-w", "1")
		two, second := start(t, "-w", "1")
		c := dialTest(t, "udp", first.String())
		forge(t, second.Port(), first.Port(), "forged")
		for _, d := range []string{"same", "same", "other"} {
			writeAll(t, c, d)
			if got := pkt(t, c); got != d {
				t.Errorf("got %q, want %q", got, d)
			}
		}
		one.ends(0) // nothing has moved for a second
		two.ends(0)
		said := one.err.String() + two.err.String()
		if n := strings.Count(said, "repeats what it was sent"); n < 1 || n > 2 || !strings.Contains(said, ", dropped ") {
			t.Errorf("said %q", said)
		}
	})
	t.Run("any", func(t *testing.T) {
		t.Parallel()
		one, first := start(t, "--echo-any", "-w", "0.5")
		_, second := start(t, "--echo-any", "-w", "0.5")
		forge(t, second.Port(), first.Port(), "forged")
		time.Sleep(time.Second)
		one.runs()
		if strings.Contains(one.err.String(), "repeats") {
			t.Errorf("said %q", one.err)
		}
	})
	t.Run("itself and port 53", func(t *testing.T) {
		t.Parallel()
		for _, any := range []bool{false, true} {
			args := []string{"-W", "3", "-w", "20"}
			if any {
				args = append(args, "--echo-any")
			}
			one, addr := start(t, args...)
			forge(t, addr.Port(), addr.Port(), "to itself")
			if !any { // otherwise that was three datagrams
				forge(t, 53, addr.Port(), "from a server")
				c := dialTest(t, "udp", addr.String())
				writeAll(t, c, "x")
				if got := pkt(t, c); got != "x" {
					t.Errorf("got %q", got)
				}
			}
			one.ends(0)
			if dropped := strings.Contains(one.err.String(), "echoed 3 datagrams of 23 bytes, dropped 2"); dropped == any {
				t.Errorf("said %q", one.err)
			}
		}
	})
}

// A Unix datagram peer that does not read is waited for within -w, which costs
// no processor; then the status is 1.
func TestUnixDatagramNotTaken(t *testing.T) {
	t.Parallel()
	content := testkit.TempFile(t, testkit.Noise(32<<20))
	for _, listens := range []bool{false, true} {
		path := filepath.Join(testkit.SocketDir(t), "s")
		args, own := []string{"-u", "-w", "1", "-U"}, path
		if listens {
			args, own = []string{"-v", "-u", "-l", "-w", "1", "-U"}, filepath.Join(filepath.Dir(path), "c")
		}
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: own, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p := startPurr(t, opts{stdin: opened(t, content)}, append(args, path)...)
		if listens {
			p.waitErr(boundOn)
			if _, err := c.WriteToUnix([]byte("x"), &net.UnixAddr{Name: path, Net: "unixgram"}); err != nil {
				t.Fatal(err)
			}
		}
		p.ends(1)
		if said := p.said(); !strings.Contains(said, own+": idle for 1s with a datagram not taken") {
			t.Errorf("said %q", said)
		}
		if cpu := p.busy(); cpu > p.took/2 {
			t.Errorf("%v of CPU in %v", cpu, p.took)
		}
	}
}
