package sock

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"purr/internal/sys"
)

// MaxPath is the size in bytes of sun_path in struct sockaddr_un, less the
// final zero: 107 on Linux and Windows, 103 on the BSDs and macOS.
const MaxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// ClearPath removes a dead Unix socket, one that no process has bound, from
// path. It does nothing for an abstract name, and if there is no file. The
// error is EADDRINUSE if the socket is alive; a file that is no socket is an
// error, and stays. A lock on the directory keeps two processes apart, so that
// neither removes what the other has bound meanwhile. On Unix the owner of a
// live socket notices nothing.
func ClearPath(ctx context.Context, path string) error {
	if path[0] == '@' {
		return nil
	}
	if dead, err := isDead(path); !dead {
		return err
	}
	unlock, err := lockDir(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	if dead, err := isDead(path); !dead {
		return err
	}
	return sys.Cause(os.Remove(path))
}

// isDead reports whether path is a Unix socket that no process has bound, or
// listens on under Windows. If it
// returns false, the error is nil if nothing is there, and EADDRINUSE if the
// socket is alive or cannot be probed. Any other error means that path is no
// socket or cannot be examined.
func isDead(path string) (bool, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, sys.Cause(err)
	case info.Mode()&os.ModeSocket == 0:
		return false, errors.New("a file that is not a socket is there: it stays, choose another path")
	}
	switch err := probe(path); {
	case sys.IsRefused(err):
		return true, nil
	case errors.Is(err, os.ErrNotExist): // removed since
		return false, nil
	}
	return false, syscall.EADDRINUSE
}

// TemporaryName returns a name at which a Unix datagram client can receive
// replies: abstract on Linux, elsewhere a file, which the caller removes.
func TemporaryName() string {
	name := "purr-" + rand.Text()[:12]
	if runtime.GOOS == "linux" {
		return "@" + name
	}
	return filepath.Join(os.TempDir(), name)
}

// InterfaceName returns an address with the name of the interface that has it:
// "eth0 (192.0.2.1)". It returns the address alone if no interface has it.
func InterfaceName(addr netip.Addr) string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return addr.String()
	}
	for _, i := range interfaces {
		own, _ := i.Addrs()
		for _, a := range own {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == addr.WithZone("") {
				return fmt.Sprintf("%s (%s)", i.Name, addr)
			}
		}
	}
	return addr.String()
}
