package sock

import (
	"errors"
	"net"
)

// AwaitBroken returns ErrUnsupported: only a write shows it.
func AwaitBroken(net.Conn) error { return errors.ErrUnsupported }
