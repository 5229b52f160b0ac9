package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// portOf returns the port of a HOST:PORT.
func portOf(addr string) (int, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

// freePort returns a port that the kernel says is free, for TCP or UDP. Not every peer can be told to take port 0.
func freePort(network string) (string, error) {
	var addr net.Addr
	if network == "udp" {
		c, err := net.ListenPacket("udp", ":0")
		if err != nil {
			return "", err
		}
		defer c.Close()
		addr = c.LocalAddr()
	} else {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			return "", err
		}
		defer l.Close()
		addr = l.Addr()
	}
	_, port, err := net.SplitHostPort(addr.String())
	return port, err
}

// waitReady waits until p listens on the address (a port, or the path of a Unix socket). It looks in /proc/PID/net
// and does not connect: most listeners here serve one connection only.
func waitReady(ctx context.Context, p *proc, network, where string) error {
	const patience, interval = 10 * time.Second, time.Millisecond
	deadline := time.Now().Add(patience)
	for {
		if p.exited() {
			return errors.Join(fmt.Errorf("ended before it listened: %s", p.said()), p.err)
		}
		ready, err := listening(p.pid, network, where)
		if ready || err != nil && !os.IsNotExist(err) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("does not listen after %v", patience)
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// listening says whether the network namespace of the process has a listener on the port or path.
func listening(pid int, network, where string) (bool, error) {
	if network == "unix" {
		return scanTable(pid, "unix", func(f []string) (found, last bool) {
			const acceptCon = "00010000" // __SO_ACCEPTCON
			return len(f) > 7 && f[3] == acceptCon && f[7] == where, false
		})
	}
	port, err := strconv.Atoi(where)
	if err != nil {
		return false, err
	}
	suffix := fmt.Sprintf(":%04X", port)
	for _, table := range []string{network, network + "6"} {
		found, err := scanTable(pid, table, func(f []string) (found, last bool) {
			const listen = "0A"
			if len(f) < 4 {
				return false, false
			}
			// Listeners come first in the TCP tables; behind them there may be thousands in TIME_WAIT.
			last = network == "tcp" && f[3] != listen
			return !last && strings.HasSuffix(f[1], suffix), last
		})
		if found || err != nil && !os.IsNotExist(err) {
			return found, err
		}
	}
	return false, nil
}

// scanTable goes over the lines of /proc/PID/net/NAME without its heading until one is found or the last.
func scanTable(pid int, name string, match func(fields []string) (found, last bool)) (bool, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name))
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan()
	for lines.Scan() {
		if found, last := match(strings.Fields(lines.Text())); found || last {
			return found, nil
		}
	}
	return false, lines.Err()
}
