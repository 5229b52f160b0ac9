package sock

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A VMAddr is the address of a socket of virtual machines: a context identifier
// and a port (vsock(7)).
type VMAddr struct{ CID, Port uint32 }

// anyCID and anyPort stand for every CID, and for a free port (VMADDR_CID_ANY,
// VMADDR_PORT_ANY).
const anyCID, anyPort uint32 = math.MaxUint32, math.MaxUint32

// Network returns "vsock".
func (a *VMAddr) Network() string { return "vsock" }

// String returns "vsock:CID:PORT".
func (a *VMAddr) String() string {
	cid := strconv.FormatUint(uint64(a.CID), 10)
	if a.CID == anyCID {
		cid = "any"
	}
	return fmt.Sprintf("vsock:%s:%d", cid, a.Port)
}

// ParseVM reads "vsock:CID:PORT". The CID is a number, or one of the names
// hypervisor, local (this machine) and host, and for a listener any.
func ParseVM(text string, listen bool) (*VMAddr, error) {
	cidText, portText, found := strings.Cut(strings.TrimPrefix(text, "vsock:"), ":")
	if !found || !strings.HasPrefix(text, "vsock:") {
		return nil, fmt.Errorf("%q is no address of a VM socket: say vsock:CID:PORT", text)
	}
	a := new(VMAddr)
	switch cidText {
	case "hypervisor":
	case "local":
		a.CID = 1
	case "host":
		a.CID = 2
	case "any":
		a.CID = anyCID
	default:
		n, err := strconv.ParseUint(cidText, 10, 32)
		if err != nil || uint32(n) == anyCID {
			return nil, fmt.Errorf("%q is no CID: say a number, host, local or hypervisor", cidText)
		}
		a.CID = uint32(n)
	}
	if a.CID == anyCID && !listen {
		return nil, errors.New("the CID any is for a listener: say a number, host or local")
	}
	n, err := strconv.ParseUint(portText, 10, 32)
	if err != nil || n == 0 || uint32(n) == anyPort {
		return nil, fmt.Errorf("%q is no port of a VM socket: say a number from 1 to 4294967294", portText)
	}
	a.Port = uint32(n)
	return a, nil
}

// A vmConn is a connection between virtual machines. It is the socket itself,
// for RawStream too. There is no reset: to the peer, a connection that is
// closed looks like one that has ended.
type vmConn struct {
	file          *os.File
	local, remote *VMAddr
	closed        atomic.Bool
}

// failure returns an error of package os as package net words it: net/http asks
// a net.Error for a timeout. After Close it is net.ErrClosed, for which raw
// connections of package os have an error of their own.
func (c *vmConn) failure(op string, err error) error {
	var path *os.PathError
	switch {
	case err == nil || err == io.EOF:
		return err
	case c.closed.Load():
		err = net.ErrClosed
	case errors.As(err, &path):
		err = path.Err
	}
	return &net.OpError{Op: op, Net: "vsock", Source: c.local, Addr: c.remote, Err: err}
}

// Read and the others implement net.Conn.
func (c *vmConn) Read(b []byte) (int, error) {
	n, err := c.file.Read(b)
	return n, c.failure("read", err)
}

func (c *vmConn) Write(b []byte) (int, error) {
	n, err := c.file.Write(b)
	return n, c.failure("write", err)
}

func (c *vmConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	return c.file.Close()
}

func (c *vmConn) LocalAddr() net.Addr                { return c.local }
func (c *vmConn) RemoteAddr() net.Addr               { return c.remote }
func (c *vmConn) SetDeadline(t time.Time) error      { return c.file.SetDeadline(t) }
func (c *vmConn) SetReadDeadline(t time.Time) error  { return c.file.SetReadDeadline(t) }
func (c *vmConn) SetWriteDeadline(t time.Time) error { return c.file.SetWriteDeadline(t) }

// SyscallConn implements syscall.Conn.
func (c *vmConn) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.file.SyscallConn()
	return rawVM{raw, c}, c.failure("raw", err)
}

// CloseWrite ends the sending direction: the peer reads the end.
func (c *vmConn) CloseWrite() (err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) { err = shutdownWrite(int(fd)) })
	return errors.Join(controlErr, os.NewSyscallError("shutdown", err))
}

// A rawVM is the raw connection of c. Its errors are worded as those of c, see
// failure.
type rawVM struct {
	syscall.RawConn
	c *vmConn
}

// Control and the others implement syscall.RawConn.
func (r rawVM) Control(f func(fd uintptr)) error {
	return r.c.failure("raw-control", r.RawConn.Control(f))
}
func (r rawVM) Read(f func(fd uintptr) bool) error { return r.c.failure("raw-read", r.RawConn.Read(f)) }
func (r rawVM) Write(f func(fd uintptr) bool) error {
	return r.c.failure("raw-write", r.RawConn.Write(f))
}
