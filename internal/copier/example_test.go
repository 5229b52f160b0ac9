//go:build unix

package copier_test

import (
	"fmt"
	"io"
	"net"
	"os"

	"purr/internal/copier"
	"purr/internal/fdio"
)

// A pipe is copied into a socket, inside the kernel where that is possible.
func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	go func() {
		r, w, _ := os.Pipe()
		go func() { _, _ = io.WriteString(w, "hello\n"); _ = w.Close() }()
		conn, _ := net.Dial("tcp", ln.Addr().String())
		defer conn.Close()
		stop, _ := fdio.NewInterrupt() // stop.Fire() would end the copying
		defer stop.Close()

		c := copier.New(conn, fdio.New(r, stop))
		defer c.Close()
		var sent int
		if err := copier.Run(c, copier.MaxSlice, func(n int) error { sent += n; return nil }); err != nil {
			fmt.Println(err) // a *fdio.CopyError has the end that failed
		}
	}()
	conn, err := ln.Accept()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	b, err := io.ReadAll(conn)
	fmt.Printf("%s%v\n", b, err)
	// Output:
	// hello
	// <nil>
}
