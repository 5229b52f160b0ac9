package sock

import (
	"context"
	"time"
)

// A Room is waited for by a listener that serves a limited number of clients
// side by side, before it takes another one.
type Room chan struct{}

// NewRoom returns a Room for one goroutine that waits.
func NewRoom() Room { return make(Room, 1) }

// Await calls look until that returns 0, the sign that a client has been
// admitted; any other result is the time after which to look again, unless Left
// is called before. It reports false if ctx ends first.
func (r Room) Await(ctx context.Context, look func() (wait time.Duration)) bool {
	for {
		wait := look()
		if wait == 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-r:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

// Left reports to Await that a client has left. It does not block.
func (r Room) Left() {
	select {
	case r <- struct{}{}:
	default:
	}
}
