package sock

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"purr/internal/testkit"
)

// The count of acknowledged bytes, at both ends, before and after the FIN.
func TestAcked(t *testing.T) {
	t.Parallel()
	const size = 100_000
	check := func(t *testing.T, c, peer *net.TCPConn, dialled bool) {
		t.Helper()
		testkit.WriteString(t, c, testkit.Noise(size))
		testkit.ReadN(t, peer, size)
		count := func(want int64) func() bool {
			return func() bool {
				n, known := Acked(c, dialled, size+10)
				return known && n == want
			}
		}
		testkit.Eventually(t, "all is acknowledged, and nothing else", count(size))
		_ = c.CloseWrite()
		testkit.ReadAll(t, peer)
		testkit.Eventually(t, "the FIN counts", func() bool { left, err := Unacked(c); return err == nil && left == 0 })
		if n, known := Acked(c, dialled, size); n != size || !known {
			t.Errorf("%d bytes acknowledged (%v), want %d", n, known, size)
		}
	}
	t.Run("dialled", func(t *testing.T) { ours, theirs := testkit.TcpPair(t); check(t, ours, theirs, true) })
	t.Run("accepted", func(t *testing.T) { theirs, ours := testkit.TcpPair(t); check(t, ours, theirs, false) })
	t.Run("unix", func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		defer a.Close()
		if n, known := Acked(a, true, 5); known {
			t.Errorf("%d bytes", n)
		}
	})
}

// A peer that closes its Unix socket has taken everything, or it is a reset.
func TestUnackedUnix(t *testing.T) {
	t.Parallel()
	for _, read := range []bool{true, false} {
		ours, theirs := testkit.UnixPair(t)
		testkit.WriteString(t, ours, "x")
		if n, err := Unacked(ours); n != 0 || err != nil {
			t.Errorf("before the peer closes: %d, %v", n, err)
		}
		if read {
			testkit.ReadN(t, theirs, 1)
		}
		_ = theirs.Close()
		if n, err := Unacked(ours); n != 0 || errors.Is(err, syscall.ECONNRESET) == read {
			t.Errorf("the peer has read: %v; %d, %v", read, n, err)
		}
	}
}
