package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// wireName is what the TUN devices of the relay are called in their namespaces.
const wireName = "wire0"

// wire is a line between two network namespaces for kernels without netem: what enters at Near leaves at Far after the
// delay, but for the part that is lost; the way back is immediate and whole.
func wire(j job) (report, error) {
	near, err := tun(j.Near)
	if err != nil {
		return report{}, err
	}
	far, err := tun(j.Far)
	if err != nil {
		return report{}, err
	}
	say(report{Ready: wireName, Bad: -1})
	const held = 4096 // packets on the line; far more than a window of 50 ms
	line := make(chan packet, held)
	go enter(near, line, j)
	go leave(far, line)
	go carry(far, near)
	nextStep() // its end is ours
	return report{Bad: -1}, nil
}

// A packet is on the line until it is due.
type packet struct {
	due  time.Time
	data []byte
}

// tunMTU is the largest packet (bytes); TUN adds nothing.
const tunMTU = 1500

// enter is the goroutine that takes packets from a device, loses some and puts the others on the line.
func enter(fd int, line chan<- packet, j job) {
	random := rand.New(rand.NewPCG(1, 2)) // the same losses in every run
	for {
		b := make([]byte, tunMTU)
		n, err := unix.Read(fd, b)
		if err != nil {
			time.Sleep(time.Millisecond) // the device is down yet
			continue
		}
		if random.Float64() < j.Loss {
			continue
		}
		select {
		case line <- packet{time.Now().Add(j.For), b[:n]}:
		default: // full: a router drops, too
		}
	}
}

// leave is the goroutine that writes packets to a device when they are due.
func leave(fd int, line <-chan packet) {
	for p := range line {
		time.Sleep(time.Until(p.due))
		unix.Write(fd, p.data) // what the device refuses is lost
	}
}

// carry is the goroutine that moves packets at once.
func carry(from, to int) {
	b := make([]byte, tunMTU)
	for {
		n, err := unix.Read(from, b)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		unix.Write(to, b[:n])
	}
}

// tun makes a TUN device in a network namespace.
func tun(netns string) (int, error) {
	there, err := os.Open("/run/netns/" + netns)
	if err != nil {
		return -1, err
	}
	defer there.Close()
	runtime.LockOSThread() // and never unlocked: the thread stays there and ends with its goroutine
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("entering %s: %w", netns, err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(wireName)
	if err != nil {
		return -1, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	return fd, os.NewSyscallError("TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
}
