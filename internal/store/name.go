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

// splitPath is the directory of path, "." for the top, and its last component.
func splitPath(p string) (dir, base string) { return path.Dir(p), path.Base(p) }

// partialName is the name of the file that collects what arrives for path,
// beside it.
func partialName(path string) string {
	sum := sha256.Sum256([]byte(path))
	return relpath.PartialPrefix + hex.EncodeToString(sum[:8])
}

// numbered is base with n in front of its extension: "a.txt" becomes
// "a.1.txt". The name is cut where it would become too long.
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

// permissions are the bits of a sender's mode that a receiver sets: setuid,
// setgid and sticky are not for others to give.
func permissions(mode, umask fs.FileMode) fs.FileMode { return mode & fs.ModePerm &^ umask }
