package push

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"purr/internal/offer"
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
	bothWays(t, func(t *testing.T, listens Role) {
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
	})
}

// A sender that reads no results is cut off when many are pending.
func TestUnreadResults(t *testing.T) {
	t.Parallel()
	testkit.NoLeaks(t)
	p := newPeer(t, Sender, Options{Silence: 200 * time.Millisecond}, nil)
	if err := p.conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	line := &message{Op: opFile, Path: strings.Repeat("%20", 1000), Digest: testkit.SHA256("")}
	_ = p.conn.SetWriteDeadline(time.Now().Add(testkit.Patience))
	for sent := 0; ; sent++ {
		line.ID++
		if _, err := p.conn.Write(encode(line)); err != nil {
			break
		}
		select {
		case <-p.done:
		default:
			if sent < 1_000_000 {
				continue
			}
			t.Error("a million files are taken without a reader of their results")
		}
		break
	}
	<-p.done
	if err := p.real.err; err == nil || !strings.Contains(err.Error(), "the other end has read nothing for 200ms") {
		t.Errorf("%v", err)
	}
}
