package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Numbers of SOCKS5: RFC 1928, and RFC 1929 for the password.
const (
	socksNoPassword    = 0x00
	socksPassword      = 0x02
	socksNoMethod      = 0xff
	socksConnect       = 1
	socksIPv4          = 1
	socksName          = 3
	socksIPv6          = 4
	passwordVersion    = 1
	socks4Granted      = 90
	socks4Rejected     = 91
	socks4NoIdentd     = 92
	socks4OtherUser    = 93
	maxSOCKSCredential = 255 // bytes of a user or password
)

// socksReplies are the words for the replies of RFC 1928, section 6, by number.
var socksReplies = [...]struct {
	kind error
	text string
}{
	1: {ErrUnreachable, "General failure"},
	2: {ErrNotAllowed, "its rules forbid it"},
	3: {ErrUnreachable, "Network is unreachable"},
	4: {ErrUnreachable, "No route to host"},
	5: {ErrUnreachable, "Connection refused"},
	6: {ErrUnreachable, "Time to live exceeded"},
	7: {ErrUnreachable, "Command not supported"},
	8: {ErrUnreachable, "Address type not supported"},
}

// socks5 asks a SOCKS5 proxy for the target.
func (e *exchange) socks5() error {
	methods := []byte{5, 1, socksNoPassword}
	if e.d.User != "" {
		methods = []byte{5, 2, socksNoPassword, socksPassword}
	}
	if err := e.send(methods); err != nil {
		return err
	}
	var chosen [2]byte
	if err := e.readVersion(chosen[:], 5); err != nil {
		return err
	}
	switch {
	case chosen[1] == socksNoPassword:
	case chosen[1] == socksPassword && e.d.User != "":
		if err := e.socksLogin(); err != nil {
			return err
		}
	case chosen[1] == socksNoMethod && e.d.User == "":
		return &Error{Kind: ErrPasswordWanted}
	case chosen[1] == socksNoMethod:
		return &Error{Kind: ErrPasswordWrong, Detail: "it wants to be asked in another way"}
	default:
		return &Error{Kind: ErrNotProxy, Detail: fmt.Sprintf("it chose method %d, which was not offered", chosen[1])}
	}
	request := append([]byte{5, socksConnect, 0}, socksAddress(e.host, e.port)...)
	if err := e.send(request); err != nil {
		return err
	}
	return e.socksReply()
}

// readVersion reads an answer of len(b) bytes. If the first is none of
// versions, the answer is in another protocol, which is an error.
func (e *exchange) readVersion(b []byte, versions ...byte) error {
	if err := e.read(b[:1]); err != nil {
		return err
	}
	if !slices.Contains(versions, b[0]) {
		return e.strange(b[:1:1])
	}
	return e.read(b[1:])
}

// socksLogin sends user and password: RFC 1929. Each has its length in front,
// so that it may hold any byte. If the user was asked for the password just
// now, the error is errReconnect, because the proxy may have given up
// meanwhile.
func (e *exchange) socksLogin() error {
	password, asked, err := e.password()
	if err != nil {
		return err
	}
	if asked {
		return errReconnect
	}
	if len(e.d.User) > maxSOCKSCredential || len(password) > maxSOCKSCredential {
		return &Error{Kind: ErrPasswordWrong, Detail: "SOCKS5 takes at most 255 bytes of each"}
	}
	b := append([]byte{passwordVersion, byte(len(e.d.User))}, e.d.User...)
	b = append(b, byte(len(password)))
	if err := e.send(append(b, password...)); err != nil {
		return err
	}
	var answer [2]byte
	if err := e.readVersion(answer[:], passwordVersion); err != nil {
		// A proxy may close the connection for an answer.
		if failed, ok := errors.AsType[*Error](err); ok && isClosed(failed.Err) {
			return &Error{Kind: ErrPasswordWrong, Detail: failed.Detail, Err: failed.Err}
		}
		return err
	}
	if answer[1] != 0 {
		return &Error{Kind: ErrPasswordWrong}
	}
	return nil
}

// socksReply reads the answer to the request, with the address that the proxy
// has bound, which may be a name. A refusal may end behind its number.
func (e *exchange) socksReply() error {
	var head [4]byte
	if err := e.readVersion(head[:2], 5); err != nil {
		return err
	}
	if n := int(head[1]); n >= len(socksReplies) {
		return &Error{Kind: ErrUnreachable, Detail: fmt.Sprintf("reply %d", n)}
	} else if n > 0 {
		return &Error{Kind: socksReplies[n].kind, Detail: socksReplies[n].text}
	}
	if err := e.read(head[2:]); err != nil {
		return err
	}
	var size int
	switch head[3] {
	case socksIPv4:
		size = 4
	case socksIPv6:
		size = 16
	case socksName:
		var length [1]byte
		if err := e.read(length[:]); err != nil {
			return err
		}
		size = int(length[0])
	default:
		return &Error{Kind: ErrNotProxy, Detail: fmt.Sprintf("its reply has an address of the unknown type %d", head[3])}
	}
	return e.read(make([]byte, size+2)) // and a port
}

// socksAddress returns an address as SOCKS5 writes it: type, address, port. The
// host has at most 255 bytes.
func socksAddress(host string, port int) (b []byte) {
	switch addr, err := netip.ParseAddr(host); {
	case err != nil:
		b = append([]byte{socksName, byte(len(host))}, host...)
	case addr.Is4():
		b = append([]byte{socksIPv4}, addr.AsSlice()...)
	default:
		b = append([]byte{socksIPv6}, addr.AsSlice()...)
	}
	return binary.BigEndian.AppendUint16(b, uint16(port))
}

// socks4 asks a SOCKS4 proxy for the target. A name follows the user, and the
// invalid address 0.0.0.1 announces it: SOCKS 4a.
func (e *exchange) socks4() error {
	addr, err := netip.ParseAddr(e.host)
	name := err != nil
	if name {
		addr = netip.AddrFrom4([4]byte{0, 0, 0, 1})
	}
	b := binary.BigEndian.AppendUint16([]byte{4, socksConnect}, uint16(e.port))
	b = append(b, addr.AsSlice()...)
	b = append(append(b, e.d.User...), 0)
	if name {
		b = append(append(b, e.host...), 0)
	}
	if err := e.send(b); err != nil {
		return err
	}
	var reply [8]byte
	if err := e.readVersion(reply[:], 0, 4); err != nil { // 4 is wrong, and in use
		return err
	}
	switch reply[1] {
	case socks4Granted:
		return nil
	case socks4NoIdentd, socks4OtherUser:
		return &Error{Kind: ErrNotAllowed, Detail: "it does not accept the user"}
	case socks4Rejected:
		return &Error{Kind: ErrUnreachable, Detail: "rejected or failed"}
	}
	return e.strange(reply[:])
}
