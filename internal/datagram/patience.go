package datagram

import "time"

// A patience limits the time for which full queues hold up the answers to all
// other peers. Each batch has one pause free. Beyond that, pauses may take a
// tenth of the time; what they do not take is saved, up to burst. So a peer
// that reads on meanwhile loses nothing, and one that never reads costs the
// others little. The pauses also keep its flood from taking a whole processor.
type patience struct {
	saved   time.Duration
	renewed time.Time
	free    bool // whether the pause of this batch is left
}

const (
	pause = time.Millisecond      // between two attempts
	burst = 20 * time.Millisecond // the most that is saved
)

// renew begins a batch with one free pause, and saves a tenth of the time since
// the last batch. The first batch begins with a whole burst.
func (p *patience) renew(now time.Time) {
	if p.renewed.IsZero() {
		p.saved = burst
	} else {
		p.saved = min(burst, p.saved+now.Sub(p.renewed)/10)
	}
	p.renewed, p.free = now, true
}

// take reports whether one more pause is allowed. If so, it uses that pause up.
func (p *patience) take() bool {
	if p.free {
		p.free = false
		return true
	}
	if p.saved < pause {
		return false
	}
	p.saved -= pause
	return true
}
