// Package access decides by its address whether a client may connect: lists of
// addresses, networks, ranges and names that are allowed or denied.
package access

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sort"
	"strings"

	"purr/internal/flags"
	"purr/internal/sys"
)

// Rules are what is allowed and denied. The zero value allows every address.
// Lists are added first; Permits is valid after Resolve, and may then be called
// by several goroutines.
type Rules struct {
	Allow, Deny List
}

// Given reports whether one of the lists was given, see List.Given.
func (r *Rules) Given() bool { return r.Allow.given || r.Deny.given }

// Resolve looks up the names of both lists, and sorts the lists for Permits: it
// is called also if there are no names. lookup returns the addresses of a name;
// nil: the system's resolver. The error has the name.
func (r *Rules) Resolve(ctx context.Context, lookup func(ctx context.Context, name string) ([]netip.Addr, error)) error {
	if lookup == nil {
		lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	for _, l := range []*List{&r.Allow, &r.Deny} {
		if err := l.resolve(ctx, lookup); err != nil {
			return err
		}
	}
	return nil
}

// Permits reports whether a client with this address may connect: it is on no
// list of denied addresses, and on the list of allowed ones if there is one. An
// IPv4 address is the same in its IPv6 form, as a dual-stack socket has it. An
// invalid address, such as that of a Unix socket, is on no list.
func (r *Rules) Permits(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return !r.Deny.contains(addr) && (!r.Allow.given || r.Allow.contains(addr))
}

// A List is a set of addresses.
type List struct {
	given bool
	names []string
	spans []span // sorted and apart, once the names are resolved
}

// A span is the addresses from first to last, both included. They have one
// family and no zone.
type span struct{ first, last netip.Addr }

// Given reports whether an entry or a file was added, also a file without an
// entry.
func (l *List) Given() bool { return l.given }

// Add adds the entries of text, with commas or blanks between them: addresses,
// networks (10.0.0.0/8), ranges (10.0.0.1-9, 10.0.0.1-10.0.0.9) and names. The
// error has the entry.
func (l *List) Add(text string) error {
	entries := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' || r == '\n' })
	if len(entries) == 0 {
		return fmt.Errorf("%q has no address, network or name", text)
	}
	for _, entry := range entries {
		if err := l.addEntry(entry); err != nil {
			return err
		}
	}
	return nil
}

// AddPath is AddFile for the file with a name, which is in the error.
func (l *List) AddPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.AddFile(f); err != nil {
		return fmt.Errorf("%s: %w", path, sys.Cause(err))
	}
	return nil
}

// AddFile adds the entries of a file: as those of Add, on any number of lines.
// A # begins a comment. After a file without an entry the list is given and has
// no addresses. The error has the number of the line.
func (l *List) AddFile(r io.Reader) error {
	l.given = true
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if strings.Trim(text, ", \t\r") == "" {
			continue
		}
		if err := l.Add(text); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return lines.Err()
}

// addEntry adds one address, network, range or name.
func (l *List) addEntry(text string) error {
	l.given = true
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		l.spans = append(l.spans, span{addr.Unmap(), addr.Unmap()})
		return nil
	}
	first, last, isRange, err := flags.ParseRange(text)
	switch {
	case err == nil && isRange && first.Zone() == "":
		if first.Is4In6() && last.Is4In6() {
			first, last = first.Unmap(), last.Unmap()
		}
		l.spans = append(l.spans, span{first, last})
		return nil
	case err == nil && !isRange && isName(text):
		l.names = append(l.names, text)
		return nil
	}
	return fmt.Errorf("%q is no address, network or name", text)
}

// isName reports whether text may be a host name: letters, digits, hyphens,
// underscores and whatever is beyond ASCII, in parts of 1 to 63 bytes without a
// hyphen in front, 253 bytes in all. That is more than RFC 1123, section 2.1,
// has. The last part is no number, because 10.0.0.300 and 127.1 are mistakes.
// Nor is text a number in another form: 0x7f000001 is an address for some.
func isName(text string) bool {
	text = strings.TrimSuffix(text, ".")
	parts := strings.Split(text, ".")
	for _, part := range parts {
		odd := func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r >= 0x80)
		}
		if part == "" || len(part) > 63 || part[0] == '-' || strings.ContainsFunc(part, odd) {
			return false
		}
	}
	_, numeric := flags.ParseAddr(text)
	return !numeric && len(text) <= 253 && strings.Trim(parts[len(parts)-1], "0123456789") != ""
}

// resolve replaces the names by their addresses, sorts the spans and merges
// those that overlap.
func (l *List) resolve(ctx context.Context, lookup func(context.Context, string) ([]netip.Addr, error)) error {
	for _, name := range l.names {
		addrs, err := lookup(ctx, name)
		if err != nil {
			return fmt.Errorf("resolve %s: %w", name, err)
		}
		for _, addr := range addrs {
			addr = addr.Unmap().WithZone("")
			l.spans = append(l.spans, span{addr, addr})
		}
	}
	l.names = nil
	// Not slices.SortFunc, which is compiled anew for each type: 30 KB.
	sort.Slice(l.spans, func(i, j int) bool {
		a, b := l.spans[i], l.spans[j]
		return cmp.Or(a.first.Compare(b.first), a.last.Compare(b.last)) < 0
	})
	merged := l.spans[:0]
	for _, s := range l.spans {
		if n := len(merged); n > 0 && s.first.Compare(merged[n-1].last) <= 0 {
			if merged[n-1].last.Less(s.last) {
				merged[n-1].last = s.last
			}
			continue
		}
		merged = append(merged, s)
	}
	l.spans = merged
	return nil
}

// contains reports whether addr is in the list, after resolve. Addresses of
// IPv4 sort before those of IPv6.
func (l *List) contains(addr netip.Addr) bool {
	i, found := slices.BinarySearchFunc(l.spans, addr, func(s span, addr netip.Addr) int { return s.first.Compare(addr) })
	return found || i > 0 && addr.Compare(l.spans[i-1].last) <= 0
}
