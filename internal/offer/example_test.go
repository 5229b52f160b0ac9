package offer_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"purr/internal/offer"
)

// A directory is offered under its own name, and read file by file.
func Example() {
	dir, err := os.MkdirTemp("", "offer")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	photos := filepath.Join(dir, "photos")
	if err := os.Mkdir(photos, 0o755); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(photos, "cat.txt"), []byte("purr"), 0o644); err != nil {
		log.Fatal(err)
	}

	set, err := offer.Open([]string{photos}, false)
	if err != nil {
		log.Fatal(err)
	}
	defer set.Close()
	_, err = set.Walk(func(e offer.Entry, skipped error) error {
		if skipped != nil {
			return skipped
		}
		_, content, sum, err := set.Read(e)
		fmt.Printf("%s, %d bytes: %s, sha256 %.4x\n", e.Path, e.Size, content, sum)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: photos/cat.txt, 4 bytes: purr, sha256 b66358a3
}
