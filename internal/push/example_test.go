package push_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"purr/internal/offer"
	"purr/internal/push"
	"purr/internal/store"
)

// One end listens and stores, the other dials and sends.
func Example() {
	dir, err := os.MkdirTemp("", "push")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	photo, inbox := filepath.Join(dir, "cat.txt"), filepath.Join(dir, "inbox")
	if err := os.WriteFile(photo, []byte("purr"), 0o644); err != nil {
		log.Fatal(err)
	}
	if err := os.Mkdir(inbox, 0o755); err != nil {
		log.Fatal(err)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var streams push.Streams
	stored := make(chan push.Summary)
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !push.IsHello(r) {
			http.Error(w, "this port is for purr", http.StatusBadRequest)
			return
		}
		c, err := push.Upgrade(w, r, push.Receiver, push.Options{Streams: &streams})
		if err != nil {
			return // answered already
		}
		defer c.Close()
		into, err := store.Open(inbox, store.Options{})
		if err != nil {
			log.Fatal(err)
		}
		defer into.Close()
		sum, err := c.Receive(r.Context(), into)
		if err != nil {
			log.Fatal(err)
		}
		stored <- sum
	}))

	ctx := context.Background()
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}
	conn, err := dial(ctx)
	if err != nil {
		log.Fatal(err)
	}
	c, err := push.Dial(ctx, conn, push.Sender, push.Options{Dial: dial})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	set, err := offer.Open([]string{photo}, false)
	if err != nil {
		log.Fatal(err)
	}
	defer set.Close()
	sent, err := c.Send(ctx, set)
	if err != nil {
		log.Fatal(err)
	}
	there := <-stored
	content, err := os.ReadFile(filepath.Join(inbox, "cat.txt"))
	fmt.Printf("sent %d, stored %d: %s %v\n", sent.Files, there.Files, content, err)
	// Output: sent 1, stored 1: purr <nil>
}
