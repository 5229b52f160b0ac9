package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// messages sends messages of Block bytes to an echo server, with Window of them under way at once, and reads them
// back, for the given time or until Size bytes are back. The time is from the first byte sent to the last back.
func messages(j job) (report, error) {
	conn, err := net.Dial(j.Net, j.Addr)
	if err != nil {
		return report{}, err
	}
	fd, err := blocking(conn)
	if err != nil {
		return report{}, err
	}
	link := os.NewFile(uintptr(fd), "connection")
	defer link.Close()
	r := report{Start: now(), Bad: -1}
	m := &talk{job: j, link: link, out: newStream(false), end: r.Start + int64(j.For),
		slots: make(chan struct{}, j.Window), failed: make(chan error, 1)}
	if j.Window > 1 {
		go m.sendAll() // in its own goroutine, so that neither side waits for the other with full buffers
	}
	back := newVerifier(j.Upper)
	b := make([]byte, j.Block)
	for {
		if j.Window == 1 && !m.sendNext() {
			break
		}
		if _, open := <-m.slots; !open {
			break
		}
		if _, err := io.ReadFull(link, b); err != nil {
			return r, errors.Join(fmt.Errorf("after %d bytes: %w", r.Bytes, err), m.failure())
		}
		if j.Check {
			back.Write(b)
		}
		r.Bytes += int64(len(b))
		r.Last = now()
	}
	r.Bad, r.Took = back.bad, time.Duration(r.Last-r.Start)
	return r, m.failure()
}

// A talk is the sending side of messages.
type talk struct {
	job
	link   *os.File
	out    *stream
	end    int64         // when to stop (CLOCK_MONOTONIC, ns)
	sent   int64         // bytes
	slots  chan struct{} // one element per message under way; closed when the last has been sent
	failed chan error
}

// sendAll is the goroutine that sends as long as there is room in the window.
func (m *talk) sendAll() {
	defer close(m.slots)
	for m.sendNext() {
	}
}

// sendNext sends one message and says whether it did: it does not when the time is over or all is sent.
func (m *talk) sendNext() bool {
	if m.sent >= m.Size || now() >= m.end {
		return false
	}
	m.slots <- struct{}{}
	if _, err := m.link.Write(m.out.at(m.sent, m.Block)); err != nil {
		m.failed <- err
		return false
	}
	m.sent += int64(m.Block)
	return true
}

// failure is why sending failed, if it did.
func (m *talk) failure() error {
	select {
	case err := <-m.failed:
		return err
	default:
		return nil
	}
}

// pingpong sends Count single bytes, each when the answer to the one before is there. Took is the median of the
// round trips.
func pingpong(j job) (report, error) {
	conn, err := net.Dial(j.Net, j.Addr)
	if err != nil {
		return report{}, err
	}
	fd, err := blocking(conn)
	if err != nil {
		return report{}, err
	}
	defer unix.Close(fd)
	trips := make([]int64, j.Count)
	r := report{Start: now(), Bad: -1}
	for i := range trips {
		b := []byte{'a' + byte(i%26)}
		want := bytes.ToUpper(b)
		start := now()
		if _, err := unix.Write(fd, b); err != nil {
			return r, os.NewSyscallError("write", err)
		}
		n, err := unix.Read(fd, b)
		trips[i] = now() - start
		switch {
		case err != nil:
			return r, os.NewSyscallError("read", err)
		case n == 0:
			return r, fmt.Errorf("closed after %d round trips", i)
		case b[0] != want[0]:
			r.Bad = int64(i)
			return r, nil
		}
		r.Bytes++
		r.Count++
	}
	slices.Sort(trips)
	r.Last, r.Took = now(), time.Duration(trips[len(trips)/2])
	return r, nil
}

// loopbacks is how many addresses of 127/8 connections are spread over, so that neither the ephemeral ports nor
// the connections in TIME_WAIT become the measure.
const loopbacks = 200

// dialLoopback opens a blocking TCP connection to a port on the i-th loopback address.
func dialLoopback(port, i int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	patience := unix.Timeval{Sec: 5}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience)
	to := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, byte(1 + i%loopbacks)}}
	if err := unix.Connect(fd, to); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// exchange sends a message of its own (number i) on fd and reads it back.
func exchange(fd, i int) error {
	var b, back [32]byte
	fillMessage(b[:], i)
	if _, err := unix.Write(fd, b[:]); err != nil {
		return os.NewSyscallError("write", err)
	}
	return expectMessage(fd, back[:], i)
}

// fillMessage makes the message with number i.
func fillMessage(b []byte, i int) {
	copy(b, "a message of thirty-two bytes...")
	binary.BigEndian.PutUint32(b, uint32(i))
}

// expectMessage reads the message with number i from fd.
func expectMessage(fd int, b []byte, i int) error {
	for got := 0; got < len(b); {
		n, err := unix.Read(fd, b[got:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if n == 0 {
			return fmt.Errorf("closed before its answer")
		}
		got += n
	}
	want := make([]byte, len(b))
	fillMessage(want, i)
	if !bytes.Equal(b, want) {
		return fmt.Errorf("wrong answer to message %d", i)
	}
	return nil
}

// connects opens connections one after the other in each of Workers threads, for the given time: connect, one
// message there and back, close. Count is how many were served, Lost how many failed.
func connects(j job) (report, error) {
	port, err := portOf(j.Addr)
	if err != nil {
		return report{}, err
	}
	var mu sync.Mutex
	var workers sync.WaitGroup
	r := report{Start: now(), Bad: -1}
	var failure error
	for w := range j.Workers {
		workers.Go(func() {
			served, err := connectLoop(port, w, j)
			mu.Lock()
			defer mu.Unlock()
			r.Count += served
			if err != nil {
				r.Lost++
				failure = err
			}
		})
	}
	workers.Wait()
	r.Last = now()
	r.Took = time.Duration(r.Last - r.Start)
	return r, failure
}

// connectLoop is one worker of connects. It stops at the first failure.
func connectLoop(port, worker int, j job) (served int64, err error) {
	deadline := now() + int64(j.For)
	for i := worker; now() < deadline; i += j.Workers {
		fd, err := dialLoopback(port, i)
		if err != nil {
			return served, err
		}
		err = exchange(fd, i)
		unix.Close(fd)
		if err != nil {
			return served, err
		}
		served++
	}
	return served, nil
}

// idle opens Count connections, lets them be, and at the parent's word lets all speak at once. It reports three
// times: when all are open (Took: the opening), when all were answered (Took: from the first word to the last
// answer), and after the next step, having closed them.
func idle(j job) (report, error) {
	port, err := portOf(j.Addr)
	if err != nil {
		return report{}, err
	}
	r := report{Start: now(), Bad: -1}
	fds := make([]int, j.Count)
	for i := range fds {
		if fds[i], err = dialLoopback(port, i); err != nil {
			return r, fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	r.Count, r.Took = int64(len(fds)), time.Duration(now()-r.Start)
	say(r)
	if err := nextStep(); err != nil {
		return r, err
	}
	start := now()
	var b [32]byte
	for i, fd := range fds {
		fillMessage(b[:], i)
		if _, err := unix.Write(fd, b[:]); err != nil {
			return r, os.NewSyscallError("write", err)
		}
	}
	for i, fd := range fds {
		if err := expectMessage(fd, b[:], i); err != nil {
			return r, fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	r.Took = time.Duration(now() - start)
	say(r)
	if err := nextStep(); err != nil {
		return r, err
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	return r, nil
}
