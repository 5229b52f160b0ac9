package push

import (
	"context"
	"errors"
	"sync"
	"time"

	"purr/internal/offer"
)

// An outlook computes Events.Expected, the bytes of files that are to be moved,
// in the same way at both ends. Until total sets the sum of all files, it
// counts only the files of which meet was called.
type outlook struct {
	events Events

	mu    sync.Mutex
	met   int64 // bytes of all files so far
	known bool  // whether total was called
}

// meet counts a file of size bytes, of which coming bytes will be moved. The
// others are at the receiver already, or are not sent. It passes the change of
// the sum to Events.Expected, and calls Events.Begun if coming is not 0.
func (o *outlook) meet(path string, size, coming int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.met += size
	more := coming
	if o.known {
		more -= size
	}
	if more != 0 {
		o.events.Expected(more)
	}
	if coming > 0 {
		o.events.Begun(path)
	}
}

// total sets the sum of the sizes of all files, including those that were met.
// Only the first sum above 0 counts.
func (o *outlook) total(bytes int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known || bytes <= 0 {
		return
	}
	o.known = true
	if more := bytes - o.met; more != 0 {
		o.events.Expected(more)
	}
}

// sumAfter is how long a transfer lasts before the sender sums up its files: a
// short one is not slowed down by a second walk.
var sumAfter = 500 * time.Millisecond // a variable for the tests

// errNoSum ends the walk of sum.
var errNoSum = errors.New("the transfer is over")

// sum starts a second walk of the set in the background, which adds up the
// sizes of all files. The next line with content carries the sum to the
// receiver. stop ends the walk and waits for that. The caller calls it before
// the set is closed.
func (s *sending) sum() (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-time.After(sumAfter):
		case <-ctx.Done():
			return
		}
		var bytes int64
		_, err := s.set.Walk(func(e offer.Entry, skipped error) error {
			if skipped == nil {
				bytes += e.Size
			}
			if ctx.Err() != nil {
				return errNoSum
			}
			return nil
		})
		if err == nil {
			s.outlook.total(bytes)
			s.unsaid.Store(bytes)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
