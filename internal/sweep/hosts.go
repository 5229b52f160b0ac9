package sweep

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strings"

	"purr/internal/flags"
	"purr/internal/sock"
)

// Hosts is a list of hosts, in which networks and ranges of addresses are
// not expanded. The zero value is empty.
type Hosts struct {
	entries []hostEntry
	seen    map[string]bool
	count   int
	ranges  bool
}

// A hostEntry is a name or address as it was written, or a range.
type hostEntry struct {
	text        string
	first, last netip.Addr // of a range; both are included
}

// maxHosts is the most hosts of a list: a /8 of IPv4.
const maxHosts = 1 << 24

// Add adds a host: a name, an address, a network (10.0.0.0/24, of which every
// address is a host) or a range (10.0.0.1-10.0.0.9, 10.0.0.1-9). A text that
// was added before is ignored. More than maxHosts are an error.
func (h *Hosts) Add(text string) error {
	if h.seen[text] {
		return nil
	}
	entry, err := parseHost(text)
	if err != nil {
		return err
	}
	n := 1
	if entry.first.IsValid() {
		h.ranges = true
		if n = distance(entry.first, entry.last); n == 0 {
			return fmt.Errorf("%s is more than %d addresses", text, maxHosts)
		}
	}
	if h.count += n; h.count > maxHosts {
		return fmt.Errorf("there are more than %d", maxHosts)
	}
	if h.seen == nil {
		h.seen = make(map[string]bool)
	}
	h.seen[text] = true
	h.entries = append(h.entries, entry)
	return nil
}

// parseHost reads one host, network or range. It refuses a group with an
// interface: scans send where the routes lead.
func parseHost(text string) (hostEntry, error) {
	if _, group := sock.ParseGroup(text); group {
		address, zone, _ := strings.Cut(text, "%")
		return hostEntry{}, fmt.Errorf("%s is a group, and a port check follows the routes: say %s without %%%s", text, address, zone)
	}
	first, last, isRange, err := flags.ParseRange(text)
	if err != nil || !isRange {
		return hostEntry{text: text}, err
	}
	return hostEntry{text, first, last}, nil
}

// distance returns the number of addresses from first to last, 0 if there are
// more than maxHosts.
func distance(first, last netip.Addr) int {
	a, b := first.As16(), last.As16()
	n := 0
	for i := range a {
		n = n<<8 + int(b[i]) - int(a[i])
		if n >= maxHosts {
			return 0
		}
	}
	return n + 1
}

// Len returns the number of hosts.
func (h *Hosts) Len() int { return h.count }

// HasRanges reports whether a network or range was added.
func (h *Hosts) HasRanges() bool { return h.ranges }

// All returns the hosts in the order of the list, with each address of a
// network or range.
func (h *Hosts) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, e := range h.entries {
			if !e.first.IsValid() {
				if !yield(e.text) {
					return
				}
				continue
			}
			for addr := e.first; ; addr = addr.Next() {
				if !yield(addr.String()) {
					return
				}
				if addr == e.last {
					break
				}
			}
		}
	}
}

// ReadHosts reads a list with one host per line. Blank lines and comments,
// which begin with a #, are skipped. A list without a host is an error.
func ReadHosts(r io.Reader) (*Hosts, error) {
	hosts := new(Hosts)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		host, _, _ := strings.Cut(lines.Text(), "#")
		switch fields := strings.Fields(host); {
		case len(fields) > 1:
			return nil, fmt.Errorf("one host per line, and not %q", strings.TrimSpace(host))
		case len(fields) == 1:
			if err := hosts.Add(fields[0]); err != nil {
				return nil, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if hosts.Len() == 0 {
		return nil, errors.New("there is none")
	}
	return hosts, nil
}
