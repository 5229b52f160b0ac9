package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"purr/internal/proxy"
)

// A dialer for "-X 5 -x PROXY": the name is resolved by the proxy.
func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go func() { // a proxy that grants everything
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.ReadFull(c, make([]byte, 3))
		_, _ = io.WriteString(c, "\x05\x00")
		_, _ = io.ReadFull(c, make([]byte, 4+1+len("db.example")+2))
		_, _ = io.WriteString(c, "\x05\x00\x00\x01\x7f\x00\x00\x01\x15\x38hello")
	}()

	spec := proxy.Spec{X: ln.Addr().String(), XType: "5"}
	config, err := spec.Config()
	if err != nil {
		log.Fatal(err)
	}
	dialer := &proxy.Dialer{Config: *config, Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", config.Addr())
	}}
	c, err := dialer.Connect(context.Background(), "db.example", 5432)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	fmt.Printf("%T: %s %v\n", c, b, err)
	// Output: *net.TCPConn: hello <nil>
}
