// Package payload holds requests that UDP services answer, and matchers for
// their answers. Every request carries a fresh nonce, so that an answer is
// known to be one to it, and changes nothing at the far end. It was written
// from the document that the payload names.
package payload

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"purr/internal/display"
)

// MaxSize is the largest UDP payload over IPv4 in bytes. Only IPv6 jumbograms
// (RFC 2675) carry more.
const MaxSize = 65507

// A Payload is one way to get an answer out of a UDP service.
type Payload struct {
	Name  string
	Ports []uint16 // the ports that it is for, unless it is chosen by name
	Doc   string   // the request, and the document that defines it

	// Build returns a request with a nonce of its own. It is nil if Silent is
	// set.
	Build func(to *Target) []byte

	// Match reports whether x.Reply answers x.Request. It keeps neither,
	// allocates at most in proportion to the reply and never panics, whatever
	// the two contain. It is nil if any reply is an answer.
	Match func(x *Exchange) (Answer, bool)

	NeedsSecret bool   // without Target.Secret the service never answers
	NeedsLocal  bool   // Build uses Target.Local
	Silent      string // why the service cannot be made to answer; empty if it can
}

// A Target is the destination of a request.
type Target struct {
	Host   string         // as the user wrote it
	Addr   netip.AddrPort // the address that it is sent to
	Local  netip.AddrPort // the source address; invalid unless Payload.NeedsLocal is set
	Secret []byte         // RADIUS shared secret or SNMP community; may be empty
}

// An Exchange is a request and a datagram that may answer it.
type Exchange struct {
	Request, Reply []byte
	Sent, Received time.Time // on the same clock; zero if not known
	Secret         []byte    // the Target's
}

// An Answer is the content of a reply that matches.
type Answer struct {
	Fact  string // one line of printable ASCII, the most useful fact; may be empty
	Next  []byte // if not nil, a datagram to send to the reply's source
	Final bool   // Next ends the conversation: it has no answer
}

// random is the source of all nonces. Tests replace it.
var random io.Reader = rand.Reader

// nonce returns n random bytes.
func nonce(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(random, b); err != nil {
		panic("payload: no random numbers: " + err.Error()) // crypto/rand never returns an error
	}
	return b
}

// hexNonce returns 2*n random hex digits, for requests that are text.
func hexNonce(n int) string { return hex.EncodeToString(nonce(n)) }

// All returns the payloads in the order of the table. The caller must not
// change them.
func All() []*Payload { return table }

// generic names the payloads for a port that no payload lists.
var generic = []string{"echo", "dns", "stun"}

// ByName returns the payload with that name, or nil.
func ByName(name string) *Payload {
	for _, p := range table {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// ForPort returns the payloads to send to a port, in this order. listed is
// false if no payload lists the port: then these are the generic ones. If a
// payload needs a secret and there is none, a silent copy takes its place.
func ForPort(port uint16, haveSecret bool) (payloads []*Payload, listed bool) {
	for _, p := range table {
		if !slices.Contains(p.Ports, port) {
			continue
		}
		if p.NeedsSecret && !haveSecret {
			silent := *p
			silent.Build, silent.Match = nil, nil
			silent.Silent = p.Name + " answers only those who know its secret"
			p = &silent
		}
		payloads = append(payloads, p)
	}
	if len(payloads) > 0 {
		return payloads, true
	}
	for _, name := range generic {
		payloads = append(payloads, ByName(name))
	}
	return payloads, false
}

// Quote returns at most max bytes of b in double quotes, escaped for a
// terminal.
func Quote(b []byte, max int) string {
	return `"` + strings.ReplaceAll(display.Payload(b, max), `"`, `\"`) + `"`
}

// List returns a line for each payload: its name, its ports, and what it asks
// for or why it has no answer.
func List() string {
	var b strings.Builder
	for _, p := range table {
		var ports []string
		for _, n := range p.Ports {
			ports = append(ports, strconv.Itoa(int(n)))
		}
		line := fmt.Sprintf("%-10s %-24s %s", p.Name, strings.Join(ports, ","), cmp.Or(p.Silent, p.Doc))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
