//go:build unix

package main

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// A client that takes nothing is reset after a while, and the one that it
// held up gets everything.
func TestSlowClientIsLetGo(t *testing.T) {
	testkit.Fairly(t, 300*time.Millisecond, letsGo)
}

func letsGo(t testing.TB) {
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p, ctx := testRun(t, in, null, "-l", "-k", "127.0.0.1", "0")

	p.talk.fan.Patience = time.Second
	if err := p.talk.fan.Start(ctx); err != nil {
		t.Fatal(err)
	}
	ln := listenTest(t)
	serve := func() (client net.Conn, done chan error) {
		client = dialTest(t, "tcp", ln.Addr().String())
		server := acceptTest(t, ln)
		done = make(chan error, 1)
		go func() {
			done <- shareStdio(ctx, p.talk, server)
			_ = server.Close()
		}()
		return client, done
	}
	slow, slowDone := serve()
	good, goodDone := serve()
	testkit.Eventually(t, "both to have joined", func() bool { return p.talk.fan.Len() == 2 })

	content := testkit.Noise(32 << 20)
	go func() {
		_, _ = io.WriteString(feed, content)
		_ = feed.Close()
	}()
	if got := testkit.ReadAll(t, good); got != content {
		t.Errorf("%d of %d bytes came to the good client, or others", len(got), len(content))
	}
	_ = good.Close()
	if err := <-goodDone; err != nil {
		t.Errorf("the good client: %v", err)
	}
	if err := <-slowDone; err == nil || !strings.Contains(err.Error(), "took nothing for 1s") {
		t.Errorf("the slow client: %v", err)
	}
	if _, err := io.Copy(io.Discard, slow); err == nil {
		t.Error("the slow client saw an orderly end")
	}
}
