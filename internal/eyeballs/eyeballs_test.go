package eyeballs

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func addresses(names ...string) (addrs []netip.Addr) {
	for _, name := range names {
		addrs = append(addrs, netip.MustParseAddr(name))
	}
	return addrs
}

// The families alternate, each in its order, the first address first: RFC 8305,
// section 4.
func TestInterleave(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"1.1.1.1", "1.1.1.1"},
		{"::1 ::2 1.1.1.1 2.2.2.2", "::1 1.1.1.1 ::2 2.2.2.2"},
		{"1.1.1.1 2.2.2.2 ::1 ::2", "1.1.1.1 ::1 2.2.2.2 ::2"},
		{"::1 ::2 ::3 1.1.1.1", "::1 1.1.1.1 ::2 ::3"},
		{"::1 1.1.1.1 2.2.2.2 3.3.3.3", "::1 1.1.1.1 2.2.2.2 3.3.3.3"},
		{"1.1.1.1 2.2.2.2", "1.1.1.1 2.2.2.2"},
		{"1.1.1.1 ::1 2.2.2.2 ::2", "1.1.1.1 ::1 2.2.2.2 ::2"},
	} {
		parse := func(s string) (out []netip.Addr) {
			for _, w := range strings.Fields(s) {
				out = append(out, netip.MustParseAddr(w))
			}
			return out
		}
		if got := Interleave(parse(test.in)); !reflect.DeepEqual(got, parse(test.want)) {
			t.Errorf("%s: %v, want %s", test.in, got, test.want)
		}
	}
}

// A fakeConn is closed by the race if it comes too late.
type fakeConn struct {
	net.Conn
	closed chan struct{}
}

func (c *fakeConn) Close() error { close(c.closed); return nil }

// A silent address holds the next one up for the attempt delay; a refusal does
// not. The first connection wins, and one that comes later is closed.
func TestRace(t *testing.T) {
	addrs := addresses("::1", "1.1.1.1", "::2")
	refused := errors.New("refused")
	type outcome struct {
		after time.Duration
		err   error
	}
	for name, test := range map[string]struct {
		outcomes [3]outcome
		winner   int // -1: none
		took     time.Duration
	}{
		"the first":     {[3]outcome{{10 * time.Millisecond, nil}, {}, {}}, 0, 10 * time.Millisecond},
		"after refusal": {[3]outcome{{time.Millisecond, refused}, {time.Millisecond, nil}, {}}, 1, 2 * time.Millisecond},
		"after silence": {[3]outcome{{time.Hour, nil}, {time.Millisecond, nil}, {}}, 1, AttemptDelay + time.Millisecond},
		"the slow one":  {[3]outcome{{2 * AttemptDelay, nil}, {time.Hour, nil}, {time.Hour, nil}}, 0, 2 * AttemptDelay},
		"none":          {[3]outcome{{time.Millisecond, refused}, {time.Millisecond, refused}, {time.Millisecond, refused}}, -1, 3 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var late [3]atomic.Bool // attempts that were started
				conns := [3]*fakeConn{}
				for i := range conns {
					conns[i] = &fakeConn{closed: make(chan struct{})}
				}
				begun := time.Now()
				won, err := Race(t.Context(), addrs, func(_ context.Context, addr netip.Addr) (net.Conn, error) {
					for i, a := range addrs {
						if a == addr {
							late[i].Store(true)
							time.Sleep(test.outcomes[i].after) // deaf to its cancellation
							if test.outcomes[i].err != nil {
								return nil, test.outcomes[i].err
							}
							return conns[i], nil
						}
					}
					return nil, errors.New("another address")
				})
				if took := time.Since(begun); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if test.winner < 0 {
					if won != nil || err == nil || err.Error() != "refused\nrefused\nrefused" {
						t.Errorf("%v, %v", won, err)
					}
					return
				}
				if err != nil || won != net.Conn(conns[test.winner]) {
					t.Errorf("%v, %v", won, err)
				}
				for i, c := range conns {
					if late[i].Load() && i != test.winner && test.outcomes[i].err == nil {
						<-c.closed
					}
				}
			})
		})
	}
}

func TestRaceCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("enough")
		ctx, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { stop(cause) })
		_, err := Race(ctx, addresses("::1", "1.1.1.1"), func(ctx context.Context, _ netip.Addr) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}
