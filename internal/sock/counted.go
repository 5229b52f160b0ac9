package sock

import (
	"net"
	"sync/atomic"
	"time"
)

// A Counted is a connection that counts its bytes, also into totals that
// several connections share.
type Counted struct {
	net.Conn
	Sent, Received           atomic.Int64
	TotalSent, TotalReceived *atomic.Int64

	Begun  time.Time   // for the program's own use
	Joined atomic.Bool // whether it is a further connection of a transfer; as Begun
}

// NetConn returns the connection underneath, as a tls.Conn does.
func (c *Counted) NetConn() net.Conn { return c.Conn }

// Read counts the bytes that it returns.
func (c *Counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.Received.Add(int64(n))
	c.TotalReceived.Add(int64(n))
	return n, err
}

// Write counts the bytes that were written.
func (c *Counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.Sent.Add(int64(n))
	c.TotalSent.Add(int64(n))
	return n, err
}
