package push

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"purr/internal/offer"
	"purr/internal/store"
	"purr/internal/testkit"
)

// A quota without the pool has leastMemory or one file, and waits for its own
// bytes only; it gives back to the pool what it had from there.
func TestQuota(t *testing.T) {
	var q quota
	if !q.acquire(2<<20) || !q.acquire(leastMemory) || q.pooled != leastMemory {
		t.Fatalf("%d bytes of the pool", q.pooled)
	}
	q.release(2 << 20)
	q.release(leastMemory)
	if q.held != 0 || q.pooled != 0 {
		t.Errorf("%d bytes are held, %d of the pool", q.held, q.pooled)
	}

	if !pool.TryAcquire(poolMemory) {
		t.Fatal("the pool is not full")
	}
	defer pool.Release(poolMemory)
	for range 4 {
		if !q.acquire(leastMemory / 4) {
			t.Fatal("refused below the least")
		}
	}
	more := make(chan bool)
	go func() { more <- q.acquire(offer.SmallFile) }()
	select {
	case <-more:
		t.Error("more than the least without the pool")
	case <-time.After(20 * time.Millisecond):
	}
	q.release(leastMemory / 2)
	q.release(leastMemory / 2)
	if !<-more {
		t.Error("refused though nothing else is held")
	}
	go func() { more <- q.acquire(1 << 20) }()
	q.end()
	if <-more || q.acquire(1) {
		t.Error("memory for a transfer that has ended")
	}
	q.release(offer.SmallFile)
	if q.held != 0 {
		t.Errorf("%d bytes are held after the end", q.held)
	}
}

// Transfers go on while others have all of the pool, and give back to it what
// they took.
func TestTransferWithoutPool(t *testing.T) {
	testkit.NoLeaks(t)
	for _, listens := range []Role{Sender, Receiver} {
		for _, taken := range []int64{poolMemory, poolMemory - 300<<10, 0} {
			if !pool.TryAcquire(taken) {
				t.Fatal("the pool is not full")
			}
			x := newTransfer(t, listens)
			x.into = testkit.QuickDir(t)
			content := map[string]string{}
			for i := range 300 {
				content[fmt.Sprintf("d/%d", i)] = testkit.Noise(i * 100)
			}
			for i := range 3 {
				content[fmt.Sprintf("d/edge%d", i)] = testkit.Noise(offer.SmallFile - i)
				content[fmt.Sprintf("d/large%d", i)] = testkit.Noise(1_000_000)
			}
			for name, text := range content {
				x.file(name, text)
			}
			x.run()
			pool.Release(taken)
			x.inOrder(OK)
			for name, text := range content {
				x.same(name, text)
			}
			if !pool.TryAcquire(poolMemory) {
				t.Error("the pool has lost something")
				continue
			}
			pool.Release(poolMemory)
		}
	}
}

// Lines that wait at a receiver count as memory, whatever a peer has put into
// them, until they are answered.
func TestQueuedLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	into, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	r := &receiving{Conn: newConn(Receiver, Options{}), dir: into}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	st := r.newStream(near)
	var lines, want int64
	for _, m := range []*message{
		{Op: opLink, ID: 1, Path: "link", Target: strings.Repeat("t", 20_000)},
		{Op: opDir, ID: 2, Path: "dir", Error: strings.Repeat("e", 20_000)},
		{Op: opLink, ID: 3, Path: strings.Repeat("p", 20_000), Target: "t"},
	} {
		lines++
		line := encode(m)
		want += int64(len(line)) - 1
		m, err := decode(line[:len(line)-1])
		if err != nil {
			t.Fatal(err)
		}
		r.locked(func() bool { st.busy = 1; return true }) // a file that is not answered
		if err := r.accept(st, m); err != nil {
			t.Fatal(err)
		}
		if r.memory.held != want {
			t.Errorf("%d bytes are held for %d lines, want %d", r.memory.held, lines, want)
		}
	}
	r.done(st)
	r.running.Wait()
	if r.memory.held != 0 {
		t.Errorf("%d bytes are held after the answers", r.memory.held)
	}
	if info, err := os.Lstat(filepath.Join(dir, "dir")); err != nil || !info.IsDir() {
		t.Errorf("the directory was not made: %v", err)
	}
}

// A sender that reads no results is cut off when many are pending.
func TestUnreadResults(t *testing.T) {
	t.Parallel()
	testkit.NoLeaks(t)
	const silence = 500 * time.Millisecond
	near, far := net.Pipe() // which holds nothing
	defer far.Close()
	_ = far.SetDeadline(time.Now().Add(testkit.Patience))
	into, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		c, err := Dial(t.Context(), near, Receiver, Options{Silence: silence, HelloTimeout: testkit.Patience})
		if err == nil {
			_, err = c.Receive(t.Context(), into)
			_ = c.Close()
		}
		ended <- err
	}()
	if _, err := http.ReadRequest(bufio.NewReader(far)); err != nil {
		t.Fatal(err)
	}
	testkit.WriteString(t, far, fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n%s: %s\r\n\r\n",
		Protocol, fieldRole, Sender, fieldDigests, digests))
	refused := &message{Op: opFile, Path: strings.Repeat("%2e", 100), Digest: testkit.SHA256("")}
	for {
		refused.ID++
		if _, err := far.Write(encode(refused)); err != nil {
			break
		}
		if refused.ID > 100_000 {
			t.Error("a hundred thousand results are pending")
			_ = far.Close()
			break
		}
		if refused.ID%1000 == 0 { // so that the results keep up
			time.Sleep(5 * time.Millisecond)
		}
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the other end has read nothing for 500ms") {
		t.Errorf("after %d lines: %v", refused.ID, err)
	}
	if err := into.Close(); err != nil {
		t.Error(err)
	}
}
