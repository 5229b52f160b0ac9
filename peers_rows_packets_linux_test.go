package main

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// The other ends of the rows that are datagrams or Unix sockets.

// datagrams is a UDP socket on PORT of 127.0.0.1.
func datagrams(f func(*rowRun, *net.UDPConn)) func(*rowRun) {
	return func(s *rowRun) {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{})
		if err != nil {
			s.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		s.names["PORT"] = portOf(s.T, c.LocalAddr())
		s.start()
		f(s, c)
	}
}

// datagram notes one, and returns its sender.
func (s *rowRun) datagram(c *net.UDPConn) net.Addr {
	s.Helper()
	b := make([]byte, 65536)
	n, from, err := c.ReadFrom(b)
	if err != nil {
		s.Fatal(err)
	}
	s.note("[%s]", b[:n])
	return from
}

// replies answers one datagram with each of the texts.
func replies(texts ...string) func(*rowRun, *net.UDPConn) {
	return func(s *rowRun, c *net.UDPConn) {
		from := s.datagram(c)
		for _, text := range texts {
			if _, err := c.WriteTo([]byte(text), from); err != nil {
				s.Fatal(err)
			}
		}
	}
}

// counts notes every datagram until the program has ended.
func counts(s *rowRun, c *net.UDPConn) {
	for _, datagram := range s.datagrams(c) {
		s.note("[%s]", datagram)
	}
}

// counted notes how many datagrams have come until the program has ended.
func counted(s *rowRun, c *net.UDPConn) { s.note("%d datagrams", len(s.datagrams(c))) }

// datagrams returns what has come when the program has ended.
func (s *rowRun) datagrams(c *net.UDPConn) (all []string) {
	s.Helper()
	s.p.status()
	for b := make([]byte, 65536); ; {
		n, _, err := unix.Recvfrom(descriptor(s.T, c), b, unix.MSG_DONTWAIT)
		if err != nil {
			return all
		}
		all = append(all, string(b[:n]))
	}
}

// descriptor returns the descriptor of a socket, which stays the socket's.
func descriptor(t testing.TB, c syscall.Conn) (fd int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(d uintptr) { fd = int(d) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// delayed replies after 300 ms, or when the program has ended.
func delayed(s *rowRun, c *net.UDPConn) {
	from := s.datagram(c)
	select {
	case <-s.p.ended:
	case <-time.After(300 * time.Millisecond):
	}
	if _, err := c.WriteTo([]byte("answer"), from); err != nil {
		s.Fatal(err)
	}
}

// header notes the TTL and the TOS of a datagram.
func header(s *rowRun, c *net.UDPConn) {
	fd := descriptor(s.T, c)
	for _, option := range []int{unix.IP_RECVTTL, unix.IP_RECVTOS} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, option, 1); err != nil {
			s.Fatal(err)
		}
	}
	control := make([]byte, 512)
	_, n, _, _, err := c.ReadMsgUDP(make([]byte, 10), control)
	if err != nil {
		s.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		s.Fatal(err)
	}
	for _, m := range messages {
		switch m.Header.Type {
		case unix.IP_TTL:
			s.note("ttl %d ", m.Data[0])
		case unix.IP_TOS:
			s.note("tos %d ", m.Data[0])
		}
	}
}

// senders are two UDP sockets that send to PORT of 127.0.0.1 by turns.
func senders(s *rowRun) {
	s.names["PORT"] = freePort(s.T, "udp")
	s.start()
	if !s.bound("udp") {
		return
	}
	first, second := dialTest(s.T, "udp", "127.0.0.1:"+s.names["PORT"]), dialTest(s.T, "udp", "127.0.0.1:"+s.names["PORT"])
	writeAll(s.T, first, "one")
	s.p.waitOut("one")
	writeAll(s.T, second, "two")
	writeAll(s.T, first, "three")
	s.p.waitOut("three")
}

// sender is one that takes an answer.
func sender(s *rowRun) {
	s.names["PORT"] = freePort(s.T, "udp")
	s.start()
	if !s.bound("udp") {
		return
	}
	c := dialTest(s.T, "udp", "127.0.0.1:"+s.names["PORT"]).(*net.UDPConn)
	writeAll(s.T, c, "question")
	s.datagram(c)
	s.p.waitOut("question")
}

// socketServer is a listener on the Unix socket SOCKET.
func socketServer(f func(*rowRun, net.Conn)) func(*rowRun) {
	return func(s *rowRun) {
		path := filepath.Join(testkit.SocketDir(s.T), "s")
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			s.Fatal(err)
		}
		defer ln.Close()
		s.names["SOCKET"] = path
		s.start()
		_ = ln.SetDeadline(time.Now().Add(testkit.Patience))
		c, err := ln.Accept()
		if err != nil {
			s.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		f(s, c)
	}
}

// socketClient is a client of the Unix socket SOCKET.
func socketClient(prefix string, f func(*rowRun, net.Conn)) func(*rowRun) {
	return func(s *rowRun) {
		s.names["SOCKET"] = prefix + filepath.Join(testkit.SocketDir(s.T), "s")
		s.start()
		awaitUnix(s.T, s.names["SOCKET"])
		f(s, dialTest(s.T, "unix", s.names["SOCKET"]))
	}
}

// socketDatagrams is a Unix datagram socket at SOCKET that answers one
// datagram. OWN is the path that the program may have for its own.
func socketDatagrams(s *rowRun) {
	dir := testkit.SocketDir(s.T)
	s.names["SOCKET"], s.names["OWN"] = filepath.Join(dir, "s"), filepath.Join(dir, "own")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.names["SOCKET"], Net: "unixgram"})
	if err != nil {
		s.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	s.start()
	b := make([]byte, 100)
	n, from, err := c.ReadFrom(b)
	if err != nil {
		s.Fatal(err)
	}
	s.note("[%s]", b[:n])
	if from.String() == s.names["OWN"] {
		s.note(" from %s", from)
	}
	if _, err := c.WriteTo([]byte("answer"), from); err != nil {
		s.Fatal(err)
	}
	s.p.waitOut("answer")
}

// unixAnswers is answers over a Unix socket.
func unixAnswers(s *rowRun, c net.Conn) {
	s.take(c, len("hello"))
	s.rest(c)
	writeAll(s.T, c, "answer")
}

// unixSends is sends over a Unix socket.
func unixSends(s *rowRun, c net.Conn) {
	writeAll(s.T, c, "answer")
	_ = c.(*net.UnixConn).CloseWrite()
	s.rest(c)
}

// file is a file at SOCKET, and notes what is there afterwards.
func file(s *rowRun) {
	path := filepath.Join(s.names["DIR"], "file")
	testkit.WriteFile(s.T, path, "data")
	s.names["SOCKET"] = path
	s.start()
	testkit.Eventually(s.T, "the file is gone, or the program", func() bool {
		info, err := os.Lstat(path)
		return err == nil && info.Mode()&os.ModeSocket != 0 || ended(s.p)
	})
	if text, err := os.ReadFile(path); err == nil {
		s.note("%s", text)
	}
}

// nowhere is no socket.
func nowhere(s *rowRun) {
	s.names["SOCKET"] = filepath.Join(testkit.SocketDir(s.T), "s")
	s.start()
}

// large sends one datagram of 60,000 bytes.
func large(s *rowRun) {
	s.names["PORT"] = freePort(s.T, "udp")
	s.start()
	if s.bound("udp") {
		writeAll(s.T, dialTest(s.T, "udp", "127.0.0.1:"+s.names["PORT"]), testkit.Noise(60000))
	}
}
