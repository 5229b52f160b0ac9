package datagram

import (
	"errors"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
)

// A Mux receives from many sockets in one goroutine, which waits in epoll(7):
// a sender costs a descriptor, and neither a thread nor a buffer. Only EPOLLIN
// is asked for. Add and Remove may be called from any goroutine.
type Mux struct {
	fd      int
	stop    int32 // the descriptor that is readable once the interrupt has fired
	batch   *Batch
	used    int     // slots of batch, of the last call
	first   *Socket // gets a turn beside each few others
	firstID any

	events  [16]unix.EpollEvent
	pending []unix.EpollEvent // of events, those still to be received

	mu      sync.Mutex
	sockets map[int32]muxEntry
}

// A muxEntry is a socket of a Mux with what Receive returns for it.
type muxEntry struct {
	socket *Socket
	id     any
}

// NewMux returns a Mux whose batches have at most n datagrams for sockets of
// network, as NewBatch. When i has fired, Receive ends. The caller closes the
// Mux.
func NewMux(network string, n int, i *fdio.Interrupt) (*Mux, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	m := &Mux{fd: fd, batch: NewBatch(network, n), sockets: make(map[int32]muxEntry)}
	watched := i.With(func(pipe int) {
		m.stop = int32(pipe)
		err = m.watch(pipe)
	})
	if err = errors.Join(watched, err); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Close frees the descriptor of the Mux. The sockets stay open.
func (m *Mux) Close() { _ = unix.Close(m.fd) }

// watch adds a descriptor to the epoll set.
func (m *Mux) watch(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(m.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

// Add lets the Mux receive from a socket too; id is what Receive returns with
// its datagrams. The first socket is received from more often than others, so
// that many others do not leave its datagrams to be dropped.
func (m *Mux) Add(s *Socket, id any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first == nil {
		m.first, m.firstID = s, id
	}
	m.sockets[int32(s.fd)] = muxEntry{s, id}
	if err := m.watch(s.fd); err != nil {
		delete(m.sockets, int32(s.fd))
		return err
	}
	return nil
}

// Remove takes a socket out of the Mux and closes it.
func (m *Mux) Remove(s *Socket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sockets, int32(s.fd))
	s.Close()
}

// Receive waits for datagrams on any of the sockets. It returns the id of one
// socket with its datagrams, the first n of b, which are valid until the next
// call; or with its error. If id is nil, err is os.ErrDeadlineExceeded after
// the deadline (zero: none), fdio.ErrInterrupted once the interrupt has fired,
// or an error of the Mux itself.
func (m *Mux) Receive(deadline time.Time) (id any, b *Batch, n int, err error) {
	for {
		for len(m.pending) > 0 {
			fd := m.pending[0].Fd
			m.pending = m.pending[1:]
			if fd == m.stop {
				return nil, nil, 0, fdio.ErrInterrupted
			}
			m.mu.Lock()
			entry, ok := m.sockets[fd]
			m.mu.Unlock()
			if !ok {
				continue
			}
			if n, err := m.try(entry.socket); n > 0 || err != nil {
				return entry.id, m.batch, n, err
			}
		}
		if err := m.wait(deadline); err != nil {
			return nil, nil, 0, err
		}
		if m.crowded() {
			if n, err := m.try(m.first); n > 0 || err != nil {
				return m.firstID, m.batch, n, err
			}
		}
	}
}

// crowded reports whether so many other sockets are ready that the first one
// may not be among them.
func (m *Mux) crowded() bool { return len(m.pending) == len(m.events) && m.first != nil }

// wait waits until sockets are ready, and sets pending.
func (m *Mux) wait(deadline time.Time) error {
	for {
		n, err := unix.EpollWait(m.fd, m.events[:], fdio.Milliseconds(deadline))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return os.NewSyscallError("epoll_wait", err)
		case n == 0:
			return os.ErrDeadlineExceeded
		}
		m.pending = m.events[:n]
		return nil
	}
}

// try receives what has arrived on s, without waiting: n is 0 if nothing has.
func (m *Mux) try(s *Socket) (n int, err error) {
	for {
		m.batch.reset(m.used)
		m.used = 0
		got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&m.batch.msgs[0])), uintptr(len(m.batch.msgs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			m.used = int(got)
			return s.keepWhole(m.batch, m.used), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, errno
		}
	}
}
