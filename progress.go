package main

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/display"
	"purr/internal/fdio"
)

// This file counts transfers and shows how they get on: as a bar in the last
// line of a terminal (bar.go), or as a line now and then where stderr is none.

// A tracker counts one transfer. Its methods do nothing on nil.
type tracker struct {
	all         *progress
	name        string
	moved, size atomic.Int64 // size -1: not known
}

// add counts n bytes that were moved. It may be called from any goroutine.
func (t *tracker) add(n int) {
	if t != nil {
		t.moved.Add(int64(n))
	}
}

// grow makes the known size larger by n.
func (t *tracker) grow(n int64) {
	if t != nil {
		t.size.Add(n)
	}
}

// end stops counting. With the last tracker the bar goes, before end returns.
// Calls after the first do nothing.
func (t *tracker) end() {
	if t != nil {
		t.all.drop(t)
	}
}

// How progress is shown.
type progressForm int

const (
	progressNone progressForm = iota
	progressBar
	progressLines
)

const (
	progressAfter = time.Second            // what is over sooner shows nothing
	barTick       = 200 * time.Millisecond // between two drawings
	lineTicks     = 25                     // ticks between two lines: 5 s
)

// A progress is all transfers of a run that are under way. They are shown
// together, because there is one last line.
type progress struct {
	p *purr

	life    sync.Mutex // held while something begins to be shown or ceases to be
	closing sync.Once
	stop    chan struct{} // closed to end show; nil: nothing is shown
	done    chan struct{} // closed when show has ended

	mu     sync.Mutex
	active map[*tracker]bool
	over   int64 // bytes moved by those that have ended while others went on
	begun  time.Time
	speed  float64 // bytes a second, lately
	last   int64   // bytes when speed was taken
	closed bool    // whether nothing is shown any more
}

// track begins to count one transfer, which name stands for in what is shown;
// size is in bytes, -1 if it is not known. The caller ends the tracker.
func (p *purr) track(name string, size int64) *tracker {
	return p.progress.track(name, size, p.progressForm(false))
}

// progressForm is how a transfer is shown. One that shares the terminal with
// what a person types and reads has no bar: it would be drawn into that.
func (p *purr) progressForm(plain bool) progressForm {
	k := &p.cfg.pace
	switch {
	case k.quiet || k.noProgress, (plain || p.log.json) && !k.progress:
		return progressNone
	case p.log.json:
		return progressLines
	case p.terminal() != nil && !(plain && (fdio.KindOf(p.stdin) == fdio.Terminal || fdio.KindOf(p.stdout) == fdio.Terminal)):
		return progressBar
	case k.progress:
		return progressLines
	}
	return progressNone
}

// terminal is stderr if it is one, else nil.
func (p *purr) terminal() *os.File {
	if f, ok := p.stderr.(*os.File); ok && fdio.IsTerminal(f) {
		return f
	}
	return nil
}

func (g *progress) track(name string, size int64, form progressForm) *tracker {
	g.life.Lock()
	defer g.life.Unlock()
	t := &tracker{all: g, name: name}
	t.size.Store(size)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.active) == 0 {
		g.active = make(map[*tracker]bool)
		g.over, g.last, g.speed, g.begun = 0, 0, 0, time.Now()
	}
	g.active[t] = true
	if form != progressNone && g.stop == nil && !g.closed {
		g.stop, g.done = make(chan struct{}), make(chan struct{})
		g.closing.Do(func() { g.p.atExit(g.close) })
		go g.show(form, g.stop, g.done)
	}
	return t
}

func (g *progress) drop(t *tracker) {
	g.life.Lock()
	defer g.life.Unlock()
	g.mu.Lock()
	if g.active[t] {
		delete(g.active, t)
		g.over += t.moved.Load()
	}
	idle := len(g.active) == 0
	g.mu.Unlock()
	if idle {
		g.hide()
	}
}

// hide ends show. The caller holds life.
func (g *progress) hide() {
	if g.stop != nil {
		close(g.stop)
		<-g.done
		g.stop = nil
	}
}

// close takes the bar away for good. A terminal that takes nothing (Ctrl-S)
// does not keep the process from ending.
func (g *progress) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	hidden := make(chan struct{})
	go func() {
		defer close(hidden)
		g.life.Lock()
		defer g.life.Unlock()
		g.hide()
	}()
	select {
	case <-hidden:
	case <-time.After(100 * time.Millisecond):
	}
}

// show tells how the transfers get on until stop is closed.
func (g *progress) show(form progressForm, stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	begun := time.Now()
	ticker := time.NewTicker(barTick)
	defer ticker.Stop()
	var b *bar
	if form == progressBar {
		b = newBar(g.p.terminal())
		defer b.close()
	}
	for ticks := 1; ; ticks++ {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		now := g.measure()
		switch {
		case b != nil:
			line := b.paint(now)
			if time.Since(begun) >= progressAfter {
				b.draw(line, g.p.log)
			}
		case ticks%lineTicks == 0 && g.p.log.json:
			g.p.log.event("progress", now.fields()...)
		case ticks%lineTicks == 0:
			g.p.log.warnf("%s", now)
		}
	}
}

// A progressState is how far the transfers are at one moment.
type progressState struct {
	name        string
	moved, size int64 // bytes; size -1: not known
	took        time.Duration
	speed       float64 // bytes a second, lately
}

// now returns the state of the transfers, false if there are none.
func (g *progress) now() (s progressState, any bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.active) == 0 {
		return s, false
	}
	return g.state(), true
}

// state is now for those who hold mu. A transfer that has ended counts as
// complete with what it has moved.
func (g *progress) state() progressState {
	s := progressState{moved: g.over, size: g.over, took: time.Since(g.begun), speed: g.speed}
	for t := range g.active {
		moved, size := t.moved.Load(), t.size.Load()
		s.moved += moved
		if size < 0 || s.size < 0 {
			s.size = -1
		} else {
			s.size += size
		}
		s.name = t.name
	}
	if len(g.active) > 1 {
		s.name = fmt.Sprintf("%d transfers", len(g.active))
	}
	if s.speed == 0 {
		s.speed = display.PerSecond(s.moved, s.took)
	}
	return s
}

// measure returns the state and keeps the speed up to date: about the mean of
// the last 4 s. It is called once for every tick.
func (g *progress) measure() progressState {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.state()
	lately := display.PerSecond(s.moved-g.last, barTick)
	g.last = s.moved
	if g.speed += (lately - g.speed) / float64(4*time.Second/barTick); s.took < 4*time.Second {
		g.speed = display.PerSecond(s.moved, s.took)
	}
	s.speed = g.speed
	return s
}

// left is the time until the end; false if nothing is known of it.
func (s progressState) left() (time.Duration, bool) {
	const most = 1000 * time.Hour
	if s.size < 0 || s.speed <= 0 {
		return 0, false
	}
	seconds := float64(s.size-s.moved) / s.speed
	if seconds < 0 || seconds > most.Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second), true
}

// String is the state for people.
func (s progressState) String() string {
	if s.size < 0 {
		return fmt.Sprintf("%s: %s, %s/s, after %v", s.name, display.Bytes(float64(s.moved)), display.Bytes(s.speed), display.Duration(s.took))
	}
	share := int64(100)
	if s.size > 0 {
		share = int64(100 * (float64(s.moved) / float64(s.size)))
	}
	text := fmt.Sprintf("%s: %s of %s (%d %%), %s/s, after %v", s.name, display.Bytes(float64(s.moved)), display.Bytes(float64(s.size)), share, display.Bytes(s.speed), display.Duration(s.took))
	if left, known := s.left(); known {
		text += fmt.Sprintf(", %v left", left)
	}
	return text
}

// fields is the state for programs.
func (s progressState) fields() []field {
	fields := []field{{"name", s.name}, {"moved", s.moved}}
	if s.size >= 0 {
		fields = append(fields, field{"size", s.size})
	}
	fields = append(fields, field{"speed", s.speed}, field{"elapsed", s.took.Seconds()})
	if left, known := s.left(); known {
		fields = append(fields, field{"left", left.Seconds()})
	}
	return fields
}

// trackSession begins to count a conversation: the file that it is about, or
// with --progress whatever it moves. Nil if neither is wanted.
func (s *session) trackSession() *tracker {
	cfg := s.p.cfg
	name, size := s.file, int64(-1)
	if s.fileIn {
		size = cfg.file.expectSize // -1: any
	}
	switch in := s.in.(type) {
	case *exactFile:
		size = in.size
	case *fdio.File:
		size = in.Remaining()
	}
	s.trackReceived = s.fileIn || s.file == "" && size < 0
	s.trackSent = !s.fileIn
	if s.file != "" {
		return s.p.track(name, size)
	}
	if !cfg.pace.progress {
		return nil
	}
	return s.p.progress.track(s.peer, size, s.p.progressForm(true))
}
