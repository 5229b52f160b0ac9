package proxyproto_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"time"

	"purr/internal/proxyproto"
)

// A server behind a proxy gets its client's address, and then the payload.
func Example() {
	proxy, server := net.Pipe()
	go func() {
		header := proxyproto.Header{
			Source:      netip.MustParseAddrPort("192.0.2.1:56324"),
			Destination: netip.MustParseAddrPort("10.0.0.1:443"),
		}
		_, _ = proxy.Write(append(header.AppendVersion2(nil), "hello"...))
		_ = proxy.Close()
	}()
	header, err := proxyproto.Receive(server, 3*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	payload, err := io.ReadAll(server)
	fmt.Printf("%v: %s %v\n", header.Source, payload, err)
	// Output: 192.0.2.1:56324: hello <nil>
}
