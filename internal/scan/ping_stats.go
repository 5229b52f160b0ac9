package scan

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// maxRTTs is the number of round trip times kept for percentiles: the last
// ones.
const maxRTTs = 100000

// PingStats are the sums of a ping.
type PingStats struct {
	Addr    netip.AddrPort
	Payload string

	Sent      int
	Answered  int // in time
	Duplicate int // further answers
	Late      int
	Reordered int
	Rejected  int // by ICMP

	// Round trip times of the answers in time. Jitter is that of RFC 3550
	// 6.4.1, whose difference of two transit times is that of two round trip
	// times, there and back together.
	Min, Max, Jitter time.Duration
	UserClock        bool // not all of them were measured by the kernel

	Verdict State // of the last ICMP error; empty without one
	Err     error // why it ended early; nil if ctx ended

	mean, squares float64 // of the round trip times in ns, and the sum of squared distances (Welford)
	rtts          []time.Duration
	last          time.Duration // the previous round trip time
	highest       int           // sequence number answered

	// Of the far end's counts: the highest and the sequence number of its
	// request. counted is false if there are none. recounted is true if they
	// have begun anew, after which they prove nothing.
	countHighest, countSeq int
	counted, recounted     bool
}

// Lost returns the share of requests without an answer in time, 0 to 1.
func (s *PingStats) Lost() float64 {
	if s.Sent == 0 {
		return 0
	}
	return float64(s.Sent-s.Answered) / float64(s.Sent)
}

// Directions returns how many requests were lost on the way there, and how many
// answers on the way back. Both are about the first requests, up to the last
// one whose answer has a count of the far end. known is false if the far end
// does not count, or has begun anew.
func (s *PingStats) Directions() (first, there, back int, known bool) {
	if !s.counted || s.recounted {
		return 0, 0, 0, false
	}
	return s.countSeq, max(0, s.countSeq-s.countHighest), max(0, s.countHighest-s.Answered-s.Late), true
}

// Mean returns the mean of all round trip times.
func (s *PingStats) Mean() time.Duration { return time.Duration(s.mean) }

// StdDev returns the standard deviation of all round trip times.
func (s *PingStats) StdDev() time.Duration {
	if s.Answered == 0 {
		return 0
	}
	return time.Duration(math.Sqrt(s.squares / float64(s.Answered)))
}

// Percentile returns the p-th percentile of the last maxRTTs round trip times.
func (s *PingStats) Percentile(p float64) time.Duration {
	if len(s.rtts) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.rtts))
	return sorted[min(len(sorted)-1, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}

// add counts an answer in time, and adds its round trip time to the sums.
func (s *PingStats) add(rtt time.Duration) {
	s.Answered++
	if s.Answered == 1 {
		s.Min, s.Max = rtt, rtt
	} else {
		s.Jitter += ((rtt - s.last).Abs() - s.Jitter) / 16
	}
	s.last, s.Min, s.Max = rtt, min(s.Min, rtt), max(s.Max, rtt)
	delta := float64(rtt) - s.mean
	s.mean += delta / float64(s.Answered)
	s.squares += delta * (float64(rtt) - s.mean)
	if len(s.rtts) < maxRTTs {
		s.rtts = append(s.rtts, rtt)
	} else {
		s.rtts[s.Answered%maxRTTs] = rtt
	}
}

// count records the far end's count in the answer to request seq. A count that
// does not grow with seq means that the far end has begun anew.
func (s *PingStats) count(seq, count int) {
	s.counted = true
	if seq > s.countSeq && count <= s.countHighest {
		s.recounted = true // the far end has restarted, or has forgotten us among others
	}
	s.countHighest, s.countSeq = max(s.countHighest, count), max(s.countSeq, seq)
}
