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
	"time"

	"purr/internal/sys"
)

// ClearPath removes a dead Unix socket from path: one that refuses a
// connection. The error is EADDRINUSE if it is alive, and another file stays.
func ClearPath(ctx context.Context, network, path string) error {
	if path[0] == '@' {
		return nil
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return sys.Cause(err)
	case info.Mode()&os.ModeSocket == 0:
		return errors.New("a file that is not a socket is there: it stays, choose another path")
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, network, path)
	if err == nil {
		_ = conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return syscall.EADDRINUSE
	}
	return sys.Cause(os.Remove(path))
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
