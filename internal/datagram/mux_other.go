//go:build !linux

package datagram

import (
	"os"
	"time"

	"purr/internal/fdio"
)

// A Mux receives from many sockets, each of which has a goroutine of its own
// that waits for a datagram. Add and Remove may be called from any goroutine.
type Mux struct {
	network   string
	interrupt *fdio.Interrupt
	arrivals  chan *arrival
	last      *arrival      // returned by Receive
	closed    chan struct{} // by Close
}

// An arrival is a datagram of one socket, or its error. next delivers once the
// datagram is no longer used.
type arrival struct {
	id   any
	b    *Batch
	n    int
	err  error
	next chan struct{}
}

// NewMux returns a Mux for sockets of network, as NewBatch. When i has fired,
// Receive ends. The caller closes the Mux.
func NewMux(network string, _ int, i *fdio.Interrupt) (*Mux, error) {
	return &Mux{network: network, interrupt: i, arrivals: make(chan *arrival), closed: make(chan struct{})}, nil
}

// Close ends the Mux. The sockets stay open; the goroutine of one ends when it
// is closed.
func (m *Mux) Close() { close(m.closed) }

// Add lets the Mux receive from a socket too; id is what Receive returns with
// its datagrams.
func (m *Mux) Add(s *Socket, id any) error {
	go func() {
		a := &arrival{id: id, b: NewBatch(m.network, 1), next: make(chan struct{}, 1)}
		for {
			a.n, a.err = s.Receive(a.b)
			if fdio.ClosedHere(a.err) {
				return
			}
			select {
			case m.arrivals <- a:
			case <-m.closed:
				return
			}
			select {
			case <-a.next:
			case <-m.closed:
				return
			}
		}
	}()
	return nil
}

// Remove takes a socket out of the Mux and closes it.
func (m *Mux) Remove(s *Socket) { s.Close() }

// Receive waits for a datagram on any of the sockets. It returns the id of one
// socket with its datagrams, the first n of b, which are valid until the next
// call; or with its error. If id is nil, err is os.ErrDeadlineExceeded after
// the deadline (zero: none), or fdio.ErrInterrupted once the interrupt has
// fired.
func (m *Mux) Receive(deadline time.Time) (id any, b *Batch, n int, err error) {
	if m.last != nil {
		m.last.next <- struct{}{}
		m.last = nil
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case a := <-m.arrivals:
		m.last = a
		return a.id, a.b, a.n, a.err
	case <-expired:
		return nil, nil, 0, os.ErrDeadlineExceeded
	case <-m.interrupt.Done():
		return nil, nil, 0, fdio.ErrInterrupted
	}
}
