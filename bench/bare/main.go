// Bare dials a TCP address and ends: status 0 if the connection was accepted,
// 1 if not. It is the least that a Go program can do to dial, and bench
// compares the start-up of purr with it.
package main

import (
	"net"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		os.Exit(2)
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(os.Args[1], os.Args[2]))
	if err != nil {
		os.Exit(1)
	}
	conn.Close()
}
