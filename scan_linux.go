package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// scanEngine connects from one goroutine: non-blocking sockets and one epoll instance. Where the answer is immediate, as on
// loopback, a closed port costs two calls of connect on a socket that is used again for the next one. What remains
// is the kernel's work for a SYN and a RST, which is why one engine per processor pays.
type scanEngine struct {
	*scanRun
	ctx      context.Context
	epoll    int
	wake     int // an eventfd that ctx's end writes to
	most     int // connections in flight
	limit    int // the same as far as descriptors allow: falls when they run out, rises by one with each that is given back
	next     *atomic.Int64
	starved  time.Time // since when descriptors have been wanting; zero: they are not
	claimed  int       // index taken from order and not started, or -1
	flights  map[int]*scanFlight
	connects scanQueue // waiting for a connection, oldest first
	banners  scanQueue // connected and waiting for the first bytes
	buf      [scanBannerMost]byte
	spare4   int // sockets whose connection was refused, or -1
	spare6   int
	raw4     unix.RawSockaddrInet4
	raw6     unix.RawSockaddrInet6
}

// scanFlight is a connection under way.
type scanFlight struct {
	fd, index int
	start     time.Time
	deadline  time.Time
	rtt       time.Duration
	icmp      *probeICMP
	connected bool
	done      bool // closed and reported
}

// scanQueue holds flights whose deadlines ascend, because all of a queue have the same time to wait.
type scanQueue struct {
	flights []*scanFlight
	head    int
}

func (q *scanQueue) push(f *scanFlight) { q.flights = append(q.flights, f) }

// first returns the flight with the nearest deadline, or nil.
func (q *scanQueue) first(connected bool) *scanFlight {
	for ; q.head < len(q.flights); q.head++ {
		if f := q.flights[q.head]; !f.done && f.connected == connected {
			return f
		}
		q.flights[q.head] = nil
	}
	q.flights, q.head = q.flights[:0], 0
	return nil
}

// scanMostEngines bounds the engines: the work is the kernel's, and beyond a few they wait for each other's locks.
const scanMostEngines = 8

// connect asks every target.
func (s *scanRun) connect(ctx context.Context) error {
	n := min(runtime.GOMAXPROCS(0), scanMostEngines, s.o.parallel, max(1, len(s.order)))
	var next atomic.Int64
	var engines []*scanEngine // all, before one takes the descriptors that another one works with
	for i := range n {
		limit := s.o.parallel / n
		if i < s.o.parallel%n {
			limit++
		}
		e, err := s.newEngine(ctx, limit, &next)
		if err != nil {
			for _, e := range engines {
				e.close()
			}
			return err
		}
		engines = append(engines, e)
	}
	errs := make(chan error, n)
	for _, e := range engines {
		go func() { errs <- e.run() }()
	}
	var err error
	for range engines {
		err = errors.Join(err, <-errs)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// newEngine returns an engine that asks what it claims from order by counting next up, with limit connections in flight.
// Its run is to be called, or close.
func (s *scanRun) newEngine(ctx context.Context, limit int, next *atomic.Int64) (*scanEngine, error) {
	e := &scanEngine{scanRun: s, ctx: ctx, epoll: -1, wake: -1, most: limit, limit: limit, next: next, claimed: -1,
		flights: map[int]*scanFlight{}, spare4: -1, spare6: -1}
	var err error
	if e.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if e.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		e.close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := e.watch(e.wake, unix.EPOLLIN, unix.EPOLL_CTL_ADD); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// run asks until there are no more targets or ctx ends, and closes the engine.
func (e *scanEngine) run() error {
	defer e.close()
	woken := make(chan struct{})
	stop := context.AfterFunc(e.ctx, func() {
		defer close(woken)
		_, _ = unix.Write(e.wake, []byte{1, 0, 0, 0, 0, 0, 0, 1}) // a number in either byte order
	})
	defer func() {
		if !stop() { // it runs, and must not write to a descriptor that is somebody else's by then
			<-woken
		}
	}()
	return e.loop()
}

// close closes all that the engine has open.
func (e *scanEngine) close() {
	for fd := range e.flights {
		unix.Close(fd)
		e.inFlight.Add(-1)
	}
	for _, fd := range []int{e.spare4, e.spare6, e.wake, e.epoll} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (e *scanEngine) watch(fd int, events uint32, op int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

// claim returns the next target to start, or false if there are none left.
func (e *scanEngine) claim() (i int, ok bool) {
	if e.claimed < 0 {
		n := int(e.next.Add(1)) - 1
		if n >= len(e.order) {
			return 0, false
		}
		e.claimed = e.order[n]
	}
	return e.claimed, true
}

// loop runs until everything is reported or ctx ends.
func (e *scanEngine) loop() error {
	var events [256]unix.EpollEvent
	for more := true; more || len(e.flights) > 0; {
		for len(e.flights) < e.limit {
			if err := e.ctx.Err(); err != nil {
				return err
			}
			var i int
			if i, more = e.claim(); !more || !e.start(i) {
				break
			}
			e.claimed = -1
		}
		if len(e.flights) == 0 && !more {
			break
		}
		now := time.Now() // before: what comes while this engine is held up has come in time
		n, err := unix.EpollWait(e.epoll, events[:], e.patience())
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		if err := e.ctx.Err(); err != nil {
			return err
		}
		for i := range max(n, 0) {
			if f := e.flights[int(events[i].Fd)]; f != nil {
				e.ready(f)
			}
		}
		if n < len(events) { // or more of them are waiting, which have come in time as well
			e.expire(now)
		}
	}
	return nil
}

// patience returns how many milliseconds epoll may wait: until the first deadline.
func (e *scanEngine) patience() int {
	first := time.Minute
	if !e.starved.IsZero() {
		first = 10 * time.Millisecond // until another engine gives a descriptor back
	}
	if f := e.connects.first(false); f != nil {
		first = min(first, time.Until(f.deadline))
	}
	if f := e.banners.first(true); f != nil {
		first = min(first, time.Until(f.deadline))
	}
	return int(max(first+time.Millisecond-1, 0) / time.Millisecond)
}

// start opens a connection to target i. It returns false if the machine has nothing left for it and it must be tried again
// when another one has finished.
func (e *scanEngine) start(i int) bool {
	addr := e.targets[i].addr
	start := time.Now()
	fd, err := e.open(addr)
	if err != nil {
		if scanExhausted(err) && e.mayWait(start) {
			e.limit = max(1, len(e.flights))
			return false
		}
		state := scanJudge(err)
		if state == scanUnreachable { // at once: our own kernel knows no way
			state = scanFailed
		}
		e.report(i, scanResult{state: state, rtt: time.Since(start), err: err})
		return true
	}
	e.starved = time.Time{}
	// On loopback the answer is there by now, and asking for it is cheaper than waiting for it.
	err = e.reconnect(fd, addr)
	if err == unix.ECONNREFUSED && e.keep(fd, addr) {
		e.report(i, scanResult{state: scanClosed, rtt: time.Since(start), err: errScanRefused})
		return true
	}
	f := &scanFlight{fd: fd, index: i, start: start, deadline: start.Add(e.o.timeout)}
	if err = scanPending(fd, err); err != unix.EALREADY {
		e.connected(f, err)
		return true
	}
	if err := e.watch(f.fd, unix.EPOLLOUT|unix.EPOLLONESHOT, unix.EPOLL_CTL_ADD); err != nil {
		e.finish(f, scanFailed, err, nil)
		return true
	}
	e.launch(f)
	e.connects.push(f)
	return true
}

// launch counts f among those under way, until finish.
func (e *scanEngine) launch(f *scanFlight) {
	e.flights[f.fd] = f
	e.inFlight.Add(1)
}

// mayWait says whether what has run out may come back: for as long as a connection of this or another engine holds
// it, however long the others keep it to themselves, and a while longer, for whoever else has it. After that every
// target fails at once until one succeeds.
func (e *scanEngine) mayWait(now time.Time) bool {
	if e.starved.IsZero() || e.inFlight.Load() > 0 {
		e.starved = now
	}
	return now.Sub(e.starved) < e.o.timeout+time.Second
}

// errScanRefused is made once, as most ports of a scan are closed.
var errScanRefused = os.NewSyscallError("connect", unix.ECONNREFUSED)

// ready handles a socket that epoll says something about.
func (e *scanEngine) ready(f *scanFlight) {
	if f.connected {
		e.read(f)
		return
	}
	err := scanPending(f.fd, e.reconnect(f.fd, e.targets[f.index].addr))
	if err == unix.EALREADY {
		_ = e.watch(f.fd, unix.EPOLLOUT|unix.EPOLLONESHOT, unix.EPOLL_CTL_MOD)
		return
	}
	e.connected(f, err)
}

// connected handles the end of a connection attempt.
func (e *scanEngine) connected(f *scanFlight, err error) {
	f.rtt = time.Since(f.start)
	if err != nil {
		state := scanJudge(err)
		if state == scanUnreachable || state == scanFailed {
			if f.icmp = e.icmp(f.fd); f.icmp != nil {
				state = scanUnreachable // a prohibition over IPv6 is EACCES
			} else {
				state = scanFailed // our own kernel knows no way
			}
		}
		e.finish(f, state, os.NewSyscallError("connect", err), nil)
		return
	}
	if e.self(f) {
		// Without linger the port, which a server may want, would stay in TIME_WAIT.
		_ = unix.SetsockoptLinger(f.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		e.finish(f, scanClosed, errScanSelf, nil)
		return
	}
	if !e.o.banner {
		e.finish(f, scanOpen, nil, nil)
		return
	}
	op := unix.EPOLL_CTL_MOD
	if e.flights[f.fd] == nil {
		op = unix.EPOLL_CTL_ADD
	}
	if err := e.watch(f.fd, unix.EPOLLIN, op); err != nil {
		e.finish(f, scanOpen, nil, nil)
		return
	}
	f.connected, f.deadline = true, time.Now().Add(e.o.bannerWait)
	if e.flights[f.fd] == nil {
		e.launch(f)
	}
	e.banners.push(f)
}

// read takes the first bytes of an open port.
func (e *scanEngine) read(f *scanFlight) {
	n, err := unix.Read(f.fd, e.buf[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	e.finish(f, scanOpen, nil, append([]byte(nil), e.buf[:max(n, 0)]...))
}

// finish closes the connection and reports.
func (e *scanEngine) finish(f *scanFlight, state scanState, err error, banner []byte) {
	f.done = true
	if e.flights[f.fd] != nil {
		delete(e.flights, f.fd)
		e.inFlight.Add(-1)
	}
	unix.Close(f.fd)
	e.limit = min(e.most, e.limit+1)
	e.report(f.index, scanResult{state: state, rtt: f.rtt, err: err, icmp: f.icmp, banner: banner})
}

// expire ends what has had its time by now.
func (e *scanEngine) expire(now time.Time) {
	for f := e.connects.first(false); f != nil && !now.Before(f.deadline); f = e.connects.first(false) {
		f.rtt = now.Sub(f.start)
		e.finish(f, scanTimeout, os.NewSyscallError("connect", syscall.ETIMEDOUT), nil)
	}
	for f := e.banners.first(true); f != nil && !now.Before(f.deadline); f = e.banners.first(true) {
		e.finish(f, scanOpen, nil, nil)
	}
}
