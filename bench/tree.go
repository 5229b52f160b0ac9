package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// perFolder is how many files one directory of a tree holds; smallest and largest are their sizes (bytes).
const (
	perFolder = 100
	smallest  = 200
	largest   = 8 << 10
)

// dataTree returns a directory of so many small files, and the bytes they hold together. It is made once.
func (b *bench) dataTree(files int) (dir string, size int64, err error) {
	dir = filepath.Join(b.dir, fmt.Sprintf("tree-%d", files))
	random := rand.New(rand.NewPCG(1, 2)) // the same tree in every run
	_, missing := os.Stat(dir)
	content := newStream(false).at(0, maxBlock)
	for i := range files {
		n := smallest + random.IntN(largest-smallest+1)
		at := random.IntN(len(content) - n)
		size += int64(n)
		if missing == nil {
			continue
		}
		in := filepath.Join(dir, fmt.Sprintf("d%03d", i/perFolder))
		if err := os.MkdirAll(in, 0o777); err != nil {
			return dir, size, err
		}
		if err := os.WriteFile(filepath.Join(in, fmt.Sprintf("f%03d", i%perFolder)), content[at:at+n], 0o666); err != nil {
			return dir, size, err
		}
	}
	return dir, size, nil
}

// dataLarge returns a directory of several files that hold size bytes together,
// a multiple of their number. Their contents differ. It is made once.
func (b *bench) dataLarge(files int, size int64) (string, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("large-%d-%d", files, size))
	if err := os.Mkdir(dir, 0o777); os.IsExist(err) {
		return dir, nil
	} else if err != nil {
		return dir, err
	}
	for i := range files {
		name := fmt.Sprintf("f%03d", i)
		if err := writePattern(filepath.Join(dir, name), name, size/int64(files)-int64(len(name))); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// sameTree says whether two files, or two directories, hold the same.
func sameTree(want, got string) error {
	seen := 0
	err := filepath.WalkDir(want, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		inside, err := filepath.Rel(want, path)
		if err != nil {
			return err
		}
		return sameFile(path, filepath.Join(got, inside))
	})
	if err != nil {
		return err
	}
	return filepath.WalkDir(got, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if seen--; seen < 0 {
				err = fmt.Errorf("%s was not sent", path)
			}
		}
		return err
	})
}

// sameFile says whether two files hold the same bytes.
func sameFile(want, got string) error {
	a, err := os.Open(want)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(got)
	if err != nil {
		return err
	}
	defer b.Close()
	x, y := make([]byte, maxBlock), make([]byte, maxBlock)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return fmt.Errorf("%s differs from what was sent", got)
		}
		if errA != nil || errB != nil {
			if errA == io.EOF || errA == io.ErrUnexpectedEOF {
				errA = nil
			}
			if errB == io.EOF || errB == io.ErrUnexpectedEOF {
				errB = nil
			}
			if errA != nil {
				return errA
			}
			return errB
		}
	}
}
