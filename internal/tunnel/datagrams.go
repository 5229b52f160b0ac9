package tunnel

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"purr/internal/datagram"
	"purr/internal/fdio"
)

// DefaultIdle is how long a sender of datagrams may be silent, and its target
// too, before its socket is closed.
const DefaultIdle = 60 * time.Second

// A Rejected is a reason for not taking the datagrams of a sender.
type Rejected string

func (r Rejected) Error() string { return string(r) }

// Timeout reports whether the reason is silence.
func (r Rejected) Timeout() bool { return r == ErrIdle }

// Reasons for the end of a sender's tunnel, and for not taking its datagrams.
const (
	ErrIdle      Rejected = "idle"
	ErrDisplaced Rejected = "displaced by a new sender"
	ErrItself    Rejected = "the tunnel leads to itself"
	ErrFull      Rejected = "no place is free: all senders have had answers, and none is idle"
	ErrOther     Rejected = "the tunnel has another sender"
)

// A Follower is notified of the datagrams of one sender. Its methods are called
// one at a time, except for Dialled.
type Follower interface {
	// Dialled is called once, when the target was dialled or could not be, before
	// it is sent anything. It has a goroutine of its own and may wait.
	Dialled()
	// Moved is called with datagrams of b, by their numbers, that are about to be
	// sent to the sender, or to the target.
	Moved(toSender bool, b *datagram.Batch, list []int)
	// Refused is called when an ICMP error reports that a port is closed, the
	// target's or the dialled peer's; once until the next datagram from there.
	Refused(target bool)
	// Ended is called with ErrIdle, ErrDisplaced, the end of the run or a failure.
	Ended(reason error)
}

// A Finite is a connection to a target that can end before its sender, whose
// next datagram then dials another. An empty datagram of such a target is not
// passed on, but means that it may have ended.
type Finite interface {
	datagram.Conn

	// Ended returns the reason if the target has ended, and will not read or send
	// any more; nil if it goes on, perhaps because it has not received all of the
	// datagrams yet that were sent to it, in number. Then another empty datagram
	// follows its end.
	Ended(sent int) error
}

// Datagrams are the options of a tunnel of datagrams: between the senders that
// write to one socket and a target, or between two dialled peers. Each sender
// has a socket of its own towards the target, so that the target's answers find
// their way back.
type Datagrams struct {
	// Dial returns a socket that is connected to the target, which may be a
	// Finite. It is called in a goroutine for each sender, whose end ends the
	// context for the same reason, and may wait. from is nil for a dialled peer.
	// The file of a Unix socket is removed when the sender ends.
	Dial func(ctx context.Context, from *datagram.Peer) (datagram.Conn, error)

	// Follow is called with each new sender, before its target is dialled. name is
	// its name in messages; from is invalid for a Unix socket.
	Follow func(from netip.AddrPort, name string) Follower

	// Lost is called for each datagram that is dropped, with the name of the end
	// that it was received from or could not be sent to.
	Lost func(peer string, err error)

	// Admit is called before bytes are sent, and may wait, which is no silence of
	// a sender; its error ends the tunnel. Nil: nothing is called.
	Admit func(bytes int) error

	Network string        // of the larger datagrams: "udp" or "unixgram"
	Target  string        // its name in messages
	Batch   int           // datagrams at once; 0: datagram.BatchSize
	Idle    time.Duration // 0: DefaultIdle, and no limit between two dialled peers
	First   time.Duration // how long to wait for the first sender; 0: no limit

	// Limit is the most senders at once. Beyond it, a new one displaces the one
	// among those never answered by the target that has been silent for longest.
	// If all were answered, its datagrams are dropped: a flood of forged senders
	// ends no conversation (as nf_conntrack does it).
	Limit int

	// Single lets only the first sender in, whose end ends the tunnel.
	Single bool
}

// A relay is a running tunnel of datagrams.
type relay struct {
	Datagrams
	ctx       context.Context
	front     *datagram.Socket
	interrupt *fdio.Interrupt
	mux       *datagram.Mux
	listens   *datagram.OwnAddress // nil for a dialled peer
	dialling  sync.WaitGroup
	key       []byte        // of one datagram
	touched   []*flow       // by one batch
	all       []int         // 0, 1, 2...
	kept      []int         // of all, by filled
	waited    time.Duration // by Admit

	mu     sync.Mutex
	flows  map[string]*flow
	own    map[netip.AddrPort]bool // addresses of the flows' sockets
	queues [2]*list.List           // of flows not answered yet, and of the others: the latest activity in front
	begun  bool                    // whether there was a sender
	ended  bool                    // with Single: whether its flow has ended
	failed error                   // the error of that
}

// Run passes datagrams until ctx ends, which is its result then, or i fires.
// The caller closes front; at the end of Run, i has fired. With Single it ends
// with its sender: nil after an idle timeout, else the failure of the target.
// The error is os.ErrDeadlineExceeded if First passes without a sender.
func (d Datagrams) Run(ctx context.Context, front *datagram.Socket, i *fdio.Interrupt) error {
	size := cmp.Or(d.Batch, datagram.BatchSize)
	mux, err := datagram.NewMux(d.Network, size, i)
	if err != nil {
		return err
	}
	defer mux.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(ctx, i.Fire)()
	r := &relay{Datagrams: d, ctx: ctx, front: front, interrupt: i, mux: mux, flows: make(map[string]*flow), own: make(map[netip.AddrPort]bool),
		queues: [2]*list.List{list.New(), list.New()}}
	for n := range size {
		r.all = append(r.all, n)
	}
	front.Prompt, front.Lost = true, d.Lost
	if err := mux.Add(front, r); err != nil {
		return err
	}
	err = r.run()
	stop(err)
	r.dialling.Wait()
	r.endAll(err)
	return err
}

// run receives until the tunnel ends.
func (r *relay) run() error {
	var first time.Time
	if r.First > 0 {
		first = time.Now().Add(r.First)
	}
	if r.front.Remote == nil {
		r.listens = datagram.NewOwnAddress(r.front.Local)
		r.Idle = cmp.Or(r.Idle, DefaultIdle)
	} else {
		r.mu.Lock()
		r.front.Refused = func() { r.refused(r.flows[""], false) }
		r.begin("", nil, time.Now())
		r.mu.Unlock()
	}
	for {
		deadline := r.deadline(first)
		id, b, n, err := r.mux.Receive(deadline)
		r.mu.Lock()
		now := time.Now().Add(-r.waited)
		switch {
		case id == nil && !errors.Is(err, os.ErrDeadlineExceeded):
		case id == nil && !r.begun && !r.front.Arrived(): // First has passed
		case id == nil:
			err = nil
		case id == any(r) && err != nil:
			err = r.frontFailed(err)
		case id == any(r):
			err = r.fromSenders(b, n, now)
		default:
			err = r.fromTarget(id.(*flow), b, n, err, now)
		}
		r.expire(now)
		if r.ended {
			err = r.failed
		}
		over := r.ended || err != nil
		r.mu.Unlock()
		if over {
			if r.ctx.Err() != nil {
				err = context.Cause(r.ctx)
			}
			return err
		}
	}
}

// deadline returns when the next flow is idle, or until when a first sender is
// waited for; zero: never.
func (r *relay) deadline(first time.Time) (next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun {
		return first
	}
	for _, queue := range r.queues {
		if e := queue.Back(); e != nil && r.Idle > 0 {
			if due := e.Value.(*flow).last.Add(r.Idle + r.waited); next.IsZero() || due.Before(next) {
				next = due
			}
		}
	}
	return next
}

// fromSenders passes a batch on, the datagrams of each sender together.
func (r *relay) fromSenders(b *datagram.Batch, n int, now time.Time) error {
	r.touched = r.touched[:0]
	var last *flow
	for i := range n {
		r.key = r.key[:0]
		if r.listens != nil {
			r.key = b.AppendKey(r.key, i)
		}
		f := last
		if f == nil || f.ended || f.key != string(r.key) {
			f = r.flows[string(r.key)]
		}
		if f == nil {
			if f = r.accept(b, i, now); f == nil {
				continue
			}
		}
		if last = f; len(f.list) == 0 {
			r.touched = append(r.touched, f)
		}
		f.list = append(f.list, i)
	}
	for _, f := range r.touched {
		err := r.toTarget(f, b, f.list, now)
		if f.list = f.list[:0]; err != nil {
			return err
		}
	}
	return nil
}

// accept begins the flow of the sender of datagram i, or drops the datagram and
// returns nil.
func (r *relay) accept(b *datagram.Batch, i int, now time.Time) *flow {
	from, why := b.Sender(i), error(nil)
	switch {
	case from.IsValid() && from.Port() == 0:
		why = datagram.ErrNoAddress
	case r.own[from]:
		why = ErrItself
	case r.listens == nil:
		return nil // the flow of the dialled peer has ended, and the tunnel with it
	case from.IsValid() && r.listens.Is(from, now):
		why = ErrItself
	case r.Single && r.begun:
		why = ErrOther
	case len(r.flows) >= r.Limit && !r.Single:
		if oldest := r.queues[0].Back(); oldest == nil {
			why = ErrFull
		} else {
			r.end(oldest.Value.(*flow), ErrDisplaced)
		}
	}
	peer := b.Peer(i)
	if why != nil {
		r.Lost(peer.String(), why)
		return nil
	}
	return r.begin(string(r.key), peer, now)
}

// admit calls Admit, if it is set.
func (r *relay) admit(size int) error {
	if r.Admit == nil {
		return nil
	}
	begun := time.Now()
	defer func() { r.waited += time.Since(begun) }()
	return r.Admit(size)
}

// frontFailed returns the error of receiving from the senders, or nil if the
// tunnel goes on in spite of it.
func (r *relay) frontFailed(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) && r.listens == nil {
		r.refused(r.flows[""], false)
		return nil
	}
	if passes(err) {
		return nil
	}
	return err
}

// passes reports whether an error of receiving is about one earlier datagram or
// one moment: an ICMP error, or a lack of memory.
func passes(err error) bool {
	for _, passing := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENOPROTOOPT, syscall.ENOBUFS, syscall.ENOMEM, portUnreachable} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// portUnreachable is WSAECONNRESET: an ICMP error on Windows.
const portUnreachable = syscall.Errno(10054)
