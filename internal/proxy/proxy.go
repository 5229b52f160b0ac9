// Package proxy connects through SOCKS and HTTP proxies, and is one. What a
// client reads of an answer, and a SOCKS server of a request, is read exactly:
// payload that follows stays in the socket, and a tunnel has the bare socket.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"purr/internal/display"
	"purr/internal/flags"
	"purr/internal/sock"
	"purr/internal/sys"
)

// A Protocol is the protocol that a proxy speaks.
type Protocol int

// The protocols. SOCKS4 includes 4a, by which the proxy resolves names.
const (
	SOCKS5 Protocol = iota // RFC 1928
	SOCKS4
	HTTP  // CONNECT (RFC 9110, section 9.3.6)
	HTTPS // the same, in TLS
)

func (p Protocol) String() string {
	return [...]string{"SOCKS5", "SOCKS4", "HTTP", "HTTPS"}[p]
}

// A DNS is the end that resolves the name of the target.
type DNS int

// The ends that can resolve names, as in Ncat's --proxy-dns.
const (
	Remote DNS = iota // the proxy
	Local             // this end, so that the proxy gets addresses
	Both              // this end, and the proxy if it cannot
	None              // neither: the target has to be an address
)

// A Config is a proxy, with the user that it knows. Its zero value is not
// valid: a proxy has a host and a port.
type Config struct {
	Protocol    Protocol
	Host        string // name or address, without brackets
	Port        int
	User        string // empty: none
	Password    string
	HasPassword bool // whether Password is known
	DNS         DNS
}

// Addr returns the proxy's address as HOST:PORT.
func (c *Config) Addr() string { return flags.JoinPort(c.Host, c.Port) }

// DefaultTimeout is the limit of each step if Dialer.Timeout is zero.
const DefaultTimeout = 10 * time.Second

// A Dialer connects to targets through one proxy. It may be used by several
// goroutines.
type Dialer struct {
	Config

	// Dial connects to the proxy itself. Its errors are returned unchanged.
	Dial func(context.Context) (net.Conn, error)

	// Timeout limits each step of the conversation with the proxy; zero:
	// DefaultTimeout.
	Timeout time.Duration

	// TLS is the configuration for an HTTPS proxy. Nil: the certificate is
	// verified against the system's roots and the proxy's host.
	TLS *tls.Config

	// Resolve returns the addresses of a name, for Local and Both. Nil: the
	// system's resolver.
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)

	// AskPassword returns the password of User. It is called once, when the
	// proxy wants one and HasPassword is false, and takes as long as it takes.
	AskPassword func(context.Context) (string, error)

	asking sync.Mutex // held for AskPassword
	asked  bool
	answer string // of AskPassword
}

// Connect returns a connection to the target, which the caller closes: the
// result of Dial, or a *tls.Conn over it for an HTTPS proxy. Its other end is
// the target for sock.RemoteAddr. An error is an *Error, an error of Dial,
// Resolve or AskPassword, or ctx's cause if ctx ended first.
func (d *Dialer) Connect(ctx context.Context, host string, port int) (net.Conn, error) {
	if err := d.check(host); err != nil {
		return nil, err
	}
	hosts, err := d.hosts(ctx, host)
	if err != nil {
		return nil, err
	}
	for i, asked := range hosts {
		c, err := d.connect(ctx, asked, port)
		if err == nil {
			sock.SetTarget(c, &sock.HostAddr{Host: host, Port: port})
		}
		if i == len(hosts)-1 || !errors.Is(err, ErrUnreachable) {
			return c, err
		}
	}
	return nil, &Error{Kind: ErrUnreachable, Detail: fmt.Sprintf("%v has no form for an IPv6 address: use SOCKS5", d.Protocol)}
}

// check returns an error for a name that the proxy's protocol cannot carry.
func (d *Dialer) check(host string) error {
	if !isName(host) {
		return &Error{Kind: ErrUnreachable, Detail: fmt.Sprintf("a name of 1 to 255 bytes without blanks is needed, and not %q", host)}
	}
	return nil
}

// isName reports whether host is fit for a request: 1 to 255 bytes, without
// blanks and control characters.
func isName(host string) bool {
	unfit := func(r rune) bool { return r <= ' ' || r == 0x7f }
	return host != "" && len(host) <= 255 && !strings.ContainsFunc(host, unfit)
}

// hosts returns what the proxy is asked for, in order: the target itself, or
// its addresses.
func (d *Dialer) hosts(ctx context.Context, host string) ([]string, error) {
	if addr, ok := flags.ParseAddr(host); ok {
		return d.carried([]netip.Addr{addr}), nil
	}
	if d.DNS == None {
		return nil, &Error{Kind: ErrUnreachable, Detail: fmt.Sprintf("names are not resolved, and %q is no address", host)}
	}
	if d.DNS == Remote {
		return []string{host}, nil
	}
	resolve := d.Resolve
	if resolve == nil {
		resolve = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	addrs, err := resolve(ctx, host)
	switch {
	case err == nil:
		return d.carried(addrs), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case d.DNS == Both:
		return []string{host}, nil
	}
	return nil, err
}

// carried returns those addresses that the protocol has a form for. A zone has
// a meaning on this host only.
func (d *Dialer) carried(addrs []netip.Addr) (hosts []string) {
	for _, addr := range addrs {
		if addr = addr.Unmap().WithZone(""); addr.Is4() || d.Protocol != SOCKS4 {
			hosts = append(hosts, addr.String())
		}
	}
	return hosts
}

// connect asks the proxy for one host. A proxy that closes the connection with
// its demand for a password is asked again on a new one.
func (d *Dialer) connect(ctx context.Context, host string, port int) (net.Conn, error) {
	e := &exchange{d: d, ctx: ctx, host: host, port: port}
	for {
		c, err := d.open(ctx)
		if err != nil {
			return nil, err
		}
		e.conn, e.heard = c, 0
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		switch d.Protocol {
		case SOCKS4:
			err = e.socks4()
		case SOCKS5:
			err = e.socks5()
		default:
			err = e.http()
		}
		if !stop() {
			err = context.Cause(ctx)
		}
		if err == nil {
			_ = c.SetDeadline(time.Time{})
			return c, nil
		}
		_ = c.Close()
		if err != errReconnect {
			return nil, err
		}
	}
}

// open connects to the proxy, and encrypts the connection to an HTTPS proxy.
func (d *Dialer) open(ctx context.Context) (net.Conn, error) {
	c, err := d.Dial(ctx)
	if err != nil || d.Protocol != HTTPS {
		return c, err
	}
	config := d.TLS
	if config == nil {
		config = &tls.Config{ServerName: d.Host}
	}
	limited, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	s := tls.Client(c, config)
	if err = s.HandshakeContext(limited); err == nil {
		return s, nil
	}
	_ = c.Close()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case limited.Err() != nil:
		return nil, d.ioError(os.ErrDeadlineExceeded, 0)
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return nil, &Error{Kind: ErrUntrusted, Detail: display.Escape(err.Error()), Err: err}
	case isClosed(err), sys.IsErrno(err):
		return nil, d.ioError(err, 0)
	}
	return nil, &Error{Kind: ErrNotProxy, Detail: display.Escape(err.Error()), Err: err}
}

func (d *Dialer) timeout() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return DefaultTimeout
}

// An exchange is the conversation with the proxy about one target.
type exchange struct {
	d     *Dialer
	ctx   context.Context
	conn  net.Conn
	host  string
	port  int
	heard int // bytes of the proxy's current answer

	credentials string // the Proxy-Authorization that is sent
	reused      bool   // whether conn has carried an answer already
}

// target returns HOST:PORT.
func (e *exchange) target() string { return flags.JoinPort(e.host, e.port) }

// send begins a step: it sends a request, and sets the time limit for the
// answer.
func (e *exchange) send(b []byte) error {
	e.heard = 0
	_ = e.conn.SetDeadline(time.Now().Add(e.d.timeout()))
	if _, err := e.conn.Write(b); err != nil {
		return e.d.ioError(err, 0)
	}
	return nil
}

// read reads exactly len(b) bytes of an answer.
func (e *exchange) read(b []byte) error {
	n, err := io.ReadFull(e.conn, b)
	e.heard += n
	if err != nil {
		return e.d.ioError(err, e.heard)
	}
	return nil
}

// strange returns the error for an answer in another protocol, of which start
// was read. To show more of the answer it reads on, for at most 200 ms.
func (e *exchange) strange(start []byte) error {
	_ = e.conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
	more := make([]byte, 64)
	n, _ := e.conn.Read(more)
	text := display.Payload(append(start, more[:n]...), 64)
	return &Error{Kind: ErrNotProxy, Detail: fmt.Sprintf("it does not speak %v, and answered \"%s\"", e.d.Protocol, text)}
}

// password returns the password of the user. asked is true if this call has
// asked the user for it, which may have taken longer than the proxy waits.
func (e *exchange) password() (password string, asked bool, err error) {
	d := e.d
	if d.HasPassword || d.AskPassword == nil {
		return d.Password, false, nil
	}
	d.asking.Lock()
	defer d.asking.Unlock()
	if !d.asked {
		if d.answer, err = d.AskPassword(e.ctx); err != nil {
			return "", true, err
		}
		d.asked, asked = true, true
	}
	return d.answer, asked, nil
}

// ioError returns the Error for a connection to the proxy that has failed after
// heard bytes of an answer.
func (d *Dialer) ioError(err error, heard int) error {
	e := &Error{Kind: ErrNoAnswer, Err: err}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Detail = "nothing within " + d.timeout().String()
		if heard > 0 {
			e.Detail = "not all of it within " + d.timeout().String()
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Detail = "it closed the connection"
	default:
		e.Detail = sys.Strerror(err)
	}
	return e
}

// Kinds of an Error.
var (
	// ErrNoAnswer: the proxy closed or reset the connection, or was silent.
	ErrNoAnswer = errors.New("no answer from the proxy")
	// ErrUnreachable: the proxy has not reached the target.
	ErrUnreachable = errors.New("the proxy cannot connect")
	// ErrNotAllowed: the proxy's rules forbid the target or the client.
	ErrNotAllowed = errors.New("the proxy does not allow it")
	// ErrNotProxy: the other end speaks another protocol.
	ErrNotProxy = errors.New("not the proxy that was asked for")
	// ErrPasswordWanted: the proxy wants a user and password, and there is none.
	ErrPasswordWanted = errors.New("the proxy wants a user and password")
	// ErrPasswordWrong: the proxy does not accept the user and password.
	ErrPasswordWrong = errors.New("the proxy does not accept the user and password")
	// ErrUntrusted: the certificate of an HTTPS proxy is not valid.
	ErrUntrusted = errors.New("the proxy's certificate is not valid")
)

// An Error is a connection that the proxy has not made. The connection to the
// proxy has been closed, and no payload was sent.
type Error struct {
	Kind   error  // one of the errors above
	Detail string // the proxy's answer or its failure, fit for a terminal; may be empty
	Err    error  // the network's error, or nil
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Kind.Error()
	}
	return e.Kind.Error() + ": " + e.Detail
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// errReconnect asks for a new connection to the proxy.
var errReconnect = errors.New("the proxy has closed the connection")
