// Package progress counts transfers and shows how far they are: as a bar in
// the last line of a terminal, or in a report now and then. Counters are those
// of a whole run, whose Status is one line.
package progress

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/display"
)

// A Style is how a transfer is shown.
type Style int

const (
	Hidden  Style = iota // counted only
	Bar                  // drawn on Options.Terminal once it takes a second
	Reports              // handed to Options.Report every 5 s
)

// Options are where transfers are shown. The zero value shows none.
type Options struct {
	// Terminal receives the bar. If nil, Bar shows nothing.
	Terminal io.Writer

	// Columns returns the current width of Terminal; see Columns. If nil, the
	// terminal has 80.
	Columns func() int

	// Redirect sends the messages of the program to w from the first bar on,
	// so that each appears above the bar, and returns the function that undoes
	// this. If nil, the program writes no messages to Terminal.
	Redirect func(w io.Writer) (restore func())

	// Report receives the state for Reports. If nil, Reports shows nothing.
	Report func(State)
}

const (
	tick       = 200 * time.Millisecond // between two drawings
	barDelay   = time.Second            // a shorter transfer has no bar
	reportTick = 5 * time.Second / tick
	speedTime  = 4 * time.Second // that State.Speed averages over
)

// A Monitor counts all transfers that are under way. A terminal has one last
// line, so they are shown together. Its methods may be called from several
// goroutines.
type Monitor struct {
	options Options

	life    sync.Mutex    // held while show starts or ends
	stop    chan struct{} // closed to end show; nil: it does not run
	done    chan struct{} // closed when show has ended
	style   Style         // of show
	yielded atomic.Bool   // whether another writer has the terminal
	instead Style         // of Bar, from then on

	mu     sync.Mutex
	active map[*Transfer]bool
	ended  int64 // bytes of transfers that ended while others were active
	begun  time.Time
	speed  float64
	last   int64 // bytes moved when speed was updated
	shown  bool  // whether show was ever started
	closed bool
}

// New returns a Monitor without transfers. The caller closes it.
func New(o Options) *Monitor { return &Monitor{options: o} }

// A Transfer counts the bytes of one transfer. On nil its methods do nothing.
type Transfer struct {
	monitor     *Monitor
	name        atomic.Pointer[string]
	moved, size atomic.Int64
}

// Start begins a transfer of size bytes, -1 if that is unknown. name identifies
// it to the user. The caller ends it. If several transfers are active, the
// style of the first that is not Hidden holds for all.
func (m *Monitor) Start(name string, size int64, style Style) *Transfer {
	m.life.Lock()
	defer m.life.Unlock()
	t := &Transfer{monitor: m}
	t.name.Store(&name)
	t.size.Store(size)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.active) == 0 {
		m.active = make(map[*Transfer]bool)
		m.ended, m.last, m.speed, m.begun = 0, 0, 0, time.Now()
	}
	m.active[t] = true
	if m.stop == nil && !m.closed {
		m.begin(style)
	}
	return t
}

// begin starts show, if the options allow for the style. After Yield, m.instead
// replaces the style Bar. The caller holds life.
func (m *Monitor) begin(style Style) {
	if m.style = style; style == Bar && m.yielded.Load() {
		style = m.instead
	}
	if m.shows(style) {
		m.stop, m.done, m.shown = make(chan struct{}), make(chan struct{}), true
		go m.show(style, m.stop, m.done)
	}
}

// Yield gives the terminal to another writer, for good. When it returns, the
// bar is erased, and from then on the style given as instead replaces the style
// Bar. Further calls do nothing.
func (m *Monitor) Yield(instead Style) {
	if m.yielded.Load() {
		return
	}
	m.life.Lock()
	defer m.life.Unlock()
	m.instead = instead
	if m.yielded.Swap(true) || m.stop == nil || m.style != Bar {
		return
	}
	m.hide()
	m.begin(Bar)
}

// shows reports whether the options allow for the style.
func (m *Monitor) shows(style Style) bool {
	return style == Bar && m.options.Terminal != nil || style == Reports && m.options.Report != nil
}

// Add counts n bytes that were moved.
func (t *Transfer) Add(n int) {
	if t != nil {
		t.moved.Add(int64(n))
	}
}

// Rename changes the name by which the user knows what is moved now.
func (t *Transfer) Rename(name string) {
	if t != nil {
		t.name.Store(&name)
	}
}

// Grow adds n bytes to the size, which must be known.
func (t *Transfer) Grow(n int64) {
	if t != nil {
		t.size.Add(n)
	}
}

// End stops counting. If no other transfer is active, the bar is erased before
// End returns. Further calls do nothing.
func (t *Transfer) End() {
	if t == nil {
		return
	}
	m := t.monitor
	m.life.Lock()
	defer m.life.Unlock()
	m.mu.Lock()
	if m.active[t] {
		delete(m.active, t)
		m.ended += t.moved.Load()
	}
	idle := len(m.active) == 0
	m.mu.Unlock()
	if idle {
		m.hide()
	}
}

// hide ends show, if it runs, and waits until show has erased the bar. The
// caller holds life.
func (m *Monitor) hide() {
	if m.stop != nil {
		close(m.stop)
		<-m.done
		m.stop = nil
	}
}

// Close erases the bar; later transfers are not shown. It waits 100 ms at most,
// so that the process can end even if the terminal accepts no output (Ctrl-S).
func (m *Monitor) Close() {
	m.mu.Lock()
	m.closed = true
	shown := m.shown
	m.mu.Unlock()
	if !shown {
		return
	}
	hidden := make(chan struct{})
	go func() {
		defer close(hidden)
		m.life.Lock()
		defer m.life.Unlock()
		m.hide()
	}()
	select {
	case <-hidden:
	case <-time.After(100 * time.Millisecond):
	}
}

// show updates the speed at every tick, and shows the state in the given style:
// as the bar from barDelay on, or as a report every reportTick ticks. When stop
// is closed, it erases the bar and closes done.
func (m *Monitor) show(style Style, stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	begun := time.Now()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	b := &bar{options: &m.options}
	defer b.close()
	for ticks := 1; ; ticks++ {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		s := m.measure()
		switch {
		case style == Bar && time.Since(begun) >= barDelay:
			b.draw(s)
		case style == Reports && ticks%int(reportTick) == 0:
			m.options.Report(s)
		}
	}
}

// A State is the sum of all transfers that are active or ended while others
// were.
type State struct {
	Name        string // of the only active transfer, or their number
	Moved, Size int64  // bytes; Size is -1 if it is unknown
	Elapsed     time.Duration
	Speed       float64 // bytes a second, over the last 4 s
}

// State returns the current state; ok is false without an active transfer.
func (m *Monitor) State() (s State, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.active) == 0 {
		return s, false
	}
	return m.state(), true
}

// state returns the current state. Transfers that have ended count as complete
// with the bytes that they moved. The caller holds mu.
func (m *Monitor) state() State {
	s := State{Moved: m.ended, Size: m.ended, Elapsed: time.Since(m.begun), Speed: m.speed}
	for t := range m.active {
		moved, size := t.moved.Load(), t.size.Load()
		s.Moved += moved
		if size < 0 || s.Size < 0 {
			s.Size = -1
		} else {
			s.Size += size
		}
		s.Name = *t.name.Load()
	}
	if len(m.active) > 1 {
		s.Name = fmt.Sprintf("%d transfers", len(m.active))
	}
	if s.Speed == 0 {
		s.Speed = display.PerSecond(s.Moved, s.Elapsed)
	}
	return s
}

// measure updates the speed, a moving average, and returns the state. It must
// be called once for every tick.
func (m *Monitor) measure() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state()
	current := display.PerSecond(s.Moved-m.last, tick)
	m.last = s.Moved
	if m.speed += (current - m.speed) / float64(speedTime/tick); s.Elapsed < speedTime {
		m.speed = display.PerSecond(s.Moved, s.Elapsed)
	}
	s.Speed = m.speed
	return s
}

// Left estimates the time until the end. known is false without a size, while
// nothing moves, if more than the size was moved, and beyond 1000 hours.
func (s State) Left() (left time.Duration, known bool) {
	const most = 1000 * time.Hour
	if s.Size < 0 || s.Speed <= 0 {
		return 0, false
	}
	seconds := float64(s.Size-s.Moved) / s.Speed
	if seconds < 0 || seconds > most.Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second), true
}

// percent returns the share that was moved; the size must be known.
func (s State) percent() int {
	if s.Size == 0 {
		return 100
	}
	return int(100 * (float64(s.Moved) / float64(s.Size)))
}

// String returns the state in one line for a message: "disk.img: 50 MiB of 200
// MiB (25 %), 10 MiB/s, after 5s, 15s left".
func (s State) String() string {
	moved, speed, elapsed := display.Bytes(float64(s.Moved)), display.Bytes(s.Speed), display.Duration(s.Elapsed)
	if s.Size < 0 {
		return fmt.Sprintf("%s: %s, %s/s, after %v", s.Name, moved, speed, elapsed)
	}
	text := fmt.Sprintf("%s: %s of %s (%d %%), %s/s, after %v", s.Name, moved, display.Bytes(float64(s.Size)), s.percent(), speed, elapsed)
	if left, known := s.Left(); known {
		text += fmt.Sprintf(", %v left", left)
	}
	return text
}
