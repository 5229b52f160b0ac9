package main

import (
	"errors"
	"net"
	"os"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// answer sends everything back on each connection, until it is killed. One thread serves all of them with few system
// calls: what it takes of the processors would otherwise be a large part of what a relay of short conversations takes.
// A message must fit the send buffer.
func answer(j job) (report, error) {
	l, err := net.Listen(j.Net, j.Addr)
	if err != nil {
		return report{}, err
	}
	listening, err := l.(*net.TCPListener).File()
	if err != nil {
		return report{}, err
	}
	own := int(listening.Fd())
	ready, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return report{}, os.NewSyscallError("epoll_create1", err)
	}
	watch := func(fd int) error {
		return os.NewSyscallError("epoll_ctl", unix.EpollCtl(ready, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	}
	if err := errors.Join(unix.SetNonblock(own, true), watch(own)); err != nil {
		return report{}, err
	}
	say(report{Ready: l.Addr().String(), Bad: -1})
	var events [64]unix.EpollEvent
	for {
		n, err := unix.EpollWait(ready, events[:], -1)
		if err != nil && err != unix.EINTR {
			return report{}, os.NewSyscallError("epoll_wait", err)
		}
		for i := range max(0, n) {
			fd := int(events[i].Fd)
			if fd != own {
				answerOnce(fd)
			} else if conn, _, err := unix.Accept4(own, unix.SOCK_CLOEXEC); err == nil {
				if err := watch(conn); err != nil {
					return report{}, err
				}
			}
		}
	}
}

// answerOnce sends back what has arrived on a connection, and closes it at its end.
func answerOnce(fd int) {
	var b [4 << 10]byte
	n, err := unix.Read(fd, b[:])
	if n > 0 {
		_, err = unix.Write(fd, b[:n])
	}
	if n == 0 || err != nil {
		unix.Close(fd)
	}
}

// udpAnswer answers each datagram in upper case, until it is killed.
func udpAnswer(j job) (report, error) {
	c, err := net.ListenPacket("udp4", j.Addr)
	if err != nil {
		return report{}, err
	}
	growBuffer(c.(*net.UDPConn))
	say(report{Ready: c.LocalAddr().String(), Bad: -1})
	pc := ipv4.NewPacketConn(c)
	in := batch(udpBatch, udpMax)
	out := make([]ipv4.Message, udpBatch)
	for {
		n, err := pc.ReadBatch(in, 0)
		if err != nil {
			return report{}, err
		}
		for i := range n {
			d := in[i].Buffers[0][:in[i].N]
			upperASCII(d)
			out[i] = ipv4.Message{Buffers: [][]byte{d}, Addr: in[i].Addr}
		}
		if err := sendBatch(pc, out[:n]); err != nil {
			return report{}, err
		}
	}
}
