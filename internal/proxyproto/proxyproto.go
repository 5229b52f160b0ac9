// Package proxyproto reads and writes the header of the PROXY protocol,
// versions 1 and 2, by which a proxy passes the address of its client on to a
// server. Numbers in comments are the sections of HAProxy's
// proxy-protocol.txt. The header is read exactly: payload behind it stays in
// the socket.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"purr/internal/sock"
)

// A Header has the addresses of the connection that the proxy has accepted.
// Both are invalid if the proxy does not know them, or speaks for itself: then
// the addresses of the socket count.
type Header struct {
	Source, Destination netip.AddrPort
}

var (
	// ErrNoHeader is the error for bytes that do not begin a header.
	ErrNoHeader = errors.New("no PROXY header")

	// ErrCut is the error for the end of a connection within the header.
	ErrCut = errors.New("the PROXY header is cut")

	// ErrLate is the error for a header that is not complete in time.
	ErrLate = errors.New("no PROXY header in time")
)

const (
	signature1  = "PROXY "
	signature2  = "\r\n\r\n\x00\r\nQUIT\n"
	maxVersion1 = 107 // bytes of a header of version 1 (2.1)

	// Bytes of version 2 (2.2): version and command, family and protocol.
	local, proxied      = 0x20, 0x21
	unspec              = 0x00
	ip4Stream, ip4Dgram = 0x11, 0x12
	ip6Stream, ip6Dgram = 0x21, 0x22
	unixStream          = 0x31
	unixDgram           = 0x32
)

// Receive reads the header with which c begins, within timeout. It clears the
// deadline of c. An error is ErrNoHeader, ErrCut, ErrLate, a malformed header,
// io.EOF without a byte, or the connection's.
func Receive(c net.Conn, timeout time.Duration) (Header, error) {
	_ = c.SetReadDeadline(time.Now().Add(timeout))
	h, err := Read(c)
	_ = c.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: within %v", ErrLate, timeout)
	}
	return h, err
}

// Read reads a header of either version, and nothing behind it.
func Read(r io.Reader) (Header, error) {
	first := make([]byte, 1, maxVersion1)
	if _, err := io.ReadFull(r, first); err != nil {
		return Header{}, err
	}
	switch first[0] {
	case signature1[0]:
		return readVersion1(r, first)
	case signature2[0]:
		return readVersion2(r)
	}
	return Header{}, ErrNoHeader
}

// readVersion1 reads a line (2.1). b is its first byte, with room for
// maxVersion1.
func readVersion1(r io.Reader, b []byte) (Header, error) {
	for b[len(b)-1] != '\n' {
		if len(b) == maxVersion1 {
			return Header{}, fmt.Errorf("PROXY header of more than %d bytes", maxVersion1)
		}
		b = b[:len(b)+1]
		if err := readFull(r, b[len(b)-1:]); err != nil {
			return Header{}, err
		}
		if n := min(len(b), len(signature1)); string(b[:n]) != signature1[:n] {
			return Header{}, ErrNoHeader
		}
	}
	line, ok := strings.CutSuffix(string(b), "\r\n")
	fields := strings.Split(line, " ")
	malformed := fmt.Errorf("malformed PROXY header: %q", line)
	switch {
	case !ok:
		return Header{}, malformed
	case fields[1] == "UNKNOWN":
		return Header{}, nil
	case len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6":
		return Header{}, malformed
	}
	var h Header
	is4 := fields[1] == "TCP4"
	for i, end := range []*netip.AddrPort{&h.Source, &h.Destination} {
		addr, err := netip.ParseAddr(fields[2+i])
		port, portErr := strconv.ParseUint(fields[4+i], 10, 16)
		if err != nil || portErr != nil || addr.Is4() != is4 || addr.Zone() != "" || strconv.Itoa(int(port)) != fields[4+i] {
			return Header{}, malformed
		}
		*end = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	return h, nil
}

// readVersion2 reads a binary header (2.2) behind its first byte. Extensions
// behind the addresses are skipped.
func readVersion2(r io.Reader) (h Header, err error) {
	var head [15]byte // the rest of the signature, version and command, family, length
	if err := readFull(r, head[:]); err != nil {
		return h, err
	}
	if string(head[:11]) != signature2[1:] {
		return h, ErrNoHeader
	}
	command, family := head[11], head[12]
	b := make([]byte, binary.BigEndian.Uint16(head[13:]))
	if err := readFull(r, b); err != nil {
		return h, err
	}
	size, known := map[byte]int{unspec: 0, ip4Stream: 4, ip4Dgram: 4, ip6Stream: 16, ip6Dgram: 16, unixStream: 108, unixDgram: 108}[family]
	switch {
	case command != local && command != proxied:
		return h, fmt.Errorf("malformed PROXY header: version and command %#02x", command)
	case !known:
		return h, fmt.Errorf("malformed PROXY header: address family and protocol %#02x", family)
	case command == local:
		return h, nil
	case size == 108 && len(b) < 2*size, size <= 16 && size > 0 && len(b) < 2*size+4:
		return h, fmt.Errorf("malformed PROXY header: %d bytes of addresses", len(b))
	case size == 0, size == 108:
		return h, nil // no address of the Internet
	}
	source, _ := netip.AddrFromSlice(b[:size])
	destination, _ := netip.AddrFromSlice(b[size : 2*size])
	h.Source = netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(b[2*size:]))
	h.Destination = netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(b[2*size+2:]))
	return h, nil
}

// readFull reads exactly len(b) bytes of a header that has begun: its end
// before that is ErrCut.
func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrCut
	}
	return err
}

// family reports whether both addresses are known and, if so, whether both are
// of IPv4. If only one is, both are sent in the form of IPv6.
func (h Header) family() (known, is4 bool) {
	known = h.Source.IsValid() && h.Destination.IsValid()
	return known, known && h.Source.Addr().Unmap().Is4() && h.Destination.Addr().Unmap().Is4()
}

// AppendVersion1 appends the header as a line (2.1), with UNKNOWN for addresses
// that are not known.
func (h Header) AppendVersion1(b []byte) []byte {
	known, is4 := h.family()
	if !known {
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	protocol, source, destination := "TCP6", netip.AddrFrom16(h.Source.Addr().As16()), netip.AddrFrom16(h.Destination.Addr().As16())
	if is4 {
		protocol, source, destination = "TCP4", source.Unmap(), destination.Unmap()
	}
	return fmt.Appendf(b, "PROXY %s %v %v %d %d\r\n", protocol, source, destination, h.Source.Port(), h.Destination.Port())
}

// AppendVersion2 appends the header in binary form (2.2). Without addresses it
// has the command LOCAL, as HAProxy sends it: HAProxy 2.6 resets the sender of
// PROXY with the family UNSPEC.
func (h Header) AppendVersion2(b []byte) []byte {
	b = append(b, signature2...)
	known, is4 := h.family()
	if !known {
		return append(b, local, unspec, 0, 0)
	}
	b = append(b, proxied)
	var body bytes.Buffer
	if is4 {
		b = append(b, ip4Stream)
		body.Write(h.Source.Addr().Unmap().AsSlice())
		body.Write(h.Destination.Addr().Unmap().AsSlice())
	} else {
		b = append(b, ip6Stream)
		for _, addr := range []netip.Addr{h.Source.Addr(), h.Destination.Addr()} {
			wide := addr.As16()
			body.Write(wide[:])
		}
	}
	b = binary.BigEndian.AppendUint16(b, uint16(body.Len()+4))
	b = append(b, body.Bytes()...)
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	return binary.BigEndian.AppendUint16(b, h.Destination.Port())
}

// Send sends a header on c, of version 1 or 2: with the addresses that
// sock.Ends returns for client, or those of c itself if client is nil.
func Send(c, client net.Conn, version int) error {
	var h Header
	if client != nil {
		h.Source, h.Destination = sock.Ends(client)
	} else {
		h.Destination, h.Source = sock.Ends(c)
	}
	b := h.AppendVersion1(nil)
	if version == 2 {
		b = h.AppendVersion2(nil)
	}
	_, err := c.Write(b) // at once (2)
	return err
}
