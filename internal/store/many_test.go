package store

import (
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"purr/internal/testkit"
)

// Of four complete files with the same final name, exactly one gets it.
func TestStoreNoReplaceRace(t *testing.T) {
	t.Parallel()
	for range 50 {
		dir := t.TempDir()
		var uploads []*Upload
		for i := range 4 { // four Stores of one directory
			in, _, err := openStoreIn(t, dir, Options{}).Begin(File{Path: "f", Size: -1})
			if err != nil {
				t.Fatal(err)
			}
			if err := in.Receive(strings.NewReader(strings.Repeat("x", i)), func(int) {}); err != nil {
				t.Fatal(err)
			}
			uploads = append(uploads, in)
		}
		results := make([]*Stored, len(uploads))
		var all sync.WaitGroup
		for i, in := range uploads {
			all.Go(func() {
				var err error
				if results[i], err = in.Commit(nil); err != nil {
					refuses(t, err, Exists, "exists")
				}
			})
		}
		all.Wait()
		want := ""
		for _, r := range results {
			if r != nil {
				want += fmt.Sprintf("f %d %x\n", r.Size, r.Digest[:4])
			}
		}
		if got := listTree(t, dir); got != want { // also fails if two have succeeded
			t.Fatalf("on the disk:\n%sreported:\n%s", got, want)
		}
	}
}

// 2,000 concurrent files arrive, and leave no other file and no goroutine.
func TestStoreManyAtOnce(t *testing.T) {
	testkit.NoLeaks(t)
	s, dir := openStoreTest(t, Options{})
	var all sync.WaitGroup
	for i := range 2000 {
		all.Go(func() {
			content := testkit.Noise(i * 7)
			got, err := put(s, File{Path: fmt.Sprintf("d%d/e%d/f%d", i%3, i%40, i), Size: int64(len(content)), Digest: testkit.SHA256(content)}, content)
			if err != nil || got.Size != int64(len(content)) {
				t.Errorf("%d: %+v %v", i, got, err)
			}
		})
	}
	all.Wait()
	lines := strings.Split(strings.TrimSpace(listTree(t, dir)), "\n")
	files := 0
	for _, line := range lines {
		var name, sumText string
		var size, i int
		if n, _ := fmt.Sscanf(line, "%s %d %s", &name, &size, &sumText); n != 3 {
			continue // a directory
		}
		files++
		if _, err := fmt.Sscanf(filepath.Base(name), "f%d", &i); err != nil || size != i*7 || sumText != fmt.Sprintf("%x", testkit.SHA256(testkit.Noise(i * 7))[:4]) {
			t.Errorf("%s", line)
		}
	}
	if files != 2000 {
		t.Errorf("%d files", files)
	}
}

// A thousand concurrent files of unknown size need at most 48 MiB of memory.
func TestStoreMemory(t *testing.T) {
	testkit.NoLeaks(t)
	s, dir := openStoreTest(t, Options{})
	use := func() int64 { // signed: buffers of earlier tests may be freed meanwhile
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	before := use()
	var all sync.WaitGroup
	var writers []*io.PipeWriter
	for i := range 1000 {
		in, _, err := s.Begin(File{Path: fmt.Sprint("f", i), Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		r, w := io.Pipe()
		writers = append(writers, w)
		all.Go(func() {
			if err := in.Receive(r, func(int) {}); err != nil {
				t.Error(err)
			}
			in.Abort()
		})
		if _, err := io.WriteString(w, "so far"); err != nil {
			t.Fatal(err)
		}
	}
	if got := use() - before; got > 48<<20 {
		t.Errorf("%d bytes for 1000 files", got)
	}
	for _, w := range writers {
		_ = w.Close()
	}
	all.Wait()
	if got := listTree(t, dir); got != "" {
		t.Error(got)
	}
}
