package store_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"purr/internal/store"
)

// A file is received, verified by the digest that its sender sends behind it,
// and stored. A damaged one is refused.
func Example() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	receive := func(path, content, sent string) (*store.Stored, error) {
		upload, stored, err := s.Begin(store.File{Path: path, Size: int64(len(sent))})
		if upload == nil { // an error, or the file is there already
			return stored, err
		}
		if err := upload.Receive(strings.NewReader(content), nil); err != nil {
			upload.Suspend() // a later Begin can continue a large file
			return nil, err
		}
		digest := sha256.Sum256([]byte(sent))
		return upload.Commit(digest[:])
	}

	stored, err := receive("docs/hello.txt", "hello", "hello")
	if err != nil {
		log.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "docs", "hello.txt"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %d bytes, %q\n", stored.Path, stored.Size, content)

	_, err = receive("docs/other.txt", "hellp", "hello")
	var refused *store.Error
	fmt.Println(errors.As(err, &refused) && refused.Kind == store.Mismatch, err)
	_, err = receive("../outside", "hello", "hello")
	fmt.Println(errors.As(err, &refused) && refused.Kind == store.Invalid, err)

	// Output:
	// docs/hello.txt: 5 bytes, "hello"
	// true digest mismatch: damaged on the way
	// true unsafe name: a component that is empty, . or ..
}

// A file appears under its name when it is complete.
func ExampleCreateAtomic() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "report")
	f, err := store.CreateAtomic(path, store.ReplaceNothing)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close() // removes the file unless it was committed
	if _, err := f.WriteString("complete"); err != nil {
		log.Fatal(err)
	}
	_, err = os.Stat(path)
	fmt.Println("before:", errors.Is(err, os.ErrNotExist))
	if err := f.Commit(); err != nil {
		log.Fatal(err)
	}
	content, err := os.ReadFile(path)
	fmt.Printf("after: %s, %v\n", content, err)

	// Output:
	// before: true
	// after: complete, <nil>
}
