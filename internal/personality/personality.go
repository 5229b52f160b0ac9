// Package personality has the differences of a program that is started under
// the name of another netcat: by a link that is called nc or ncat. They are
// data, and functions of their arguments alone: letters that mean another
// option, defaults, exit statuses, and the words of lines that scripts look
// for.
//
// The peers are OpenBSD's nc as Debian has it (nc.openbsd(1), 1.219) and
// ncat(1), 7.93.
package personality

import (
	_ "embed"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// A Personality is what differs under a name. The zero value is that of the
// program's own name, under which nothing does.
type Personality struct {
	Prefix       string // of messages; empty: the program's own
	Help         string // printed by -h; empty: the program's own
	Usage        string // the same without arguments
	HelpOnStderr bool   // whether -h prints there

	Renames      []Rename
	WaitConnects bool // -w limits connecting only, and not silence
	KeepDials    bool // -k without -l keeps a session after the end of the peer
	Announces    bool // --test prints a line once it listens

	KeepsOpen   bool   // the end of stdin is passed on with -N or -q only
	PassesOn    bool   // the end of stdin is passed on at once
	IdleFails   bool   // silence is a failure
	TrustsAll   bool   // certificates are not checked without --ssl-verify
	Unchecked   string // why one was not, in a warning
	MaxConns    int    // with -k; 0: no limit of its own
	ConnectTime time.Duration
	defaultPort string

	Probe     Probe
	FewLines  bool // -v prints the lines of nc, and -vv what the program adds
	addrLines bool // Ncat's words instead of nc's

	hasUsage bool // status 2 is left
}

// A Rename makes a name that is typed, a letter or a long name, that of another
// option. Option is the canonical name of the latter.
type Rename struct{ Name, Option string }

// A Probe is what -z -u does. The zero value is the program's own way.
type Probe struct {
	Quiet   bool            // nothing is printed without -v, and no answer is a success
	Payload string          // in the form of --payload; empty: by port
	Sends   []time.Duration // the times of the requests; nil: the scan's own
	Wait    time.Duration   // for the answer; 0: the scan's own
}

//go:embed nc.txt
var ncHelp string

//go:embed ncat.txt
var ncatHelp string

// Of returns the personality for argv[0]. The name of the file decides, without
// a ".exe" behind it: nc, nc.openbsd and netcat are OpenBSD's nc, ncat is Ncat,
// and any other name has none.
func Of(argv0 string) Personality {
	switch strings.TrimSuffix(filepath.Base(argv0), ".exe") {
	case "nc", "nc.openbsd", "netcat":
		usage, _, _ := strings.Cut(ncHelp, "\tCommand Summary:\n")
		return Personality{
			Prefix: "nc: ", Help: ncHelp, Usage: usage, HelpOnStderr: true,
			KeepsOpen: true, FewLines: true, Probe: Probe{Quiet: true},
		}
	case "ncat":
		return Personality{
			Prefix: "Ncat: ", Help: ncatHelp, hasUsage: true, addrLines: true,
			Renames: []Rename{
				{"c", "sh-exec"}, {"d", "delay"}, {"i", "idle-timeout"}, {"m", "max-conns"}, {"o", "output"}, {"x", "hex-dump"},
			},
			WaitConnects: true, KeepDials: true, Announces: true,
			PassesOn: true, IdleFails: true, TrustsAll: true, Unchecked: "without --ssl-verify",
			MaxConns: 100, ConnectTime: 10 * time.Second, defaultPort: "31337",
			Probe: Probe{Quiet: true, Payload: "hex:00", Sends: []time.Duration{0}, Wait: 2 * time.Second},
		}
	}
	return Personality{}
}

// Other reports whether the program was started under the name of another
// netcat, each of which has a Prefix.
func (p *Personality) Other() bool { return p.Prefix != "" }

// An Ending is the end of a run, as its exit status depends on it.
type Ending struct {
	Status int  // the program's own
	Local  bool // whether a name lookup, a bind, stdin or stdout has failed
	Probe  bool // whether it is that of -z -u
}

// Statuses of the program that have a meaning here.
const (
	statusUsage    = 2
	statusNoAnswer = 3
	statusSignal   = 128 // plus a number
)

// Status returns the exit status for an ending. nc has 1 for everything that
// fails. Ncat has 1 for the network and 2 for the rest: the command line, the
// name lookup, and this end. Ends by a signal stay.
func (p *Personality) Status(e Ending) int {
	switch {
	case !p.Other(), e.Status == 0, e.Status > statusSignal:
		return e.Status
	case p.Probe.Quiet && e.Probe && e.Status == statusNoAnswer:
		return 0
	case p.hasUsage && (e.Local || e.Status == statusUsage):
		return statusUsage
	}
	return 1
}

// WithPort returns the operands of an address with Ncat's default port, if they
// have none. listen is -l. Words that are no such operands stay as they are.
func (p *Personality) WithPort(operands []string, listen bool) []string {
	switch {
	case p.defaultPort == "" || len(operands) > 1:
		return operands
	case len(operands) == 0 && listen:
		return []string{p.defaultPort}
	case len(operands) == 0, listen && strings.Trim(operands[0], "0123456789") == "": // no host, or a port
		return operands
	}
	if _, _, err := net.SplitHostPort(operands[0]); err == nil {
		return operands
	}
	return []string{operands[0], p.defaultPort}
}

// Unknown returns getopt(3)'s words about an option that is not known, empty
// under the program's own name. option has its dashes.
func (p *Personality) Unknown(option string) string {
	switch {
	case !p.Other():
		return ""
	case strings.HasPrefix(option, "--"):
		return "unrecognized option '" + option + "'"
	}
	return "invalid option -- '" + strings.TrimPrefix(option, "-") + "'"
}

// Listening returns the line about a socket that listens: "Listening on NAME
// PORT", or Ncat's "Ncat: Listening on ADDR:PORT". verb is "Listening", or
// "Bound" for datagrams, and name that of the address.
func (p *Personality) Listening(verb, name string, addr netip.AddrPort) string {
	if p.addrLines {
		return "Ncat: Listening on " + joined(addr)
	}
	return fmt.Sprintf("%s on %s %d", verb, name, addr.Port())
}

// OnPath returns the lines about a Unix socket that listens. verbs are those of
// nc, one for each line: "Bound", "Listening".
func (p *Personality) OnPath(path string, verbs ...string) (lines []string) {
	if p.addrLines {
		return []string{"Ncat: Listening on " + path}
	}
	for _, verb := range verbs {
		lines = append(lines, verb+" on "+path)
	}
	return lines
}

// Accepted returns the line about a client. from is not valid for a Unix
// socket, which is at path. name returns the name of from, and is called only
// if the line has it.
func (p *Personality) Accepted(from netip.AddrPort, path string, name func() string) string {
	switch {
	case p.addrLines && !from.IsValid():
		return "Ncat: Connection from a client on Unix domain socket."
	case p.addrLines:
		return "Ncat: Connection from " + joined(from) + "."
	case !from.IsValid():
		return "Connection received on " + path
	}
	return fmt.Sprintf("Connection received on %s %d", name(), from.Port())
}

// Connected returns the line about a connection. name is the host as nc prints
// it, and service what nc has in brackets. addr is the peer's address, or what
// a proxy was asked for.
func (p *Personality) Connected(name string, port int, service, addr string) string {
	if p.addrLines {
		return fmt.Sprintf("Ncat: Connected to %s:%d.", addr, port)
	}
	return fmt.Sprintf("Connection to %s %d port [%s] succeeded!", name, port, service)
}

// ConnectedTo returns the line about a connection to a Unix socket. nc has
// none.
func (p *Personality) ConnectedTo(path string) (lines []string) {
	if p.addrLines {
		lines = append(lines, "Ncat: Connected to "+path+".")
	}
	return lines
}

// joined returns ADDR:PORT as Ncat writes it, an IPv6 address without brackets.
func joined(addr netip.AddrPort) string {
	return fmt.Sprintf("%s:%d", addr.Addr().Unmap(), addr.Port())
}
