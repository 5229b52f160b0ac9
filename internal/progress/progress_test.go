package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A screen is a terminal that understands carriage returns and newlines. Where
// a program writes messages is where Redirect has sent them.
type screen struct {
	mu       sync.Mutex
	rows     []string
	column   int
	messages io.Writer
}

func newScreen() *screen {
	s := &screen{rows: []string{""}}
	s.messages = s
	return s
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range b {
		last := len(s.rows) - 1
		switch c {
		case '\r':
			s.column = 0
		case '\n':
			s.rows, s.column = append(s.rows, ""), 0
		default:
			row := []byte(fmt.Sprintf("%-*s", s.column+1, s.rows[last]))
			row[s.column] = c
			s.rows[last] = string(row)
			s.column++
		}
	}
	return len(b), nil
}

func (s *screen) options() Options {
	return Options{Terminal: s, Redirect: func(w io.Writer) (restore func()) {
		old := s.messages
		s.messages = w
		return func() { s.messages = old }
	}}
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, row := range s.rows {
		lines = append(lines, strings.TrimRight(row, " "))
	}
	return strings.Join(lines, "\n")
}

func (s *screen) shows(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	if got := s.text(); got != want {
		t.Errorf("after %v: the screen shows %q, want %q", time.Since(epoch), got, want)
	}
}

// A synctest bubble begins at this time.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestBar(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScreen()
		m := New(s.options())
		defer m.Close()
		transfer := m.Start("disk.img", 8<<20, Bar)
		step := func(d time.Duration, n int) {
			for ; d > 0; d -= tick {
				time.Sleep(tick / 2)
				transfer.Add(n)
				time.Sleep(tick / 2)
			}
		}
		step(800*time.Millisecond, 1<<18)
		s.shows(t, "")
		step(tick, 1<<18)
		s.shows(t, "disk.img 15% [==>                 ] (1.2/8.0 MiB, 1.2 MiB/s) ETA 5s")
		fmt.Fprintln(s.messages, "a message that is longer than the bar, which it must leave whole in the row below")
		s.shows(t, "a message that is longer than the bar, which it must leave whole in the row below\n"+
			"disk.img 15% [==>                 ] (1.2/8.0 MiB, 1.2 MiB/s) ETA 5s")
		step(3*time.Second, 1<<18)
		s.shows(t, "a message that is longer than the bar, which it must leave whole in the row below\n"+
			"disk.img 62% [===========>        ] (5.0/8.0 MiB, 1.2 MiB/s) ETA 2s")
		transfer.End()
		transfer.End()
		s.shows(t, "a message that is longer than the bar, which it must leave whole in the row below\n")
		if s.messages != s {
			t.Error("messages do not go to the terminal again")
		}
	})
}

// The key that ends a program, which the terminal shows behind the bar, goes
// with it.
func TestInterruptedBar(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"f", strings.Repeat("long/", 30)} {
		synctest.Test(t, func(t *testing.T) {
			s := newScreen()
			m := New(s.options())
			m.Start(name, 9, Bar)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			_, _ = io.WriteString(s, "^C")
			if s.column > defaultColumns-1 {
				t.Errorf("the terminal goes on to the next line at column %d", s.column)
			}
			m.Close()
			s.shows(t, "")
		})
	}
}

// Yield takes the bar from the terminal for good. Reports may take its place.
func TestYield(t *testing.T) {
	t.Parallel()
	for _, instead := range []Style{Hidden, Reports} {
		synctest.Test(t, func(t *testing.T) {
			s := newScreen()
			reports := 0
			o := s.options()
			o.Report = func(State) { reports++ }
			m := New(o)
			defer m.Close()
			transfer := m.Start("f", -1, Bar)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := s.text(); !strings.HasSuffix(got, " (0 B)") {
				t.Errorf("the screen shows %q", got)
			}
			m.Yield(instead)
			_, _ = io.WriteString(s, "payload")
			m.Yield(instead)
			time.Sleep(6 * time.Second)
			s.shows(t, "payload")
			transfer.End()
			m.Start("g", 9, Bar)
			time.Sleep(6 * time.Second)
			s.shows(t, "payload")
			if want := 2 * int(instead/Reports); reports != want {
				t.Errorf("%d reports, want %d", reports, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // nothing to yield: nothing is shown
		s := newScreen()
		m := New(s.options())
		m.Yield(Hidden)
		m.Start("f", 9, Bar)
		time.Sleep(6 * time.Second)
		s.shows(t, "")
		m.Close()
	})
}

// A transfer of less than a second has no bar.
func TestShortTransfer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScreen()
		m := New(s.options())
		for range 5 {
			transfer := m.Start("f", 9, Bar)
			transfer.Add(9)
			time.Sleep(900 * time.Millisecond)
			transfer.End()
		}
		s.shows(t, "")
		m.Close()
	})
}

func TestReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reports []string
		m := New(Options{Report: func(s State) { reports = append(reports, s.String()) }})
		defer m.Close()
		transfer := m.Start("f", -1, Reports)
		for range 60 { // 100 KiB/s for 5 s, then 200 KiB/s
			time.Sleep(tick / 2)
			transfer.Add(20 << 10)
			if time.Since(epoch) >= 5*time.Second {
				transfer.Add(20 << 10)
			}
			time.Sleep(tick / 2)
		}
		transfer.End()
		time.Sleep(time.Minute)
		want := []string{"f: 500 KiB, 100 KiB/s, after 5s", "f: 1.5 MiB, 172 KiB/s, after 10s"}
		if strings.Join(reports, "\n") != strings.Join(want, "\n") {
			t.Errorf("reports %q, want %q", reports, want)
		}
	})
}

// Several transfers are shown together; those that have ended count until the
// last one ends.
func TestTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{})
		defer m.Close()
		check := func(want string) {
			t.Helper()
			if s, ok := m.State(); s.String() != want || !ok {
				t.Errorf("state %q (%v), want %q", s, ok, want)
			}
		}
		if s, ok := m.State(); ok {
			t.Errorf("state %q without a transfer", s)
		}
		a, b := m.Start("a", 100, Bar), m.Start("b", 0, Bar)
		b.Grow(300)
		a.Add(100)
		b.Add(100)
		time.Sleep(2 * time.Second)
		check("2 transfers: 200 B of 400 B (50 %), 100 B/s, after 2s, 2s left")
		a.End()
		check("b: 200 B of 400 B (50 %), 100 B/s, after 2s, 2s left")
		c := m.Start("c", -1, Bar)
		check("2 transfers: 200 B, 100 B/s, after 2s")
		b.End()
		c.End()
		if s, ok := m.State(); ok {
			t.Errorf("state %q after the last transfer", s)
		}
		d := m.Start("d", 0, Bar)
		time.Sleep(time.Second)
		check("d: 0 B of 0 B (100 %), 0 B/s, after 1s")
		d.End()
	})
}

// Where nothing moves, no time is predicted.
func TestLeft(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		state State
		want  string
	}{
		{State{Moved: 25, Size: 100, Speed: 5}, "15s true"},
		{State{Moved: 25, Size: 100}, "0s false"},
		{State{Moved: 25, Size: -1, Speed: 5}, "0s false"},
		{State{Moved: 125, Size: 100, Speed: 5}, "0s false"},
		{State{Size: 1 << 40, Speed: 1}, "0s false"},
	} {
		left, known := test.state.Left()
		if got := fmt.Sprint(left, known); got != test.want {
			t.Errorf("%+v: %s, want %s", test.state, got, test.want)
		}
	}
}

// A blockedTerminal accepts no output, as after Ctrl-S.
type blockedTerminal struct{ released chan struct{} }

func (b blockedTerminal) Write(p []byte) (int, error) {
	<-b.released
	return len(p), nil
}

func TestCloseWithBlockedTerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		terminal := blockedTerminal{make(chan struct{})}
		m := New(Options{Terminal: terminal})
		m.Start("f", 9, Bar)
		time.Sleep(2 * time.Second)
		begun := time.Now()
		m.Close()
		if took := time.Since(begun); took != 100*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
		close(terminal.released)
		synctest.Wait()
	})
}

// After Close nothing is shown, and nil counts nothing.
func TestClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScreen()
		m := New(s.options())
		shown := m.Start("f", 9, Bar)
		time.Sleep(2 * time.Second)
		m.Close()
		s.shows(t, "")
		late := m.Start("g", 9, Bar)
		time.Sleep(2 * time.Second)
		s.shows(t, "")
		shown.End()
		late.End()
		var none *Transfer
		none.Add(1)
		none.Grow(1)
		none.End()
	})
}
