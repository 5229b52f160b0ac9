package store

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path"
	"strconv"
	"unicode/utf8"

	"purr/internal/relpath"
)

// splitPath returns the directory of p, "." for the top, and its last
// component.
func splitPath(p string) (dir, base string) { return path.Dir(p), path.Base(p) }

// partialName returns the name of the partial file of path, which is in the
// same directory.
func partialName(path string) string {
	sum := sha256.Sum256([]byte(path))
	return relpath.PartialPrefix + hex.EncodeToString(sum[:8])
}

// numbered inserts n before the extension of base: "a.txt" becomes "a.1.txt".
// It shortens a name that would become too long.
func numbered(base string, n int) string {
	ext := path.Ext(base)
	if len(ext) == len(base) || len(ext) > 32 { // ".bashrc" has no extension
		ext = ""
	}
	stem, number := base[:len(base)-len(ext)], "."+strconv.Itoa(n)
	if most := relpath.MaxComponent - len(number) - len(ext); len(stem) > most {
		for most > 0 && !utf8.RuneStart(stem[most]) {
			most--
		}
		stem = stem[:most]
	}
	return stem + number + ext
}

// permissions returns the bits of mode that a sender may set: the umask
// applies, and setuid, setgid and sticky are dropped.
func permissions(mode, umask fs.FileMode) fs.FileMode { return mode & fs.ModePerm &^ umask }
