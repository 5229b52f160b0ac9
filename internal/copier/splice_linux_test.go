package copier

import (
	"net"
	"testing"

	"purr/internal/fdio"
	"purr/internal/testkit"
)

// A wrapped connection is not the socket: no kernel copier goes past the
// wrapper.
func TestWrappedIsNotSpliced(t *testing.T) {
	ours, _ := testkit.TcpPair(t)
	type wrapped struct{ net.Conn }
	r, w := testkit.StdioPipe(t)
	a, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if c := kernelCopier(fdio.New(w, a), wrapped{ours}); c != nil {
		t.Errorf("%T", c)
	}
	if c := kernelCopier(wrapped{ours}, fdio.New(r, a)); c != nil {
		t.Errorf("%T", c)
	}
}
