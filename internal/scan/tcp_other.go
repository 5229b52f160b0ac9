//go:build !linux

package scan

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"purr/internal/sys"
)

// run connects to every target from a goroutine of its own.
func (s *tcpScan) run(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(s.o.Parallel)
	for _, i := range s.order {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			s.retry(ctx, i)
			return nil
		})
	}
	return group.Wait()
}

// retry reports target i. While this machine is out of descriptors, it tries
// again, for about twice the timeout; then the error is the result. If ctx
// ends, it reports nothing.
func (s *tcpScan) retry(ctx context.Context, i int) {
	giveUp := time.Now().Add(2 * s.o.Timeout)
	for wait := 5 * time.Millisecond; !s.try(ctx, i, time.Now().After(giveUp)); wait = min(2*wait, time.Second) {
		if !sys.Sleep(ctx, wait) {
			return
		}
	}
}

// try connects to target i and reports the result. It returns false, without a
// report, if this machine is out of descriptors and this is not the last try.
// If ctx ends, it returns true without a report.
func (s *tcpScan) try(ctx context.Context, i int, last bool) (done bool) {
	dialer := net.Dialer{Timeout: s.o.Timeout, KeepAlive: -1}
	if from := sourceFor(s.o.Source, s.targets[i].Addr); from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(from)
	}
	start := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", s.targets[i].Addr.String())
	rtt := time.Since(start)
	if ctx.Err() != nil {
		if conn != nil {
			conn.Close()
		}
		return true
	}
	if err != nil {
		if exhausted(err) && !last {
			return false
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			s.report(i, Result{State: NoAnswer, RTT: rtt, Err: os.ErrDeadlineExceeded})
		} else {
			s.report(i, Result{State: stateOf(err), RTT: rtt, Err: err})
		}
		return true
	}
	defer conn.Close()
	if local := conn.LocalAddr().(*net.TCPAddr); local.AddrPort() == conn.RemoteAddr().(*net.TCPAddr).AddrPort() {
		conn.(*net.TCPConn).SetLinger(0)
		s.report(i, Result{State: Closed, RTT: rtt, Err: errSelfConnect})
		return true
	}
	var banner []byte
	if s.o.Banner {
		banner = s.banner(ctx, conn)
		if ctx.Err() != nil {
			return true
		}
	}
	s.report(i, Result{State: Open, RTT: rtt, Reply: banner})
	return true
}

// banner returns the first bytes that arrive within BannerWait, at most
// MaxBanner; none if nothing arrives or ctx ends.
func (s *tcpScan) banner(ctx context.Context, conn net.Conn) []byte {
	_ = conn.SetReadDeadline(time.Now().Add(s.o.BannerWait))
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	b := make([]byte, MaxBanner)
	n, _ := conn.Read(b)
	return b[:n]
}
