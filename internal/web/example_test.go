package web_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"purr/internal/offer"
	"purr/internal/web"
)

// A file is offered until one client has downloaded it.
func ExampleServer_Serve() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hello.txt")
	if err := os.WriteFile(path, []byte("hello\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	set, err := offer.Open([]string{path}, false)
	if err != nil {
		log.Fatal(err)
	}
	defer set.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- web.NewOffer(set, web.Options{}).Serve(context.Background(), ln) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/hello.txt")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	fmt.Printf("%q %v\n", content, err)
	fmt.Println("Serve:", <-served)
	// Output:
	// "hello\n" <nil>
	// Serve: <nil>
}
