// Archive packs a directory so that the same files give the same bytes:
//
//	archive FILE.tar.gz DIR
//	archive FILE.zip DIR
//
// Names are in order and begin with DIR's own; owner and group are 0; modes are
// 0755 for directories and executable files, else 0644; every time is that of
// SOURCE_DATE_EPOCH, in seconds, default 0.
package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "archive: say \"archive FILE.tar.gz DIR\" or \"archive FILE.zip DIR\"")
		os.Exit(2)
	}
	seconds, _ := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err := pack(os.Args[1], os.Args[2], time.Unix(seconds, 0).UTC()); err != nil {
		fmt.Fprintln(os.Stderr, "archive:", err)
		os.Exit(1)
	}
}

// A format adds one entry to an archive. A directory has a name that ends in a
// slash, and no content.
type format interface {
	add(name string, mode fs.FileMode, size int64, content io.Reader) error
	Close() error
}

// pack writes the archive of dir to the file path; its end selects the format.
func pack(path, dir string, modified time.Time) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	var to format
	if strings.HasSuffix(path, ".zip") {
		to = &zipFormat{zip.NewWriter(file), modified}
	} else {
		compressed, _ := gzip.NewWriterLevel(file, gzip.BestCompression)
		to = &tarFormat{tar.NewWriter(compressed), compressed, modified}
	}
	parent := filepath.Dir(dir)
	err = filepath.WalkDir(dir, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(parent, at)
		if err != nil {
			return err
		}
		return addFile(to, at, filepath.ToSlash(name), entry)
	})
	if err != nil {
		return err
	}
	if err := to.Close(); err != nil {
		return err
	}
	return file.Close()
}

// addFile adds the directory or regular file at path.
func addFile(to format, path, name string, entry fs.DirEntry) error {
	if entry.IsDir() {
		return to.add(name+"/", 0o755|fs.ModeDir, 0, nil)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	return to.add(name, mode, info.Size(), file)
}

type tarFormat struct {
	*tar.Writer
	compressed *gzip.Writer
	modified   time.Time
}

func (f *tarFormat) add(name string, mode fs.FileMode, size int64, content io.Reader) error {
	header := &tar.Header{Name: name, Mode: int64(mode.Perm()), Size: size, ModTime: f.modified, Format: tar.FormatUSTAR, Typeflag: tar.TypeReg}
	if mode.IsDir() {
		header.Typeflag = tar.TypeDir
	}
	if err := f.WriteHeader(header); err != nil || content == nil {
		return err
	}
	_, err := io.Copy(f, content)
	return err
}

// Close ends the archive, and its compression.
func (f *tarFormat) Close() error {
	if err := f.Writer.Close(); err != nil {
		return err
	}
	return f.compressed.Close()
}

type zipFormat struct {
	*zip.Writer
	modified time.Time
}

func (f *zipFormat) add(name string, mode fs.FileMode, _ int64, content io.Reader) error {
	header := &zip.FileHeader{Name: name, Modified: f.modified, Method: zip.Deflate}
	header.SetMode(mode)
	w, err := f.CreateHeader(header)
	if err != nil || content == nil {
		return err
	}
	_, err = io.Copy(w, content)
	return err
}
