// Package broker passes what each client of a listener sends on to all the
// others, as Ncat does with --broker and --chat.
package broker

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"purr/internal/fdio"
)

// A Broker connects its members with each other. The exported fields are set
// before the first use.
type Broker struct {
	// Chat puts "<userN> " in front of each line and escapes what could act on a
	// terminal. Members are told by "<announce> " lines when others come and go.
	Chat bool

	// Show gets the lines of a chat, except for those of Start's file. Any
	// goroutine writes to it, a whole number of lines at a time. Its error ends
	// the sender. Nil: none.
	Show io.Writer

	// Patience is how long a member with a full queue may take nothing before it
	// is dropped.
	Patience time.Duration

	// Room is the size of a member's queue in bytes.
	Room int

	once sync.Once

	mu      sync.Mutex
	members []*Member     // replaced, never changed
	joined  chan struct{} // closed when a member joins; nil: nothing waits
	last    int           // number of the last member
}

// New returns a Broker that is no chat.
func New() *Broker { return &Broker{Patience: 5 * time.Second, Room: 1 << 20} }

// Start begins to send what file has to all members, in a goroutine that ends
// with ctx. Without a member it does not read, so that the first one gets what
// came before. failed gets an error of reading. Calls after the first, and a
// nil file, do nothing.
func (b *Broker) Start(ctx context.Context, file *os.File, failed func(error)) {
	b.once.Do(func() {
		if file == nil {
			return
		}
		stop, err := fdio.NewInterrupt()
		if err != nil {
			failed(err)
			return
		}
		context.AfterFunc(ctx, stop.Fire)
		go func() {
			defer stop.Close()
			if err := b.feed(fdio.NewReader(file, stop), stop.Done()); err != nil {
				failed(err)
			}
		}()
	})
}

// feed sends what in has to all members until its end, or until stop is closed.
func (b *Broker) feed(in io.Reader, stop <-chan struct{}) error {
	own := lines{}
	buf := make([]byte, 64<<10)
	for b.awaitMember(stop) {
		n, err := in.Read(buf)
		if text := b.text(&own, buf[:n], err != nil); len(text) > 0 {
			for taken := 0; taken == 0; {
				if !b.awaitMember(stop) {
					return nil
				}
				taken, _ = b.send(nil, text, stop)
			}
		}
		switch err {
		case nil:
		case io.EOF, fdio.ErrInterrupted:
			return nil
		default:
			return err
		}
	}
	return nil
}

// awaitMember waits until there is a member. It returns false if stop is closed
// first.
func (b *Broker) awaitMember(stop <-chan struct{}) bool {
	for {
		b.mu.Lock()
		present := len(b.members) > 0
		if !present && b.joined == nil {
			b.joined = make(chan struct{})
		}
		joined := b.joined
		b.mu.Unlock()
		if present {
			return true
		}
		select {
		case <-joined:
		case <-stop:
			return false
		}
	}
}

// A Client is what a Broker has to know of a new member.
type Client struct {
	Name      string          // of its address, in a chat
	Interrupt *fdio.Interrupt // ends its waits; fires once its conversation is over
	Reset     func()          // ends a send to it that is under way

	// Waiting is called before its sending waits, for at most d, for another one.
	// Nil: nothing is called.
	Waiting func(d time.Duration)

	// Unacked returns the number of bytes that its system has not acknowledged. A
	// change is progress, although nothing was taken. Nil: unknown.
	Unacked func() (int, error)
}

// Join adds a member. The caller ends the membership by Leave.
func (b *Broker) Join(c Client) *Member {
	m := &Member{Client: c, broker: b, more: make(chan struct{}, 1)}
	b.mu.Lock()
	others := b.members
	b.last++
	m.lines.user = b.last
	b.members = append(slices.Clone(others), m)
	if b.joined != nil {
		close(b.joined)
		b.joined = nil
	}
	b.mu.Unlock()
	if b.Chat {
		b.announce(fmt.Sprintf("%s is connected as <user%d>.", m.Name, m.lines.user))
		already := "nobody"
		if len(others) > 0 {
			var names []string
			for _, other := range others {
				names = append(names, fmt.Sprintf("%s as <user%d>", other.Name, other.lines.user))
			}
			already = strings.Join(names, ", ")
		}
		m.put(announcement("already connected: "+already+"."), true)
	}
	return m
}

// present returns the members that still get something.
func (b *Broker) present() []*Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.members
}

// remove takes m out of the members. It gets nothing any more.
func (b *Broker) remove(m *Member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.members, m); i >= 0 {
		b.members = slices.Delete(slices.Clone(b.members), i, i+1)
	}
}

// text returns what members get for the bytes b of a sender, empty if its line
// goes on. The result is a copy. end is true once nothing follows.
func (b *Broker) text(l *lines, read []byte, end bool) []byte {
	if b.Chat {
		return l.take(read, end)
	}
	return slices.Clone(read)
}

// announce tells all members about another one. It does not wait for room.
func (b *Broker) announce(text string) {
	line := announcement(text)
	for _, m := range b.present() {
		m.put(line, true)
	}
	if b.Show != nil {
		_, _ = b.Show.Write(line) // an error ends the next sender, too
	}
}

// send gives text to every member but from, and returns how many have got it.
// Those with a full queue are waited for once all others have it. The error is
// fdio.ErrInterrupted if stop is closed first, or Show's.
func (b *Broker) send(from *Member, text []byte, stop <-chan struct{}) (taken int, err error) {
	var full []*Member
	for _, m := range b.present() {
		if m == from {
			continue
		}
		switch queued, room := m.put(text, false); {
		case queued:
			taken++
		case room != nil:
			full = append(full, m)
		}
	}
	if b.Show != nil && from != nil {
		if _, err := b.Show.Write(text); err != nil {
			return taken, err
		}
	}
	for _, m := range full {
		if from != nil && from.Waiting != nil {
			from.Waiting(b.Patience)
		}
		queued, err := m.await(text, stop)
		if err != nil {
			return taken, err
		}
		if queued {
			taken++
		}
	}
	return taken, nil
}
