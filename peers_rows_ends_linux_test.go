package main

import (
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/proxy"
	"purr/internal/testkit"
)

// The other ends of the rows.

// alone is none: PORT is closed.
func alone(s *rowRun) {
	s.names["PORT"] = closedPorts(s.T, 1)[0]
	s.start()
}

// open is a port that takes clients and does nothing else. OTHER is closed.
func open(s *rowRun) {
	ln := listenTest(s.T)
	s.names["PORT"], s.names["OTHER"] = portOf(s.T, ln.Addr()), closedPorts(s.T, 1)[0]
	s.start()
	s.p.status()
}

// served is a server on PORT of host, for one client. OTHER is a free port.
func served(host string, f func(*rowRun, *net.TCPConn)) func(*rowRun) {
	return func(s *rowRun) {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			s.Fatal(err)
		}
		s.names["PORT"], s.names["OTHER"] = portOf(s.T, ln.Addr()), freePort(s.T, "tcp")
		s.serve(ln.(*net.TCPListener), f)
	}
}

// serve starts the program, is a server for it, and closes ln.
func (s *rowRun) serve(ln *net.TCPListener, f func(*rowRun, *net.TCPConn)) {
	defer ln.Close()
	s.start()
	if c := s.accept(ln); c != nil {
		f(s, c)
		_ = c.Close()
	}
}

// accept returns a client, or nil if the program has ended without being one.
func (s *rowRun) accept(ln *net.TCPListener) *net.TCPConn {
	s.Helper()
	for deadline := time.Now().Add(testkit.Patience); ; {
		over := ended(s.p)
		_ = ln.SetDeadline(time.Now().Add(20 * time.Millisecond))
		c, err := ln.AcceptTCP()
		switch {
		case err == nil:
			s.Cleanup(func() { _ = c.Close() })
			_ = c.SetDeadline(time.Now().Add(testkit.Patience))
			return c
		case over:
			return nil
		case !os.IsTimeout(err) || time.Now().After(deadline):
			s.Fatalf("%s: no connection: %v%s", s.p.name, err, s.p.heard())
		}
	}
}

// bound waits until a program has bound PORT, and reports whether it has not
// ended before.
func (s *rowRun) bound(proto string) bool {
	s.Helper()
	port, err := strconv.Atoi(s.names["PORT"])
	if err != nil {
		s.Fatal(err)
	}
	for deadline := time.Now().Add(testkit.Patience); ; {
		over := ended(s.p)
		switch {
		case isBound(s.T, proto, port):
			return true
		case over:
			return false
		case time.Now().After(deadline):
			s.Fatalf("%s: does not listen%s", s.p.name, s.p.heard())
		}
		select {
		case <-s.p.ended:
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// server is served on 127.0.0.1.
func server(f func(*rowRun, *net.TCPConn)) func(*rowRun) { return served("127.0.0.1", f) }

// client is a client of PORT of 127.0.0.1.
func client(f func(*rowRun, *net.TCPConn)) func(*rowRun) { return clients(f) }

// clients are one after the other; the next comes when f has returned.
func clients(each ...func(*rowRun, *net.TCPConn)) func(*rowRun) {
	return func(s *rowRun) {
		s.names["PORT"] = freePort(s.T, "tcp")
		s.start()
		s.dial(each...)
	}
}

// dial is the clients of a program, unless it has ended without listening.
func (s *rowRun) dial(each ...func(*rowRun, *net.TCPConn)) {
	s.Helper()
	if !s.bound("tcp") {
		return
	}
	for _, f := range each {
		c := dialTest(s.T, "tcp", "127.0.0.1:"+s.names["PORT"]).(*net.TCPConn)
		f(s, c)
		_ = c.Close()
	}
}

// answers takes a question, waits for its end, and sends the answer.
func answers(question, answer string) func(*rowRun, *net.TCPConn) {
	return func(s *rowRun, c *net.TCPConn) {
		s.take(c, len(question))
		s.rest(c)
		writeAll(s.T, c, answer)
	}
}

// sends sends text, half-closes and takes what comes.
func sends(text string) func(*rowRun, *net.TCPConn) {
	return func(s *rowRun, c *net.TCPConn) {
		writeAll(s.T, c, text)
		_ = c.CloseWrite()
		s.rest(c)
	}
}

// exchanges sends text, takes an answer, and then half-closes.
func exchanges(text, answer string) func(*rowRun, *net.TCPConn) {
	return func(s *rowRun, c *net.TCPConn) {
		writeAll(s.T, c, text)
		s.take(c, len(answer))
		_ = c.CloseWrite()
		s.rest(c)
	}
}

// hears takes everything that comes and sends nothing.
func hears(s *rowRun, c *net.TCPConn) { s.rest(c) }

// resets ends the connection with RST once it has had what was sent.
func resets(question string) func(*rowRun, *net.TCPConn) {
	return func(s *rowRun, c *net.TCPConn) {
		s.take(c, len(question))
		testkit.Reset(s.T, c)
	}
}

// peerName notes the address or the port of the peer, and then hears.
func peerName(s *rowRun, c *net.TCPConn) {
	s.note("%v ", c.RemoteAddr())
	s.rest(c)
}

// seconds takes two lines, and notes whether the second came later than at
// once, which counts from the start: this test may read the first late. If
// stdin is open they are typed, the second when the first has come.
func seconds(s *rowRun, c *net.TCPConn) {
	types := func(line string) {
		if s.opts.openStdin {
			writeAll(s.T, s.p.stdin, line)
		}
	}
	types("a\n")
	s.take(c, 2)
	types("b\n")
	s.take(c, 2)
	if time.Since(s.p.begun) > 900*time.Millisecond {
		s.note("later")
	}
	if s.opts.openStdin {
		_ = s.p.stdin.Close()
	}
}

// ended reports whether a process has ended.
func ended(p *process) bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// connected is a server; the program's stdout is a Unix socket, and the
// descriptor that comes over it is used.
func connected(s *rowRun) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		s.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	s.opts.stdout = theirs
	server(func(s *rowRun, c *net.TCPConn) {
		_ = theirs.Close()
		s.p.status()
		control := make([]byte, 64)
		_, n, _, _, err := unix.Recvmsg(fds[0], make([]byte, 8), control, 0)
		if err != nil {
			s.Fatal(err)
		}
		messages, err := unix.ParseSocketControlMessage(control[:n])
		if err != nil || len(messages) == 0 {
			s.Fatalf("no descriptor came: %v", err)
		}
		passed, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			s.Fatal(err)
		}
		f := os.NewFile(uintptr(passed[0]), "passed")
		writeAll(s.T, f, "over the descriptor")
		_ = f.Close()
		s.rest(c)
	})(s)
}

// unanswered is PORT where a connection is neither made nor refused.
func unanswered(s *rowRun) {
	s.names["PORT"] = deafPort(s.T)
	s.start()
	s.p.status()
}

// portTaken is PORT with a listener of another program that shares it if it is
// asked to.
func portTaken(s *rowRun) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		s.Fatal(err)
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		s.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		s.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		s.Fatal(err)
	}
	port := name.(*unix.SockaddrInet4).Port
	s.names["PORT"] = strconv.Itoa(port)
	s.start()
	testkit.Eventually(s.T, "the port is shared, or the program has ended", func() bool {
		return ended(s.p) || len(boundTo(s.T, "tcp", port)) == 2
	})
}

// truncates half-closes at once, and counts what comes when it reads later.
func truncates(s *rowRun, c *net.TCPConn) {
	_ = c.CloseWrite()
	n, _ := io.Copy(io.Discard, c)
	if n == eight {
		s.note("whole")
	} else {
		s.note("a part")
	}
}

// socks4 is a SOCKS4 proxy on RELAY that is the target itself, and notes the
// request.
func socks4(s *rowRun) {
	ln := listenTest(s.T)
	s.names["RELAY"] = portOf(s.T, ln.Addr())
	s.serve(ln, func(s *rowRun, c *net.TCPConn) {
		s.take(c, len("\x04\x01\x00\x50\x7f\x00\x00\x01\x00"))
		s.note(" ")
		writeAll(s.T, c, "\x00\x5a\x00\x50\x7f\x00\x00\x01")
		answers("hello", "answer")(s, c)
	})
}

// stalls reads nothing for longer than a second, and then counts what comes.
func stalls(s *rowRun, c *net.TCPConn) {
	s.p.status()
	truncates(s, c)
}

// proxied is a proxy on RELAY, HTTP if web is true, else SOCKS5, and a server
// behind it.
func proxied(web bool) func(*rowRun) { return proxiedFor(web, "", "") }

// proxiedFor is one that demands a password.
func proxiedFor(web bool, user, password string) func(*rowRun) {
	return func(s *rowRun) {
		addr, requests := proxyTest(s.T, web, &proxy.Server{User: user, Password: password})
		_, s.names["RELAY"], _ = net.SplitHostPort(addr)
		server(func(s *rowRun, c *net.TCPConn) {
			s.note("%s ", <-requests)
			answers("hello", "answer")(s, c)
		})(s)
	}
}

// idles is a server that waits for the end of the program.
func idles(s *rowRun, c *net.TCPConn) {
	s.p.status()
	s.rest(c)
}

// gets takes text and leaves.
func gets(text string) func(*rowRun, *net.TCPConn) {
	return func(s *rowRun, c *net.TCPConn) {
		s.take(c, len(text))
		s.rest(c)
	}
}

// untyped has a stdin that stays open and carries nothing.
func untyped(with func(*rowRun)) func(*rowRun) {
	return func(s *rowRun) {
		s.opts.openStdin = true
		with(s)
	}
}

// typed has a stdin with text that stays open.
func typed(text string, with func(*rowRun)) func(*rowRun) {
	return func(s *rowRun) {
		r, w, err := os.Pipe()
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _, _ = r.Close(), w.Close() })
		writeAll(s.T, w, text)
		s.opts.stdin = r
		with(s)
	}
}

// sixth is a client of PORT of ::1.
func sixth(s *rowRun) {
	s.names["PORT"] = freePort(s.T, "tcp")
	s.start()
	if !s.bound("tcp") {
		return
	}
	c, err := net.DialTimeout("tcp", "[::1]:"+s.names["PORT"], testkit.Patience)
	if err != nil {
		s.note("refused")
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	sends("x")(s, c.(*net.TCPConn))
}

// overlapping are two clients: the second sends while the first is served.
func overlapping(s *rowRun) {
	client(func(s *rowRun, c *net.TCPConn) {
		writeAll(s.T, c, "x")
		s.p.waitOut("x")
		second := dialTest(s.T, "tcp", c.RemoteAddr().String())
		writeAll(s.T, second, "y")
		if strings.HasSuffix(s.want.got, "xy") {
			s.p.waitOut("xy")
		} else { // nothing else may come
			time.Sleep(s.lasting())
		}
		s.note("both are connected, and stdout has %s", s.p.out.String())
	})(s)
}

// late answers when a second has passed since the end of the question.
func late(s *rowRun, c *net.TCPConn) {
	s.rest(c)
	time.Sleep(1200 * time.Millisecond)
	writeAll(s.T, c, "answer")
}

// together are two clients at the same time: the second is closed, or is not.
func together(s *rowRun) {
	client(func(s *rowRun, c *net.TCPConn) {
		writeAll(s.T, c, "x")
		s.p.waitOut("x")
		second := dialTest(s.T, "tcp", c.RemoteAddr().String())
		limit := testkit.Patience
		if s.want.got != "closed" {
			limit = 200 * time.Millisecond
		}
		_ = second.SetReadDeadline(time.Now().Add(limit))
		if _, err := second.Read(make([]byte, 1)); !os.IsTimeout(err) {
			s.note("closed")
		}
	})(s)
}

// terminated listens, and gets a SIGTERM.
func terminated(s *rowRun) {
	s.names["PORT"] = freePort(s.T, "tcp")
	s.start()
	if s.bound("tcp") {
		s.p.signal(syscall.SIGTERM)
	}
}
