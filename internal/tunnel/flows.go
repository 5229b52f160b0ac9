package tunnel

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"purr/internal/datagram"
)

// A flow is one sender and its socket towards the target.
type flow struct {
	Follower
	key      string
	peer     *datagram.Peer // nil: the dialled one
	local    netip.AddrPort // of socket
	list     []int          // its datagrams in a batch
	last     time.Time      // of activity
	place    *list.Element
	answered bool
	granted  bool // whether its idle timeout has been extended for input that waits

	stop    context.CancelCauseFunc // ends the context of Dial
	socket  *datagram.Socket        // nil while the target is dialled
	finite  Finite                  // the connection of socket; nil: another one
	sent    int                     // datagrams to finite
	held    [][]byte                // datagrams meanwhile
	room    int                     // for more of them, in bytes
	refused [2]bool                 // whether the sender, or the target, was, since its last datagram
	broken  error                   // of socket
	ended   bool
}

// heldBytes is how much is held for a sender while its target is dialled, and
// one datagram more.
const heldBytes = 64 << 10

// begin adds a flow and dials its target.
func (r *relay) begin(key string, peer *datagram.Peer, now time.Time) *flow {
	ctx, stop := context.WithCancelCause(r.ctx)
	f := &flow{key: key, peer: peer, last: now, room: heldBytes, stop: stop}
	if peer != nil {
		f.Follower = r.Follow(peer.Addr(), peer.String())
	} else {
		f.Follower = r.Follow(netip.AddrPort{}, "")
	}
	f.place = r.queues[0].PushFront(f)
	r.flows[key], r.begun = f, true
	r.dialling.Go(func() {
		conn, err := r.Dial(ctx, peer)
		f.Dialled()
		if err == nil {
			err = r.open(f, conn)
		}
		if err != nil {
			r.fail(f, err)
		}
	})
	return f
}

// open gives a flow the socket that has been dialled, and sends what is held.
func (r *relay) open(f *flow, conn datagram.Conn) error {
	socket, err := datagram.Open(conn, r.interrupt)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !f.ended {
		if err = r.mux.Add(socket, f); err == nil {
			f.finite, _ = conn.(Finite)
			r.opened(f, socket)
			return nil
		}
	}
	socket.Close()
	return err
}

// fail ends a flow whose target could not be dialled.
func (r *relay) fail(f *flow, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		err = context.Cause(r.ctx)
	}
	if !f.ended {
		r.end(f, err)
	}
}

// opened sends what is held for a flow.
func (r *relay) opened(f *flow, socket *datagram.Socket) {
	socket.Prompt = true
	socket.Lost = func(_ string, err error) {
		if !f.local.IsValid() && (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTCONN)) {
			f.broken = err // the Unix socket was closed; its successor has to be dialled
		}
		f.sent--
		r.Lost(r.Target, err)
	}
	socket.Refused = func() { r.refused(f, true) }
	f.socket = socket
	if udp, ok := socket.Local.(interface{ AddrPort() netip.AddrPort }); ok {
		f.local = netip.AddrPortFrom(udp.AddrPort().Addr().Unmap(), udp.AddrPort().Port())
		r.own[f.local] = true
	}
	f.sent = len(f.held)
	for _, d := range f.held {
		err := socket.SendToPeer(d, time.Millisecond)
		if errors.Is(err, syscall.ECONNREFUSED) && f.local.IsValid() { // an earlier one was refused
			r.refused(f, true)
			err = socket.SendToPeer(d, time.Millisecond)
		}
		if err != nil {
			socket.Lost("", err)
		}
	}
	f.held = nil
}

// toTarget sends the datagrams of list to the target of a flow, or holds them
// until it is dialled. It returns an error of Admit.
func (r *relay) toTarget(f *flow, b *datagram.Batch, list []int, now time.Time) error {
	if f.ended { // displaced by a later sender of the same batch
		for range list {
			r.Lost(f.peer.String(), ErrDisplaced)
		}
		return nil
	}
	size := 0
	for _, i := range list {
		size += len(b.Data(i))
	}
	f.refused[0] = false
	r.touch(f, now)
	f.Moved(false, b, list)
	if err := r.admit(size); err != nil {
		return err
	}
	if f.socket == nil {
		for _, i := range list {
			d := b.Data(i)
			if f.room < 0 {
				r.Lost(r.Target, datagram.ErrQueueFull)
				continue
			}
			f.room -= len(d) + 256
			f.held = append(f.held, bytes.Clone(d))
		}
		return nil
	}
	f.sent += len(list)
	if err := f.socket.Forward(b, list, nil); err != nil {
		return err
	}
	if f.broken != nil {
		r.end(f, f.broken)
	}
	return nil
}

// fromTarget passes the target's datagrams on to the sender of a flow. err is
// that of receiving them. It returns an error of Admit.
func (r *relay) fromTarget(f *flow, b *datagram.Batch, n int, err error, now time.Time) error {
	switch {
	case f.ended:
		return nil
	case errors.Is(err, syscall.ECONNREFUSED) && f.local.IsValid():
		r.refused(f, true)
		return nil
	case err != nil && !passes(err):
		r.end(f, err)
		return nil
	case n == 0:
		return nil
	}
	f.refused[1] = false
	list := r.all[:n]
	if f.finite != nil {
		if list = r.filled(b, n); len(list) < n {
			defer r.endFinite(f)
		}
		if len(list) == 0 {
			return nil
		}
	}
	if !f.answered {
		f.answered = true
		r.queues[0].Remove(f.place)
		f.place = r.queues[1].PushFront(f)
	}
	r.touch(f, now)
	if err := r.admit(b.Size(n)); err != nil {
		return err
	}
	f.Moved(true, b, list)
	return r.front.Forward(b, list, f.peer)
}

// filled returns those of the first n datagrams that are not empty, until its
// next call.
func (r *relay) filled(b *datagram.Batch, n int) []int {
	r.kept = r.kept[:0]
	for i := range n {
		if len(b.Data(i)) > 0 {
			r.kept = append(r.kept, i)
		}
	}
	return r.kept
}

// endFinite ends a flow whose target has ended, unless datagrams of it are
// still to be received.
func (r *relay) endFinite(f *flow) {
	if reason := f.finite.Ended(f.sent); reason != nil && !f.socket.Arrived() {
		r.end(f, reason)
	}
}

// refused notifies the follower of a flow of an ICMP error, once until the next
// datagram of the end that it is about.
func (r *relay) refused(f *flow, target bool) {
	at := 0
	if target {
		at = 1
	}
	if f != nil && !f.refused[at] {
		f.refused[at] = true
		f.Refused(target)
	}
}

// touch records activity of a flow.
func (r *relay) touch(f *flow, now time.Time) {
	f.last, f.granted = now, false
	queue := r.queues[0]
	if f.answered {
		queue = r.queues[1]
	}
	queue.MoveToFront(f.place)
}

// expire ends the flows that are idle and have no datagram waiting.
func (r *relay) expire(now time.Time) {
	if r.Idle == 0 {
		return
	}
	for _, queue := range r.queues {
		for e := queue.Back(); e != nil; e = queue.Back() {
			f := e.Value.(*flow)
			if now.Sub(f.last) < r.Idle {
				break
			}
			if !f.granted && (f.socket != nil && f.socket.Arrived() || r.Single && r.front.Arrived()) {
				r.touch(f, now)
				f.granted = true
				continue
			}
			r.end(f, ErrIdle)
		}
	}
}

// end ends a flow for the reason, and with Single the tunnel, too.
func (r *relay) end(f *flow, reason error) {
	f.ended = true
	f.stop(reason)
	delete(r.flows, f.key)
	delete(r.own, f.local)
	if f.answered {
		r.queues[1].Remove(f.place)
	} else {
		r.queues[0].Remove(f.place)
	}
	if f.socket != nil {
		r.mux.Remove(f.socket)
		if own, ok := f.socket.Local.(*net.UnixAddr); ok && own.Name != "" && own.Name[0] != '@' {
			_ = os.Remove(own.Name)
		}
	}
	f.Ended(reason)
	if !r.Single {
		return
	}
	if r.ended = true; !errors.Is(reason, ErrIdle) {
		r.failed = reason
	}
	r.interrupt.Fire()
}

// endAll ends all flows together with the tunnel.
func (r *relay) endAll(reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.flows {
		r.end(f, reason)
	}
}
