package scan_test

import (
	"context"
	"fmt"
	"net"

	"purr/internal/payload"
	"purr/internal/scan"
)

// A TCP scan of two ports of this machine, of which one has a listener.
func ExampleTCP() {
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer open.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	targets := []scan.Target{
		{Host: "first", Addr: open.Addr().(*net.TCPAddr).AddrPort()},
		{Host: "second", Addr: closed.Addr().(*net.TCPAddr).AddrPort()},
	}
	closed.Close()

	err = scan.TCP(context.Background(), targets, scan.TCPOptions{Shuffle: true}, func(r *scan.Result) {
		fmt.Println(r.Host, r.State)
	})
	fmt.Println(err)
	// Output:
	// first open
	// second closed
	// <nil>
}

// A UDP server that echoes, asked with a payload of one's own.
func ExampleUDP() {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	go func() {
		b := make([]byte, payload.MaxSize)
		for {
			n, from, err := server.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = server.WriteToUDPAddrPort(b[:n], from)
		}
	}()

	var o scan.UDPOptions
	if err := o.Payload.Set("text:hello"); err != nil {
		fmt.Println(err)
		return
	}
	targets := []scan.Target{{Addr: server.LocalAddr().(*net.UDPAddr).AddrPort()}}
	scan.UDP(context.Background(), targets, o, func(r *scan.Result) {
		fmt.Println(r.State, r.UDP.Fact)
	})
	// Output: open 5 bytes "hello"
}
