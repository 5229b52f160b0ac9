package datagram

import "time"

// A patience limits the time that answers to full queues keep all other peers
// waiting: a pause for each batch, and beyond that a tenth of the time, of
// which at most a burst is saved up. A peer that reads on meanwhile loses
// nothing; one that never reads costs the others little, and the pauses keep
// its flood from taking a whole processor.
type patience struct {
	saved   time.Duration
	renewed time.Time
	free    bool // whether the pause of this batch is left
}

const (
	pause = time.Millisecond      // between two attempts
	burst = 20 * time.Millisecond // the most that is saved
)

// renew begins a batch.
func (p *patience) renew(now time.Time) {
	if p.renewed.IsZero() {
		p.saved = burst
	} else {
		p.saved = min(burst, p.saved+now.Sub(p.renewed)/10)
	}
	p.renewed, p.free = now, true
}

// take reports whether one more pause is allowed, and uses it up.
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
