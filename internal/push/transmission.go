package push

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"purr/internal/digest"
	"purr/internal/offer"
)

// startLarge sends a large file in the background, once fewer than maxLarge are
// under way. A file that changes while it is read is sent once more. One that
// cannot be sent is left out. An error means that the transfer has ended.
func (s *sending) startLarge(e offer.Entry) error {
	select {
	case s.large <- struct{}{}:
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	s.files.Go(func() {
		defer func() { <-s.large }()
		if !s.blocks.acquire(largeMemory) {
			return
		}
		defer s.blocks.release(largeMemory)
		defer openSlot()()
		offered, err := s.sendLarge(e)
		if errors.As(err, new(offer.ChangedError)) {
			offered, err = s.sendLarge(e)
		}
		if err != nil {
			if offered {
				e.Size = 0 // it was counted
			}
			s.leave(e, err)
		}
	})
	return nil
}

// patience is how long a large file waits for a further connection to be
// opened before it goes over one that others use.
const patience = time.Second

// pick returns a stream that has no large file to send, and counts one for it
// until drop. If each has one, it opens a further connection and waits: a
// stream that is shared may be the slowest. A single stream is shared if no
// further one is being opened or that takes longer than patience. After the end
// of the transfer pick returns any stream.
func (s *sending) pick() *stream {
	c := s.Conn
	c.mu.Lock()
	defer c.mu.Unlock()
	late := false
	for {
		st := slices.MinFunc(c.streams, func(a, b *stream) int { return a.load - b.load })
		if st.load > 0 && !late {
			c.growLocked()
		}
		if st.load == 0 || c.ctx.Err() != nil || len(c.streams) == 1 && (late || c.opening == 0) {
			st.load++
			return st
		}
		timer := time.AfterFunc(patience, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			late = true
			c.changed.Broadcast()
		})
		c.changed.Wait()
		timer.Stop()
	}
}

// drop undoes the count of pick for a stream, so that it is free, or less
// loaded, for another large file.
func (s *sending) drop(st *stream) {
	s.Conn.mu.Lock()
	defer s.Conn.mu.Unlock()
	st.load--
	s.changed.Broadcast()
}

// sendLarge offers a large file and sends the bytes that the receiver lacks.
// offered reports whether the offer was sent. The error is the reason why the
// file cannot be sent. It is nil if the outcome was reported, or if the
// transfer has ended.
func (s *sending) sendLarge(listed offer.Entry) (offered bool, err error) {
	st := s.pick()
	t := &transmission{s: s, st: st, free: sync.OnceFunc(func() { s.drop(st) })}
	defer t.free()
	file, err := s.set.OpenListed(listed)
	if err != nil {
		return false, err
	}
	defer file.Close()
	t.file, t.f = file, &sent{Entry: file.Entry, answers: make(chan *message, 3)}
	t.id = st.sendLine(fileMessage(opOffer, file.Entry), t.f)
	err = t.run()
	if !t.met {
		s.outlook.meet(t.f.Path, t.f.Size, 0)
	}
	if err == nil || s.ctx.Err() != nil {
		return true, nil
	}
	st.abort(t.id)
	st.out.line(&message{Op: opAbort, ID: t.id})
	return true, err
}

// A transmission is a large file on its way.
type transmission struct {
	s    *sending
	st   *stream
	file *offer.File
	f    *sent
	id   int64
	free func() // lets the stream have another one
	met  bool   // whether its bytes are expected
}

// run waits for the receiver's answer to the offer, proves the digest if it is
// asked for, and sends the blocks that are wanted. It returns nil once the
// outcome was reported or the transfer has ended, else the reason why the file
// cannot be sent.
func (t *transmission) run() error {
	m := t.answer()
	if m != nil && m.Op == opSame {
		d, err := t.hash(t.f.Size)
		if err != nil {
			return err
		}
		sum := d.Sum()
		t.st.update(func() { t.f.sum = sum })
		t.st.out.line(&message{Op: opProof, ID: t.id, Digest: sum})
		m = t.answer()
	}
	switch {
	case m == nil:
		return nil
	case m.Op == opResult:
		t.conclude(m, 0)
		return nil
	case m.Op == opSame:
		t.s.fail(errNoLine)
		return nil
	}
	offset, d, err := t.compare(m)
	if err != nil {
		return err
	}
	return t.blocks(offset, d)
}

// hash returns a Hasher that has hashed the first n bytes of the file. The
// caller ends it. The error is that of a read, or the cause of the transfer's
// end.
func (t *transmission) hash(n int64) (*digest.Hasher, error) {
	return t.file.Hash(n, func(int) error { return context.Cause(t.s.ctx) })
}

// answer waits for the receiver's next line about the file; nil if the transfer
// ends.
func (t *transmission) answer() *message {
	select {
	case m := <-t.f.answers:
		return m
	case <-t.s.ctx.Done():
	}
	select {
	case m := <-t.f.answers:
		return m
	default:
		return nil
	}
}

// conclude counts and reports the result m of the file, which was sent from
// offset on. Blocks that are on their way are dropped by the receiver.
func (t *transmission) conclude(m *message, offset int64) {
	t.st.remove(t.id)
	t.s.result(t.f, m, offset)
}

// compare returns the offset from which the file is sent. The line want has the
// size At and the digest of the receiver's partial file. If the file begins
// with the same bytes, the offset is At, d has hashed them, and Events.Resuming
// is called. Else the offset is 0 and d nil.
func (t *transmission) compare(want *message) (offset int64, d *digest.Hasher, err error) {
	if want.At == 0 || want.At > t.f.Size || t.s.o.NoResume {
		return 0, nil, nil
	}
	if d, err = t.hash(want.At); err != nil {
		return 0, nil, err
	}
	if bytes.Equal(d.Mark(), want.Digest) {
		t.s.o.Events.Resuming(t.f.Path, want.At, t.f.Size)
		return want.At, d, nil
	}
	d.Sum()
	return 0, nil, nil
}

// blocks sends the file from offset on, then its digest, and waits for the
// result. d has hashed the bytes before offset; nil for 0. A result that comes
// earlier is a failure at the receiver, and aborts the file. The error is that
// of reading the file; nil if the transfer has ended.
func (t *transmission) blocks(offset int64, d *digest.Hasher) error {
	body, err := t.file.Body(offset, d, blockRoom)
	if err != nil {
		return err
	}
	defer body.Close()
	t.st.update(func() { t.f.begun = time.Now() })
	t.s.outlook.meet(t.f.Path, t.f.Size, t.f.Size-offset)
	t.met = true
	most := t.s.o.Rate.Chunk(maxBlock)
	for at := offset; ; {
		block, err := body.Next(most)
		if err != nil {
			break
		}
		err = t.st.out.block(&message{Op: opBlock, ID: t.id, At: at, Total: t.s.unsaid.Swap(0)}, block)
		body.Put(block)
		if err != nil {
			<-t.s.ctx.Done() // the reader finds out why
			return nil
		}
		n := len(block) - blockRoom
		at += int64(n)
		t.s.o.Events.Moved(n)
		select {
		case m := <-t.f.answers: // before the end: it is stored nowhere
			t.conclude(m, offset)
			t.st.out.line(&message{Op: opAbort, ID: t.id})
			return nil
		default:
		}
	}
	sum, err := body.Sum()
	if err != nil {
		return err
	}
	t.st.update(func() { t.f.sum = sum })
	t.st.out.line(&message{Op: opDone, ID: t.id, At: t.f.Size, Digest: sum})
	t.free()
	if m := t.answer(); m != nil {
		t.conclude(m, offset)
	}
	return nil
}
