package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The neutral ends of stream rows work on blocking descriptors with plain system calls: one call moves as much as
// the kernel gives, and no poller stands in between.

const (
	// feedBlock is what a feeder writes to a pipe at once (bytes): what cat writes.
	feedBlock = 128 << 10
	// sourceBlock is what a source writes to a socket at once (bytes).
	sourceBlock = 256 << 10
	// discard is the most that one call throws away (bytes).
	discard = 1 << 20
)

// blocking returns a descriptor of its own for the connection, in blocking mode, and closes the connection.
func blocking(conn net.Conn) (int, error) {
	defer conn.Close()
	f, err := conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return -1, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, unix.SetNonblock(fd, false)
}

// acceptOne listens, says where, and returns the first connection.
func acceptOne(j job) (int, error) {
	l, err := net.Listen(j.Net, j.Addr)
	if err != nil {
		return -1, err
	}
	defer l.Close()
	say(report{Ready: l.Addr().String(), Bad: -1})
	conn, err := l.Accept()
	if err != nil {
		return -1, err
	}
	return blocking(conn)
}

// feed writes the stream to stdout, Block bytes at a time.
func feed(j job) (report, error) {
	r := report{Start: now(), Bad: -1}
	sent, err := pour(1, j.Size, j.Block)
	r.Bytes, r.Last = sent, now()
	unix.Close(1)
	return r, err
}

// pour writes size bytes of the stream to fd, block bytes at a time.
func pour(fd int, size int64, block int) (int64, error) {
	s := newStream(false)
	var sent int64
	for sent < size {
		p := s.at(sent, int(min(size-sent, int64(block))))
		for len(p) > 0 {
			n, err := unix.Write(fd, p)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return sent, os.NewSyscallError("write", err)
			}
			sent += int64(n)
			p = p[n:]
		}
	}
	return sent, nil
}

// drain empties the pipe on stdin until its end.
func drain(j job) (report, error) {
	if j.Check {
		return swallow(0, j, readInto(0))
	}
	null, err := unix.Open("/dev/null", unix.O_WRONLY, 0)
	if err != nil {
		return report{}, err
	}
	return swallow(0, j, func([]byte) (int, error) {
		n, err := unix.Splice(0, nil, null, nil, discard, 0)
		return int(n), err
	})
}

// sink accepts one connection and throws away what comes, until its end.
func sink(j job) (report, error) {
	fd, err := acceptOne(j)
	if err != nil {
		return report{}, err
	}
	return swallow(fd, j, taking(fd, j))
}

// taking returns the cheapest way to take bytes from a socket. TCP can drop them without copying them.
func taking(fd int, j job) func([]byte) (int, error) {
	if j.Check || j.Net != "tcp" {
		return readInto(fd)
	}
	return func(b []byte) (int, error) {
		n, _, err := unix.Recvfrom(fd, b, unix.MSG_TRUNC)
		return n, err
	}
}

// readInto returns read on fd.
func readInto(fd int) func([]byte) (int, error) {
	return func(b []byte) (int, error) { return unix.Read(fd, b) }
}

// swallow takes bytes until the end and closes fd. Start is now, Last the moment when the expected size was there.
func swallow(fd int, j job, take func([]byte) (int, error)) (report, error) {
	r := report{Start: now(), Bad: -1}
	check := newVerifier(j.Upper)
	b := make([]byte, discard)
	if j.Check || j.Net == "unix" {
		b = b[:maxBlock] // this one is really filled, and should stay in the cache
	}
	for {
		n, err := take(b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return r, os.NewSyscallError("receive", err)
		}
		if n == 0 {
			break
		}
		if r.Bytes == 0 {
			r.First = now()
		}
		if j.Check {
			check.Write(b[:n])
		}
		r.Bytes += int64(n)
		if r.Bytes >= j.Size && r.Last == 0 {
			r.Last = now()
		}
	}
	if r.Last == 0 {
		r.Last = now()
	}
	r.Bad = check.bad
	return r, unix.Close(fd)
}

// source dials, sends the stream, half-closes and waits for the other end to close.
func source(j job) (report, error) {
	conn, err := net.Dial(j.Net, j.Addr)
	if err != nil {
		return report{}, err
	}
	fd, err := blocking(conn)
	if err != nil {
		return report{}, err
	}
	r := report{Start: now(), Bad: -1}
	r.Bytes, err = pour(fd, j.Size, sourceBlock)
	if err != nil {
		return r, err
	}
	r.Last = now()
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return r, os.NewSyscallError("shutdown", err)
	}
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	// A program that never reads what it was sent back may reset; what counts is what it wrote out.
	if n > 0 {
		return r, fmt.Errorf("%d bytes came back that nobody sent", n)
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return r, os.NewSyscallError("read", err)
	}
	return r, nil
}

// duplex accepts one connection, sends the stream and takes what comes, both at once. It closes when both are done
// and the parent says go; no program needs to know half-close for it.
func duplex(j job) (report, error) {
	fd, err := acceptOne(j)
	if err != nil {
		return report{}, err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := pour(fd, j.Size, sourceBlock)
		sent <- err
	}()
	r, err := takeExactly(fd, j)
	if err != nil {
		return r, err
	}
	if err := <-sent; err != nil {
		return r, err
	}
	say(r)
	if err := nextStep(); err != nil {
		return r, err
	}
	return r, unix.Close(fd)
}

// takeExactly takes j.Size bytes from a socket, not waiting for its end.
func takeExactly(fd int, j job) (report, error) {
	r := report{Start: now(), Bad: -1}
	check := newVerifier(j.Upper)
	take := taking(fd, j)
	b := make([]byte, maxBlock)
	for r.Bytes < j.Size {
		n, err := take(b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return r, os.NewSyscallError("receive", err)
		}
		if n == 0 {
			return r, checkBytes(r.Bytes, j.Size, -1)
		}
		if j.Check {
			check.Write(b[:n])
		}
		r.Bytes += int64(n)
	}
	r.Last, r.Bad = now(), check.bad
	return r, nil
}
