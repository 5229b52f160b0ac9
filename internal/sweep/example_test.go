package sweep_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"purr/internal/scan"
	"purr/internal/sweep"
)

// The ports of a range of hosts, with a resolver of one's own.
func ExampleRun() {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	var hosts sweep.Hosts
	if err := hosts.Add("127.0.0.1-2"); err != nil {
		fmt.Println(err)
		return
	}
	o := sweep.Options{Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		addr, err := netip.ParseAddr(host)
		return []netip.Addr{addr}, err
	}}
	port := ln.Addr().(*net.TCPAddr).Port
	_, err = sweep.Run(context.Background(), hosts.All(), []int{port}, o, func(q *sweep.Query) {
		if best := q.Best(); best != nil && best.State == scan.Open {
			fmt.Println(q.Host, "is open")
		}
	})
	fmt.Println(err)
	// Output:
	// 127.0.0.1 is open
	// <nil>
}
