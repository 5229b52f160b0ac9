//go:build !linux

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"purr/internal/sys"
)

// connect asks every target, each from a goroutine of its own.
func (s *scanRun) connect(ctx context.Context) error {
	places := make(chan struct{}, s.o.parallel)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, i := range s.order {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		wg.Go(func() {
			defer func() { <-places }()
			s.patiently(ctx, i)
		})
	}
	return nil
}

// patiently reports target i, and waits for descriptors while there are none: others give theirs back.
func (s *scanRun) patiently(ctx context.Context, i int) {
	giveUp := time.Now().Add(2 * s.o.timeout)
	for wait := 5 * time.Millisecond; !s.try(ctx, i, time.Now().After(giveUp)); wait = min(2*wait, time.Second) {
		if !sys.Sleep(ctx, wait) {
			return
		}
	}
}

// try connects to target i and reports, unless descriptors have run out and it is not the last try.
func (s *scanRun) try(ctx context.Context, i int, last bool) (done bool) {
	dialer := net.Dialer{Timeout: s.o.timeout, KeepAlive: -1}
	if from := sourceFor(s.o.source, s.targets[i].addr); from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(from)
	}
	start := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", s.targets[i].addr.String())
	rtt := time.Since(start)
	if ctx.Err() != nil {
		if conn != nil {
			conn.Close()
		}
		return true
	}
	if err != nil {
		if scanExhausted(err) && !last {
			return false
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			s.report(i, scanResult{state: scanTimeout, rtt: rtt, err: os.ErrDeadlineExceeded})
		} else {
			s.report(i, scanResult{state: scanJudge(err), rtt: rtt, err: err})
		}
		return true
	}
	defer conn.Close()
	if local := conn.LocalAddr().(*net.TCPAddr); local.AddrPort() == conn.RemoteAddr().(*net.TCPAddr).AddrPort() {
		conn.(*net.TCPConn).SetLinger(0)
		s.report(i, scanResult{state: scanClosed, rtt: rtt, err: errScanSelf})
		return true
	}
	var banner []byte
	if s.o.banner {
		b := make([]byte, scanBannerMost)
		_ = conn.SetReadDeadline(time.Now().Add(s.o.bannerWait))
		n, _ := conn.Read(b)
		banner = b[:n]
	}
	s.report(i, scanResult{state: scanOpen, rtt: rtt, banner: banner})
	return true
}
