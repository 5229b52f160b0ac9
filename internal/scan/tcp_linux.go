package scan

import (
	"context"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// An engine connects from one goroutine, with non-blocking sockets and one
// epoll instance. If the answer is immediate, as on loopback, a closed port
// costs two calls of connect(2) on a socket that serves the next port too. The
// rest is the kernel's work for a SYN and a RST, so one engine for each
// processor pays.
type engine struct {
	*tcpScan
	ctx   context.Context
	epoll int
	wake  int // an eventfd that the end of ctx writes to

	most  int // attempts in flight
	limit int // most, or less while descriptors are short: falls when they run out, rises with each that is given back

	next      *atomic.Int64 // index into order, shared by all engines
	claimed   int           // target taken from order and not yet started, or -1
	outOfFDs  time.Time     // since when descriptors are short; zero: they are not
	attempts  map[int]*attempt
	connects  attemptQueue // without a connection
	banners   attemptQueue // connected, without a banner
	buf       [MaxBanner]byte
	spare4    int // sockets for the next attempt, or -1
	spare6    int
	sockaddr4 unix.RawSockaddrInet4
	sockaddr6 unix.RawSockaddrInet6
}

// An attempt is a connection in flight.
type attempt struct {
	fd, target int
	start      time.Time
	deadline   time.Time
	rtt        time.Duration
	icmp       *ICMP
	connected  bool
	done       bool // closed and reported
}

// An attemptQueue holds attempts in the order of their deadlines, because all
// of a queue wait for the same time.
type attemptQueue struct {
	attempts []*attempt
	head     int
}

// push appends a, whose deadline is not before those of the queue.
func (q *attemptQueue) push(a *attempt) { q.attempts = append(q.attempts, a) }

// first returns the attempt with the nearest deadline, or nil. It drops
// attempts that are done, and those whose connected differs from the argument:
// they have moved on to the other queue.
func (q *attemptQueue) first(connected bool) *attempt {
	for ; q.head < len(q.attempts); q.head++ {
		if a := q.attempts[q.head]; !a.done && a.connected == connected {
			return a
		}
		q.attempts[q.head] = nil
	}
	q.attempts, q.head = q.attempts[:0], 0
	return nil
}

// maxEngines bounds the engines: more of them only wait for the kernel's locks.
const maxEngines = 8

// run connects to every target, with one engine for each processor up to
// maxEngines. The error is of the first engine that failed.
func (s *tcpScan) run(ctx context.Context) error {
	n := min(runtime.GOMAXPROCS(0), maxEngines, s.o.Parallel, max(1, len(s.order)))
	var next atomic.Int64
	var engines []*engine // all, before the sockets of one take the descriptors that another one needs
	for i := range n {
		limit := s.o.Parallel / n
		if i < s.o.Parallel%n {
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
	var group errgroup.Group
	for _, e := range engines {
		group.Go(e.run)
	}
	return group.Wait()
}

// newEngine returns an engine with limit attempts in flight, which shares next
// with the others. The caller must call run or close.
func (s *tcpScan) newEngine(ctx context.Context, limit int, next *atomic.Int64) (*engine, error) {
	e := &engine{tcpScan: s, ctx: ctx, epoll: -1, wake: -1, most: limit, limit: limit, next: next, claimed: -1,
		attempts: map[int]*attempt{}, spare4: -1, spare6: -1}
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

// run works until no targets are left or ctx ends. It closes the engine.
func (e *engine) run() error {
	defer e.close()
	woken := make(chan struct{})
	stop := context.AfterFunc(e.ctx, func() {
		defer close(woken)
		_, _ = unix.Write(e.wake, []byte{1, 0, 0, 0, 0, 0, 0, 1}) // not zero in either byte order
	})
	defer func() {
		if !stop() { // it must not write to the descriptor after close, which may belong to something else by then
			<-woken
		}
	}()
	return e.loop()
}

// close closes all descriptors of the engine, and the connections in flight.
func (e *engine) close() {
	for fd := range e.attempts {
		unix.Close(fd)
		e.inFlight.Add(-1)
	}
	for _, fd := range []int{e.spare4, e.spare6, e.wake, e.epoll} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// watch adds fd to the epoll set or changes its events: op is EPOLL_CTL_ADD or
// EPOLL_CTL_MOD.
func (e *engine) watch(fd int, events uint32, op int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

// claim returns the target to start next. If the last start was out of
// descriptors, that is the same target again (claimed). Otherwise it is the
// next one in order, which becomes claimed until loop has started it. ok is
// false if no target is left.
func (e *engine) claim() (target int, ok bool) {
	if e.claimed < 0 {
		n := int(e.next.Add(1)) - 1
		if n >= len(e.order) {
			return 0, false
		}
		e.claimed = e.order[n]
	}
	return e.claimed, true
}

// loop runs until every target is reported or ctx ends.
func (e *engine) loop() error {
	var events [256]unix.EpollEvent
	for more := true; more || len(e.attempts) > 0; {
		for len(e.attempts) < e.limit {
			if err := e.ctx.Err(); err != nil {
				return err
			}
			var target int
			if target, more = e.claim(); !more || !e.start(target) {
				break
			}
			e.claimed = -1
		}
		if len(e.attempts) == 0 && !more {
			break
		}
		examined := time.Now()
		n, err := unix.EpollWait(e.epoll, events[:], e.timeout())
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		if err := e.ctx.Err(); err != nil {
			return err
		}
		for i := range max(n, 0) {
			if a := e.attempts[int(events[i].Fd)]; a != nil {
				e.ready(a)
			}
		}
		if n < len(events) { // else more events may be waiting, and nothing has timed out
			e.expire(examined)
		}
	}
	return nil
}

// timeout returns how long epoll_wait may wait, in milliseconds: until the
// first deadline, but at most a minute. While descriptors are short, it is at
// most 10 ms.
func (e *engine) timeout() int {
	first := time.Minute
	if !e.outOfFDs.IsZero() {
		first = 10 * time.Millisecond // another engine may give one back
	}
	if a := e.connects.first(false); a != nil {
		first = min(first, time.Until(a.deadline))
	}
	if a := e.banners.first(true); a != nil {
		first = min(first, time.Until(a.deadline))
	}
	return int(max(first+time.Millisecond-1, 0) / time.Millisecond)
}

// start opens a connection to target i. If the outcome is known at once, start
// reports it. It returns false if this machine is out of descriptors: the
// target must be started again later.
func (e *engine) start(i int) bool {
	addr := e.targets[i].Addr
	start := time.Now()
	fd, err := e.open(addr)
	if err != nil {
		if exhausted(err) && e.mayWait(start) {
			e.limit = max(1, len(e.attempts))
			return false
		}
		state := stateOf(err)
		if state == Filtered { // at once, so it is this machine that has no route
			state = LocalError
		}
		e.report(i, Result{State: state, RTT: time.Since(start), Err: err})
		return true
	}
	e.outOfFDs = time.Time{}
	// On loopback the answer is there by now, and connect(2) is cheaper than
	// epoll.
	err = e.connect(fd, addr)
	if err == unix.ECONNREFUSED && e.recycle(fd, addr) {
		e.report(i, Result{State: Closed, RTT: time.Since(start), Err: errRefused})
		return true
	}
	a := &attempt{fd: fd, target: i, start: start, deadline: start.Add(e.o.Timeout)}
	if err = softError(fd, err); err != unix.EALREADY {
		e.connected(a, err)
		return true
	}
	if err := e.watch(fd, unix.EPOLLOUT|unix.EPOLLONESHOT, unix.EPOLL_CTL_ADD); err != nil {
		e.finish(a, LocalError, err, nil)
		return true
	}
	e.track(a)
	e.connects.push(a)
	return true
}

// errRefused is allocated once, as most ports of a scan are closed.
var errRefused = os.NewSyscallError("connect", unix.ECONNREFUSED)

// track counts a among those in flight, until finish.
func (e *engine) track(a *attempt) {
	e.attempts[a.fd] = a
	e.inFlight.Add(1)
}

// mayWait reports whether to retry a target for which there was no descriptor.
// It is true while any engine has connections in flight, which give descriptors
// back. After that it is true for a grace period, in which other users of
// descriptors may do so. Then every target fails at once until one succeeds.
// e.outOfFDs is when the grace period began.
func (e *engine) mayWait(now time.Time) bool {
	if e.outOfFDs.IsZero() || e.inFlight.Load() > 0 {
		e.outOfFDs = now
	}
	return now.Sub(e.outOfFDs) < e.o.Timeout+time.Second
}

// ready handles an epoll event of a: its banner has come, or connect(2) has an
// outcome.
func (e *engine) ready(a *attempt) {
	if a.connected {
		e.read(a)
		return
	}
	err := softError(a.fd, e.connect(a.fd, e.targets[a.target].Addr))
	if err == unix.EALREADY {
		_ = e.watch(a.fd, unix.EPOLLOUT|unix.EPOLLONESHOT, unix.EPOLL_CTL_MOD)
		return
	}
	e.connected(a, err)
}

// connected handles the outcome err of a connection attempt, nil for an open
// port. It finishes the attempt, or begins to wait for the banner.
func (e *engine) connected(a *attempt, err error) {
	a.rtt = time.Since(a.start)
	if err != nil {
		state := stateOf(err)
		if state == Filtered || state == LocalError {
			if a.icmp = e.icmp(a.fd); a.icmp != nil {
				state = Filtered // over IPv6 a prohibition is EACCES
			} else {
				state = LocalError // this machine has no route
			}
		}
		e.finish(a, state, os.NewSyscallError("connect", err), nil)
		return
	}
	if e.toItself(a) {
		// Without linger the port, which a server may need, would stay in
		// TIME_WAIT.
		_ = unix.SetsockoptLinger(a.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		e.finish(a, Closed, errSelfConnect, nil)
		return
	}
	if !e.o.Banner {
		e.finish(a, Open, nil, nil)
		return
	}
	op := unix.EPOLL_CTL_MOD
	if e.attempts[a.fd] == nil {
		op = unix.EPOLL_CTL_ADD
	}
	if err := e.watch(a.fd, unix.EPOLLIN, op); err != nil {
		e.finish(a, Open, nil, nil)
		return
	}
	a.connected, a.deadline = true, time.Now().Add(e.o.BannerWait)
	if e.attempts[a.fd] == nil {
		e.track(a)
	}
	e.banners.push(a)
}

// read reads the banner of an open port, up to MaxBanner bytes, and finishes
// the attempt.
func (e *engine) read(a *attempt) {
	n, err := unix.Read(a.fd, e.buf[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	e.finish(a, Open, nil, append([]byte(nil), e.buf[:max(n, 0)]...))
}

// finish closes the connection of a, and reports its target with state, err and
// banner. The freed descriptor raises limit, up to most.
func (e *engine) finish(a *attempt, state State, err error, banner []byte) {
	a.done = true
	if e.attempts[a.fd] != nil {
		delete(e.attempts, a.fd)
		e.inFlight.Add(-1)
	}
	unix.Close(a.fd)
	e.limit = min(e.most, e.limit+1)
	e.report(a.target, Result{State: state, RTT: a.rtt, Err: err, ICMP: a.icmp, Reply: banner})
}

// expire finishes the attempts whose deadlines had passed at examined, the time
// before the last epoll_wait: without a connection as NoAnswer, without a
// banner as Open.
func (e *engine) expire(examined time.Time) {
	for a := e.connects.first(false); a != nil && passed(a.deadline, examined); a = e.connects.first(false) {
		a.rtt = examined.Sub(a.start)
		e.finish(a, NoAnswer, os.NewSyscallError("connect", syscall.ETIMEDOUT), nil)
	}
	for a := e.banners.first(true); a != nil && passed(a.deadline, examined); a = e.banners.first(true) {
		e.finish(a, Open, nil, nil)
	}
}
