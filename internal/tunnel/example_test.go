package tunnel_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"purr/internal/tunnel"
)

// A relay of one connection to another port.
func Example() {
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		return ln
	}
	target, relay := listen(), listen()
	go func() { // a server that answers once it has the whole question
		c, err := target.Accept()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(c)
		_, _ = fmt.Fprintf(c, "%d bytes", len(b))
		_ = c.Close()
	}()
	go func() {
		a, err := relay.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", target.Addr().String())
		if err == nil {
			err = tunnel.Join(context.Background(), a, b, tunnel.Options{})
		}
		if err != nil {
			log.Print(err)
		}
	}()

	c, err := net.Dial("tcp", relay.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "hello")
	_ = c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(c)
	fmt.Printf("%s %v\n", answer, err)
	// Output: 5 bytes <nil>
}
