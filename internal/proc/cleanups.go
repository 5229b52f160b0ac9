package proc

import (
	"os"
	"sync"
	"time"
)

// Cleanups are functions that undo what a program leaves behind, however it
// ends. Any goroutine may use it; the zero value is empty.
type Cleanups struct {
	mu  sync.Mutex
	all []func()
}

// Add registers a function for the end of the program.
func (c *Cleanups) Add(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, f)
}

// Run calls the registered functions once, the last one first.
func (c *Cleanups) Run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.all) > 0 {
		last := len(c.all) - 1
		c.all[last]()
		c.all = c.all[:last]
	}
}

// Hold registers, with a function such as Cleanups.Add, a wait for release: the
// end of the program takes until then, and at most limit.
func Hold(add func(func()), limit time.Duration) (release func()) {
	done := make(chan struct{})
	add(func() {
		select {
		case <-done:
		case <-time.After(limit):
		}
	})
	return func() { close(done) }
}

// RemoveFile registers the removal of a file of this process, such as a socket.
// At the end of the program the file stays if another one has replaced it. An
// abstract socket has no file.
func (c *Cleanups) RemoveFile(path string) {
	if path == "" || path[0] == '@' {
		return
	}
	ours, err := os.Lstat(path)
	if err != nil {
		return
	}
	c.Add(func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(ours, now) {
			_ = os.Remove(path)
		}
	})
}
