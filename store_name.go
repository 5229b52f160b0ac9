package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits of a name, in bytes and components.
const (
	maxPath      = 4096
	maxComponent = 255
	maxDepth     = 128
)

// partialPrefix begins the names of files that are not complete yet. A sender
// cannot give such a name.
const partialPrefix = ".purr-part-"

// unsafeName is the refusal of a name that is never taken, with what is wrong
// with it.
func unsafeName(why string) *refusal {
	return refusef(http.StatusBadRequest, "unsafe name: %s", why)
}

// safeName returns nil if a sender may name a file path: components separated
// by single slashes that lead down only and hold nothing that acts on a
// terminal. With hidden, components that begin with a dot are fine, too. Invalid
// UTF-8 is fine where the file system takes it.
func safeName(path string, hidden bool) error {
	switch {
	case len(path) > maxPath:
		return unsafeName(fmt.Sprintf("longer than %d bytes", maxPath))
	case strings.Count(path, "/") >= maxDepth:
		return unsafeName(fmt.Sprintf("more than %d components", maxDepth))
	}
	for component := range strings.SplitSeq(path, "/") {
		switch {
		case component == "", component == ".", component == "..":
			return unsafeName("a component that is empty, . or ..")
		case len(component) > maxComponent:
			return unsafeName(fmt.Sprintf("a component longer than %d bytes", maxComponent))
		case strings.HasPrefix(strings.ToLower(component), partialPrefix): // the file system may fold case
			return unsafeName(partialPrefix + " begins the names of partial files")
		case strings.ContainsFunc(component, actsOnTerminal):
			return unsafeName("a control character")
		}
	}
	if !isLocalName(path) {
		return unsafeName("a device, drive or stream here")
	}
	if !hidden && (path[0] == '.' || strings.Contains(path, "/.")) {
		return refusef(http.StatusForbidden, "hidden name: a component that begins with a dot needs a key at both ends")
	}
	return nil
}

// actsOnTerminal tells the runes that move the cursor, break the line, or
// reorder the text around them.
func actsOnTerminal(r rune) bool {
	return unicode.IsControl(r) || // C0, DEL, C1
		r == 0x2028 || r == 0x2029 || // line and paragraph separators
		0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 // bidirectional overrides
}

// splitPath is the directory of path, "." for the top, and its last component.
func splitPath(p string) (dir, base string) { return path.Dir(p), path.Base(p) }

// partialName is the name of the file that collects what arrives for path,
// beside it.
func partialName(path string) string {
	sum := sha256.Sum256([]byte(path))
	return partialPrefix + hex.EncodeToString(sum[:8])
}

// numbered is base with n in front of its extension: "a.txt" becomes
// "a.1.txt". The name is cut where it would become too long.
func numbered(base string, n int) string {
	ext := path.Ext(base)
	if len(ext) == len(base) || len(ext) > 32 { // ".bashrc" has no extension
		ext = ""
	}
	stem, number := base[:len(base)-len(ext)], "."+strconv.Itoa(n)
	if most := maxComponent - len(number) - len(ext); len(stem) > most {
		for most > 0 && !utf8.RuneStart(stem[most]) {
			most--
		}
		stem = stem[:most]
	}
	return stem + number + ext
}

// safeTarget returns nil if a symbolic link at path may lead to target: by a
// relative way that stays inside whatever links it passes. So ".." may only
// come first, where it climbs real directories.
func safeTarget(path, target string, hidden bool) error {
	down := target
	up := 0
	for strings.HasPrefix(down, "../") {
		down = down[len("../"):]
		up++
	}
	if down == ".." {
		down, up = "", up+1
	}
	depth := strings.Count(path, "/")
	switch {
	case len(target) > maxPath, up > depth:
		return leadsOutside()
	case down == "" && up > 0, down == ".":
		return nil
	}
	if err := safeName(down, hidden); err != nil {
		return refusef(http.StatusForbidden, "unsafe target of a symbolic link")
	}
	return nil
}

func leadsOutside() *refusal {
	return refusef(http.StatusForbidden, "leads outside by a symbolic link")
}

// permissions are the bits of a sender's mode that a receiver sets: setuid,
// setgid and sticky are not for others to give.
func permissions(mode, umask fs.FileMode) fs.FileMode { return mode & fs.ModePerm &^ umask }
