// Package confine takes away the rights of the process that its remaining work
// does not need: landlock(7). What is open stays open, whatever it is.
package confine

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"purr/internal/display"
)

// Rules are the rights that a process keeps; those of a zero value are none at
// all. A path is a file, or a directory with everything below it, and is the
// one that has this name at the time of the call. A path that cannot be found
// is left out.
type Rules struct {
	Read  []string // files are read, and directories listed
	Write []string // files and directories are read, created, written, replaced and removed

	// Files that are removed: their directories and everything below lose files
	// then. Empty names, and those of abstract sockets ("@name"), are left out.
	Remove []string

	// Names are looked up: in the files of hosts(5), resolv.conf(5),
	// nsswitch.conf(5) and services(5), and at servers over TCP, too. With
	// FreshNames the files may be replaced meanwhile, so that all of /etc is read.
	Names, FreshNames bool

	Connect []int // TCP ports that connections lead to
	Bind    []int // TCP ports that sockets are bound to; 0 is one of the kernel's choice
	AnyTCP  bool  // TCP connections are not limited

	UnixSockets bool // connections lead to abstract Unix sockets, too
}

// Held is what confines the process: as far as the kernel can. A zero value is
// nothing.
type Held struct {
	Rules
	Files bool // the rules for files hold
	TCP   bool // the rules for TCP hold, and AnyTCP is false
}

// dnsPort is where name servers answer over TCP: RFC 7766.
const dnsPort = 53

// connects returns the TCP ports that connections may lead to, in order.
func (r Rules) connects() []int {
	ports := slices.Clone(r.Connect)
	if r.Names || r.FreshNames {
		ports = append(ports, dnsPort)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// removal returns the directories in which files are removed.
func (r Rules) removal() (dirs []string) {
	for _, path := range r.Remove {
		if path != "" && path[0] != '@' {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	return dirs
}

// String describes in a line what is left to the process.
func (h Held) String() string {
	if !h.Files {
		return "not confined: this system has no Landlock"
	}
	var parts []string
	list := func(verb string, paths []string) {
		if len(paths) > 0 {
			parts = append(parts, verb+" "+someOf(paths))
		}
	}
	list("reads", h.Read)
	list("writes", h.Write)
	list("removes files in", h.removal())
	if h.FreshNames {
		parts = append(parts, "reads /etc")
	} else if h.Names {
		parts = append(parts, "reads the files of name lookups")
	}
	if len(parts) == 0 {
		parts = append(parts, "no file")
	}
	switch ports := h.connects(); {
	case !h.TCP:
		parts = append(parts, "TCP to any port")
	case len(ports) == 0:
		parts = append(parts, "no TCP connection")
	default:
		parts = append(parts, "TCP only to port "+strings.ReplaceAll(strings.Trim(fmt.Sprint(ports), "[]"), " ", " and "))
	}
	return "confined: " + strings.Join(parts, "; ")
}

// someOf quotes the first paths and counts the others.
func someOf(paths []string) string {
	const most = 3
	var quoted []string
	for _, p := range paths[:min(most, len(paths))] {
		quoted = append(quoted, display.Quote(p))
	}
	text := strings.Join(quoted, ", ")
	if more := len(paths) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
