//go:build !unix

package sock

import (
	"net"
	"os"
)

// IsUnixSocket returns false: descriptors cannot be passed here.
func IsUnixSocket(*os.File) bool { return false }

// Pass returns ErrNotHere.
func Pass(*os.File, net.Conn) error { return ErrNotHere }
