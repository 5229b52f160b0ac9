package scan

import (
	"errors"
	"os"
	"time"
)

// The timer rule of all engines: an answer that arrives while this process is
// held up, by a SIGSTOP or by a busy machine, has arrived in time. Therefore a
// deadline has passed only when the sockets were examined after it and nothing
// was there.

// passed reports whether a deadline has passed by the timer rule. examined is
// when the last examination of the sockets began; everything that it found has
// been handled.
func passed(deadline, examined time.Time) bool { return !examined.Before(deadline) }

// lateness is the delay of a timeout up to which the process counts as not held
// up. It is also the time for one more read.
const lateness = time.Millisecond

// readUntil calls read with the deadline. If read times out later than that, by
// more than lateness, this process was held up, and read is called once more:
// Go's sockets read nothing after a deadline, even if an answer is there.
func readUntil(deadline time.Time, read func(deadline time.Time) (event, error)) (event, error) {
	e, err := read(deadline)
	if now := time.Now(); timedOut(err) && now.Sub(deadline) > lateness {
		return read(now.Add(lateness))
	}
	return e, err
}

// timedOut reports whether err is the end of a deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
