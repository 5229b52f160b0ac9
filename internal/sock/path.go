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

// ClearPath removes a dead Unix socket from path: one that no process has
// bound. The error is EADDRINUSE if it is alive, and another file stays. Of
// several processes that do so at the same time, none removes what another has
// bound meanwhile. Nothing that the owner of a live socket could notice is done
// to it.
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

// isDead reports whether a Unix socket is at path that no process has bound. It
// returns false without an error if nothing is there, EADDRINUSE if the socket
// is alive, and another error for a file that is no socket.
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
	case errors.Is(err, syscall.ECONNREFUSED):
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

// InterfaceName returns the name of the interface that has the address, with
// the address.
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
