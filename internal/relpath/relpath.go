// Package relpath holds the rules for the relative paths by which a peer names
// files, links and directories: components separated by single slashes, in any
// encoding, on every system.
package relpath

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// The limits of a path, in bytes and components.
const (
	MaxLen       = 4096
	MaxComponent = 255
	MaxDepth     = 128
)

// PartialPrefix begins the names of files that are still incomplete. Check
// rejects it in every component, in upper and lower case.
const PartialPrefix = ".purr-part-"

// Kind classifies an Error.
type Kind int

const (
	Malformed Kind = iota // never acceptable as a path
	Hidden                // a component begins with a dot
	Outside               // the target of a symbolic link may lead outside the directory
)

// An Error is the reason why a path is rejected. Text does not repeat the path.
type Error struct {
	Kind Kind
	Text string
}

// Error returns the text of the rule that the path breaks.
func (e *Error) Error() string { return e.Text }

// malformed returns the error for a path that is never acceptable.
func malformed(format string, args ...any) error {
	return &Error{Malformed, "unsafe name: " + fmt.Sprintf(format, args...)}
}

// Check returns nil if a peer may name a file by path: its components only lead
// down, and contain no control characters, which would act on a terminal, and
// no invisible marks and fillers, which make two names look alike. With hidden,
// components may begin with a dot. Invalid UTF-8 is accepted; the file system
// may reject it. CheckHere is part of it. The error is an *Error.
func Check(path string, hidden bool) error {
	switch {
	case len(path) > MaxLen:
		return malformed("longer than %d bytes", MaxLen)
	case strings.Count(path, "/") >= MaxDepth:
		return malformed("more than %d components", MaxDepth)
	}
	for component := range strings.SplitSeq(path, "/") {
		switch {
		case component == "", component == ".", component == "..":
			return malformed("a component that is empty, . or ..")
		case len(component) > MaxComponent:
			return malformed("a component longer than %d bytes", MaxComponent)
		case strings.HasPrefix(strings.ToLower(component), PartialPrefix): // the file system may fold case
			return malformed(PartialPrefix + " begins the names of partial files")
		case strings.ContainsFunc(component, actsOnTerminal):
			return malformed("a control character")
		case strings.ContainsFunc(component, isInvisible):
			return malformed("an invisible character")
		}
	}
	if err := CheckHere(path); err != nil {
		return err
	}
	if !hidden && (path[0] == '.' || strings.Contains(path, "/.")) {
		return &Error{Hidden, "hidden name: a component that begins with a dot"}
	}
	return nil
}

// CheckHere returns nil if this system stores a file under just this path. On
// Windows it rejects devices (nul, con.txt), drives, streams, wildcards, and
// what ends in a dot or a space. The error is an *Error.
func CheckHere(path string) error {
	if why := unfit(path); why != "" {
		return malformed("%s", why)
	}
	return nil
}

// actsOnTerminal reports whether r moves the cursor, breaks the line, or
// reorders the text around it.
func actsOnTerminal(r rune) bool {
	return unicode.IsControl(r) || // C0, DEL, C1
		r == 0x2028 || r == 0x2029 || // line and paragraph separators
		0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 // bidirectional overrides
}

// isInvisible reports whether r is a mark of direction or a filler, which takes
// no or empty space. The joiners and the zero-width space are allowed: words of
// many languages need them.
func isInvisible(r rune) bool {
	switch r {
	case 0x061c, 0x200e, 0x200f, // Arabic letter mark, left-to-right and right-to-left mark
		0x115f, 0x1160, 0x3164, 0xffa0: // fillers of Hangul
		return true
	}
	return false
}

// CheckTarget returns nil if a symbolic link at path may have the relative
// target, which must stay inside the directory. Empty components and "." stand
// for nothing, as in every path. hidden is that of Check. The error is an
// *Error. The caller must also check that none of RealDirs is a link: a ".."
// behind a link would lead elsewhere.
func CheckTarget(path, target string, hidden bool) error {
	outside := &Error{Outside, "leads outside by a symbolic link"}
	if len(target) > MaxLen {
		return outside
	}
	unsafe := &Error{Outside, "unsafe target of a symbolic link"}
	if target == "" || target[0] == '/' {
		return unsafe
	}
	depth := strings.Count(path, "/")
	for component := range strings.SplitSeq(target, "/") {
		switch component {
		case "", ".":
			continue
		case "..":
			if depth--; depth < 0 {
				return outside
			}
			continue
		}
		if depth++; depth > MaxDepth || Check(component, hidden) != nil {
			return unsafe
		}
	}
	return nil
}

// RealDirs returns the directories that the target of the link at path enters
// and leaves again by "..". The caller must check that none of them is a
// symbolic link, behind which ".." would lead elsewhere. CheckTarget must have
// accepted the target.
func RealDirs(path, target string) (dirs []string) {
	at := strings.Split(path, "/")
	at = at[:len(at)-1]
	named := 0 // components of at that target has named
	for component := range strings.SplitSeq(target, "/") {
		switch component {
		case "", ".":
		case "..":
			if named > 0 {
				named--
				dirs = append(dirs, strings.Join(at, "/"))
			}
			at = at[:len(at)-1]
		default:
			named++
			at = append(at, component)
		}
	}
	return dirs
}

// Escape returns path as the path of a URL (RFC 3986, section 3.3), with every
// byte that is not allowed there in percent-encoding.
func Escape(path string) string { return (&url.URL{Path: path}).EscapedPath() }

// Unescape is the inverse of Escape. It fails if a percent sign is not followed
// by two hexadecimal digits.
func Unescape(escaped string) (string, error) { return url.PathUnescape(escaped) }
