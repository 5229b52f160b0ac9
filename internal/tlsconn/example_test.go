package tlsconn_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"purr/internal/tlsconn"
)

// A server that takes only clients with its key, and one of them.
func Example() {
	key := tlsconn.NewKey()
	config, err := key.Config(tlsconn.Stream, true)
	if err != nil {
		log.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &tlsconn.Handshaker{Config: config, Server: true}
	ln := server.Listener(context.Background(), tcp, func(c net.Conn, err error) {
		log.Printf("%v: %v", c.RemoteAddr(), err)
	})
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "hello")
		_ = c.Close()
	}()

	text := key.String() // exchanged by other means
	if key, err = tlsconn.ParseKey(text); err != nil {
		log.Fatal(err)
	}
	if config, err = key.Config(tlsconn.Stream, false); err != nil {
		log.Fatal(err)
	}
	conn, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	client := &tlsconn.Handshaker{Config: config}
	c, err := client.Do(context.Background(), conn)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	fmt.Printf("%s %v\n", b, err)
	// Output: hello <nil>
}
