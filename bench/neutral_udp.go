package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// udpBatch is how many datagrams one system call moves at most.
	udpBatch = 64
	// udpMax is the largest datagram (bytes).
	udpMax = 64 << 10
)

// batch makes n messages with buffers of size bytes.
func batch(n, size int) []ipv4.Message {
	msgs := make([]ipv4.Message, n)
	for i := range msgs {
		msgs[i].Buffers = [][]byte{make([]byte, size)}
	}
	return msgs
}

// sendBatch sends all the messages.
func sendBatch(pc *ipv4.PacketConn, msgs []ipv4.Message) error {
	for len(msgs) > 0 {
		n, err := pc.WriteBatch(msgs, 0)
		if err != nil {
			return err
		}
		msgs = msgs[n:]
	}
	return nil
}

// udpEcho keeps Window datagrams of Block bytes under way to an echo server that answers in upper case, for the
// given time. Each carries its number; every answer is compared. Count is the answers, Lost what had none.
func udpEcho(j job) (report, error) {
	conn, err := net.Dial("udp", j.Addr)
	if err != nil {
		return report{}, err
	}
	defer conn.Close()
	pc := ipv4.NewPacketConn(conn.(*net.UDPConn))
	e := &echoLoad{pc: pc, block: j.Block, out: batch(j.Window, j.Block), in: batch(udpBatch, udpMax),
		waiting: make(map[uint64]bool)}
	for i := range e.out {
		fillLower(e.out[i].Buffers[0])
	}
	r := report{Start: now(), Bad: -1}
	end := time.Now().Add(j.For)
	free := j.Window
	for {
		running := time.Now().Before(end)
		if running {
			if err := e.send(free); err != nil {
				return r, err
			}
		}
		if len(e.waiting) == 0 {
			break
		}
		conn.SetReadDeadline(time.Now().Add(j.Silence))
		free, err = e.receive()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			r.Lost += int64(len(e.waiting))
			clear(e.waiting)
			free = j.Window
			continue
		}
		if err != nil {
			return r, err
		}
		r.Count += int64(free)
		r.Last = now()
	}
	r.Bytes, r.Took = r.Count*int64(j.Block), time.Duration(r.Last-r.Start)
	return r, nil
}

// An echoLoad is the state of udpEcho.
type echoLoad struct {
	pc      *ipv4.PacketConn
	block   int
	next    uint64 // number of the next datagram
	waiting map[uint64]bool
	out, in []ipv4.Message
}

// fillLower fills b with lower-case letters.
func fillLower(b []byte) {
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
}

// numberLen is the length of the number at the start of each datagram (hexadecimal digits).
const numberLen = 16

// send sends n new datagrams.
func (e *echoLoad) send(n int) error {
	for i := range n {
		putNumber(e.out[i].Buffers[0], e.next)
		e.waiting[e.next] = true
		e.next++
	}
	return sendBatch(e.pc, e.out[:n])
}

// receive takes the answers that are there and returns how many.
func (e *echoLoad) receive() (int, error) {
	n, err := e.pc.ReadBatch(e.in, 0)
	if err != nil {
		return 0, err
	}
	for i := range n {
		answer := e.in[i].Buffers[0][:e.in[i].N]
		if len(answer) != e.block {
			return 0, fmt.Errorf("an answer of %d bytes to %d bytes", len(answer), e.block)
		}
		number, err := number(answer)
		if err != nil || !e.waiting[number] {
			return 0, fmt.Errorf("an answer to nothing that was asked: %q", answer[:numberLen])
		}
		delete(e.waiting, number)
		for k, c := range answer[numberLen:] {
			if c != 'A'+byte((numberLen+k)%26) {
				return 0, fmt.Errorf("wrong answer at byte %d", numberLen+k)
			}
		}
	}
	return n, nil
}

// putNumber writes the number in lower-case hexadecimal digits.
func putNumber(b []byte, n uint64) {
	const digits = "0123456789abcdef"
	for i := range numberLen {
		b[numberLen-1-i] = digits[n&15]
		n >>= 4
	}
}

// number reads back what putNumber wrote, now in upper case.
func number(b []byte) (uint64, error) {
	var n uint64
	for _, c := range b[:numberLen] {
		if 'a' <= c && c <= 'f' {
			return 0, errors.New("not in upper case")
		}
	}
	var raw [numberLen / 2]byte
	if _, err := hex.Decode(raw[:], b[:numberLen]); err != nil {
		return 0, err
	}
	for _, c := range raw {
		n = n<<8 | uint64(c)
	}
	return n, nil
}

// udpSink takes datagrams until Size bytes have come or none comes any more. Its receive buffer holds the whole
// run, so that what the kernel took from the sender is never dropped here.
func udpSink(j job) (report, error) {
	c, err := net.ListenPacket("udp", j.Addr)
	if err != nil {
		return report{}, err
	}
	defer c.Close()
	conn := c.(*net.UDPConn)
	growBuffer(conn)
	say(report{Ready: c.LocalAddr().String(), Bad: -1})
	pc := ipv4.NewPacketConn(c)
	flags, room := unix.MSG_TRUNC, 64 // the length without the bytes
	if j.Check {
		flags, room = 0, udpMax
	}
	in := batch(udpBatch, room)
	check := newVerifier(false)
	r := report{Bad: -1}
	for r.Bytes < j.Size {
		if r.Count > 0 {
			conn.SetReadDeadline(time.Now().Add(j.Silence))
		}
		n, err := pc.ReadBatch(in, flags)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return r, err
		}
		r.Last = now()
		if r.First == 0 {
			r.First = r.Last
		}
		for i := range n {
			r.Bytes += int64(in[i].N)
			if j.Check {
				check.Write(in[i].Buffers[0][:in[i].N])
			}
		}
		r.Count += int64(n)
	}
	r.Start, r.Bad = r.First, check.bad
	return r, nil
}

// growBuffer makes the receive buffer 1 GiB if we may, else as large as the system allows.
func growBuffer(conn *net.UDPConn) {
	const size = 1 << 30
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		}
	})
}

// udpFeed sends the stream in datagrams of Block bytes to a program that writes them into the pipe on our stdin.
// No more than Window are under way, counted to the pipe's end: what a default receive buffer holds, so that the
// kernel never drops one.
func udpFeed(j job) (report, error) {
	conn, err := net.Dial("udp", j.Addr)
	if err != nil {
		return report{}, err
	}
	defer conn.Close()
	var drained atomic.Int64
	moved := make(chan struct{}, 1)
	done := make(chan report, 1)
	go func() { done <- drainCounting(j, &drained, moved) }()

	pc := ipv4.NewPacketConn(conn.(*net.UDPConn))
	out := make([]ipv4.Message, j.Window)
	s := newStream(false)
	window := int64(j.Window * j.Block)
	start := now()
	var sent, count int64
	silence := time.NewTimer(j.Silence)
	for sent < j.Size {
		n := 0
		for ; sent < j.Size && sent-drained.Load()+int64(j.Block) <= window && n < len(out); n++ {
			out[n].Buffers = [][]byte{s.at(sent, int(min(int64(j.Block), j.Size-sent)))}
			sent += int64(len(out[n].Buffers[0]))
		}
		if err := sendBatch(pc, out[:n]); err != nil {
			return report{}, err
		}
		count += int64(n)
		silence.Reset(j.Silence)
		if sent < j.Size {
			select {
			case <-moved:
			case <-silence.C:
				return report{}, fmt.Errorf("only %d of %d bytes came out", drained.Load(), sent)
			}
		}
	}
	var r report
	select {
	case r = <-done:
	case <-time.After(j.Silence):
		return report{}, fmt.Errorf("only %d of %d bytes came out", drained.Load(), sent)
	}
	r.Start, r.Count = start, count
	return r, nil
}

// drainCounting is the goroutine that empties the pipe on stdin until all bytes have come, and tells the sender.
func drainCounting(j job, drained *atomic.Int64, moved chan<- struct{}) report {
	r := report{Bad: -1}
	check := newVerifier(false)
	b := make([]byte, maxBlock)
	for r.Bytes < j.Size {
		n, err := unix.Read(0, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			break
		}
		if j.Check {
			check.Write(b[:n])
		}
		r.Bytes += int64(n)
		drained.Store(r.Bytes)
		select {
		case moved <- struct{}{}:
		default:
		}
	}
	r.Last, r.Bad = now(), check.bad
	return r
}
