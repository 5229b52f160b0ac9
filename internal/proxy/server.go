package proxy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"purr/internal/display"
	"purr/internal/flags"
	"purr/internal/sock"
	"purr/internal/sys"
	"purr/internal/tunnel"
)

// A Server is a proxy. Each method serves one connection; several may run at
// once.
type Server struct {
	// Dial connects to a target. ErrNotAllowed among its errors becomes the
	// protocol's own answer.
	Dial func(ctx context.Context, host string, port int) (net.Conn, error)

	// User and Password are demanded of every client, unless User is empty.
	User, Password string

	// Timeout limits a client's request and the connection to its target; zero:
	// DefaultTimeout.
	Timeout time.Duration

	// Addr is the address of the listening socket, which is no target: a request
	// to it would come back. Nil: no address is refused.
	Addr net.Addr

	// Join passes bytes between a client and its target until both have
	// finished, and closes both. Nil: tunnel.Join.
	Join func(ctx context.Context, client, target net.Conn) error

	secret     [32]byte  // of nonces
	begun      time.Time // their time 0
	makeSecret sync.Once
}

// A Refusal is a request that was answered with a no, or not understood.
type Refusal struct {
	Target string // HOST:PORT, fit for a terminal; empty if it is not known
	Reason string // fit for a terminal
	Err    error  // of Dial, or nil
}

func (e *Refusal) Error() string {
	if e.Target == "" {
		return e.Reason
	}
	return e.Target + ": " + e.Reason
}

// Unwrap returns the error of Dial.
func (e *Refusal) Unwrap() error { return e.Err }

func (s *Server) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return DefaultTimeout
}

// serve runs talk, the conversation with the client c, and closes c. If ctx
// ends first, it resets c, which ends talk, and returns the cause of ctx.
func serve(ctx context.Context, c net.Conn, talk func() error) error {
	stop := context.AfterFunc(ctx, func() { sock.Reset(c) })
	err := talk()
	_ = c.Close()
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}

// join passes bytes between a client and its target until both have finished,
// and closes both.
func (s *Server) join(ctx context.Context, client, target net.Conn) error {
	_ = client.SetDeadline(time.Time{})
	if s.Join != nil {
		return s.Join(ctx, client, target)
	}
	return tunnel.Join(ctx, client, target, tunnel.Options{})
}

// errItself is the error for a target that is the proxy.
var errItself = fmt.Errorf("%w: the target is this proxy itself", ErrNotAllowed)

// dial connects to a target within the time limit. An error is a *Refusal; the
// proxy itself is no target.
func (s *Server) dial(ctx context.Context, host string, port int) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	c, err := s.Dial(limited, host, port)
	if err == nil && s.isSelf(c) {
		sock.Reset(c)
		err = errItself
	}
	if err == nil {
		return c, nil
	}
	reason := sys.Cause(err).Error()
	switch {
	case sys.IsErrno(err):
		reason = sys.Strerror(err)
	case errors.Is(err, errItself):
		reason = "the target is this proxy itself"
	case isTimeout(err):
		reason = "no answer within " + s.timeout().String()
	}
	return nil, &Refusal{Target: display.Escape(flags.JoinPort(host, port)), Reason: display.Escape(reason), Err: err}
}

// isTimeout reports whether err means that a time limit of this process is
// over, and not one of the system's.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// isSelf reports whether c leads to the listening socket. An address is this
// host's if it is at both ends of a connection, or a loopback address.
func (s *Server) isSelf(c net.Conn) bool {
	if s.Addr == nil {
		return false
	}
	own, remote := sock.AddrPort(s.Addr), sock.AddrPort(c.RemoteAddr())
	if own.Port() != remote.Port() || !remote.IsValid() {
		return false
	}
	return own.Addr() == remote.Addr() || own.Addr().IsUnspecified() &&
		(remote.Addr().IsLoopback() || remote.Addr() == sock.AddrPort(c.LocalAddr()).Addr())
}

// knows reports whether user and password are those of the Server, in a time
// that does not depend on where they differ.
func (s *Server) knows(user, password string) bool {
	return equal(user, s.User)&equal(password, s.Password) == 1
}

// equal returns 1 if a and b are equal, else 0, in a time that does not depend
// on where they differ.
func equal(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}

// nonceKey returns the key of the nonces of this Server, and the moment from
// which they count the time. The first call makes both.
func (s *Server) nonceKey() (key []byte, begun time.Time) {
	s.makeSecret.Do(func() {
		_, _ = rand.Read(s.secret[:])
		s.begun = time.Now()
	})
	return s.secret[:], s.begun
}

// lingerTime is the time for a client to take a refusal.
const lingerTime = time.Second

// linger ends a connection after a refusal. For at most lingerTime it takes
// bytes that the client has sent meanwhile: with unread bytes, closing is a
// reset, and the refusal may be lost. The caller closes c.
func linger(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(lingerTime))
	if sock.HalfClose(c) == nil {
		_, _ = io.CopyN(io.Discard, c, 1<<20)
	}
}

// SOCKS5 serves a client of SOCKS5 (RFC 1928): CONNECT to an IPv4 or IPv6
// address or a name, with the password of RFC 1929. It closes c. An error is a
// *Refusal, a connection's error, or ctx's cause if ctx ended first. A client
// that closes without a byte, as a port scan does, is no error.
func (s *Server) SOCKS5(ctx context.Context, c net.Conn) error {
	return serve(ctx, c, func() error {
		_ = c.SetDeadline(time.Now().Add(s.timeout()))
		var version [1]byte
		if _, err := c.Read(version[:]); err == io.EOF {
			return nil // a port scan
		} else if err != nil {
			return readError(err)
		}
		if version[0] != 5 {
			return &Refusal{Reason: fmt.Sprintf("the client does not speak SOCKS5: its first byte is %#02x", version[0])}
		}
		if err := s.socksGreet(c); err != nil {
			return err
		}
		host, port, err := socksRequest(c)
		if err != nil {
			return err
		}
		target, err := s.dial(ctx, host, port)
		if err != nil {
			return refuseSOCKS(c, socksCode(err), err)
		}
		bound := sock.AddrPort(target.LocalAddr())
		_ = c.SetDeadline(time.Now().Add(s.timeout()))
		granted := append([]byte{5, 0, 0, socksIPv4}, make([]byte, 6)...)
		if bound.IsValid() {
			granted = append([]byte{5, 0, 0}, socksAddress(bound.Addr().WithZone("").String(), int(bound.Port()))...)
		}
		if _, err := c.Write(granted); err != nil {
			_ = target.Close()
			return err
		}
		return s.join(ctx, c, target)
	})
}

// socksGreet agrees on one of the client's methods, and checks the password.
func (s *Server) socksGreet(c net.Conn) error {
	methods, err := readString(c)
	if err != nil {
		return err
	}
	chosen := byte(socksNoPassword)
	if s.User != "" {
		chosen = socksPassword
	}
	if strings.IndexByte(methods, chosen) < 0 {
		chosen = socksNoMethod
	}
	if _, err := c.Write([]byte{5, chosen}); err != nil {
		return err
	}
	switch chosen {
	case socksNoPassword:
		return nil
	case socksNoMethod:
		linger(c)
		reason := "the client offers no password"
		if s.User == "" {
			reason = "the client demands a password or another proof, and there is none"
		}
		return &Refusal{Reason: reason}
	}
	return s.socksLogin(c)
}

// socksLogin reads user and password and answers: RFC 1929.
func (s *Server) socksLogin(c net.Conn) error {
	var version [1]byte
	if err := readRequest(c, version[:]); err != nil {
		return err
	}
	if version[0] != passwordVersion {
		return &Refusal{Reason: fmt.Sprintf("the client sends a password of version %d", version[0])}
	}
	user, err := readString(c)
	if err != nil {
		return err
	}
	password, err := readString(c)
	if err != nil {
		return err
	}
	if !s.knows(user, password) {
		_, _ = c.Write([]byte{passwordVersion, 1})
		linger(c)
		return &Refusal{Reason: "wrong user or password"}
	}
	_, err = c.Write([]byte{passwordVersion, 0})
	return err
}

// readRequest reads exactly len(b) bytes of a request. An error is a *Refusal.
func readRequest(c net.Conn, b []byte) error {
	if _, err := io.ReadFull(c, b); err != nil {
		return readError(err)
	}
	return nil
}

// readError returns the Refusal for a request that could not be read.
func readError(err error) error {
	reason := "the client has sent no whole request"
	if errors.Is(err, os.ErrDeadlineExceeded) {
		reason += " in time"
	}
	return &Refusal{Reason: reason, Err: err}
}

// readString reads a string with its length in a byte in front.
func readString(c net.Conn) (string, error) {
	var length [1]byte
	if err := readRequest(c, length[:]); err != nil {
		return "", err
	}
	b := make([]byte, length[0])
	err := readRequest(c, b)
	return string(b), err
}

// socksRequest reads the target of a CONNECT, and refuses anything else.
func socksRequest(c net.Conn) (host string, port int, err error) {
	var head [4]byte
	if err = readRequest(c, head[:]); err != nil {
		return "", 0, err
	}
	switch {
	case head[0] != 5:
		return "", 0, &Refusal{Reason: fmt.Sprintf("the client sends a request of version %d", head[0])}
	case head[1] != socksConnect:
		return "", 0, refuseSOCKS(c, 7, &Refusal{Reason: fmt.Sprintf("the client asks for command %d, and not CONNECT", head[1])})
	}
	switch head[3] {
	case socksIPv4, socksIPv6:
		b := make([]byte, 4*int(head[3]))
		err = readRequest(c, b)
		host = net.IP(b).String()
	case socksName:
		host, err = readString(c)
	default:
		return "", 0, refuseSOCKS(c, 8, &Refusal{Reason: fmt.Sprintf("the client asks for an address of type %d", head[3])})
	}
	var number [2]byte
	if err == nil {
		err = readRequest(c, number[:])
	}
	if err == nil && !isName(host) {
		err = refuseSOCKS(c, 1, &Refusal{Reason: fmt.Sprintf("the client asks for the host %q", host)})
	}
	return host, int(number[0])<<8 | int(number[1]), err
}

// socksCode returns the reply of RFC 1928, section 6, for an error of dial.
func socksCode(err error) byte {
	switch {
	case errors.Is(err, ErrNotAllowed):
		return 2
	case errors.Is(err, syscall.ENETUNREACH):
		return 3
	case sys.IsRefused(err):
		return 5
	}
	return 4
}

// refuseSOCKS sends the reply with the number code, a refusal. It returns the
// given error, which is the reason.
func refuseSOCKS(c net.Conn, code byte, why error) error {
	_ = c.SetDeadline(time.Now().Add(lingerTime))
	if _, err := c.Write([]byte{5, code, 0, socksIPv4, 0, 0, 0, 0, 0, 0}); err == nil {
		linger(c)
	}
	return why
}
