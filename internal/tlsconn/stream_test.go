package tlsconn

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"purr/internal/sock"
	"purr/internal/testkit"
)

// bytesPair returns both ends of an encrypted stream.
func bytesPair(t testing.TB, dialled, accepted net.Conn) (client, server *BytesConn) {
	a, b := pair(t, dialled, accepted)
	return NewBytesConn(a), NewBytesConn(b)
}

// never is a gaveUp that does not give up.
func never() error { return nil }

// Bytes arrive in both directions, each ends on its own, and after that each
// end learns how many bytes the other has taken.
func TestBytesConn(t *testing.T) {
	t.Parallel()
	a, b := testkit.TcpPair(t)
	client, server := bytesPair(t, a, b)
	question, answer := testkit.Noise(3_000_000), testkit.Noise(2_000_001)[1:]
	go func() {
		for part := range strings.SplitSeq(question, "\n") { // of all sizes
			testkit.WriteString(t, client, part+"\n")
		}
		if err := client.CloseWrite(); err != nil {
			t.Error(err)
		}
	}()
	if got := testkit.ReadAll(t, server); got != question+"\n" {
		t.Errorf("the question came as %s", testkit.Brief(got))
	}
	if err := server.Taken(int64(len(question)) + 1); err != nil {
		t.Error(err)
	}
	go func() {
		testkit.WriteString(t, server, answer)
		_ = server.CloseWrite()
	}()
	if got := testkit.ReadAll(t, client); got != answer {
		t.Errorf("the answer came as %s", testkit.Brief(got))
	}
	if err := client.AwaitTaken(never); err != nil {
		t.Error(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- server.AwaitTaken(never); _ = server.Close() }()
	if err := client.Taken(2_000_000); err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	_ = client.Close()
	if sock.Under(client) != a {
		t.Error("NetConn is not the socket")
	}
}

// A peer that has finished and closed its Unix socket does not miss this end's
// half-close. What it has not read is missed.
func TestHalfCloseAfterThePeer(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		a, b := testkit.UnixPair(t)
		client, server := bytesPair(t, a, b)
		testkit.WriteString(t, server, "last")
		if err := server.CloseWrite(); err != nil {
			t.Error(err)
		}
		if lost {
			testkit.WriteString(t, client, "unread")
		}
		_ = server.tls.CloseWrite()
		_ = b.Close()
		if err := client.CloseWrite(); lost != (err != nil) {
			t.Errorf("bytes were lost: %v; the half-close returned %v", lost, err)
		}
		if got := testkit.ReadAll(t, client); got != "last" {
			t.Errorf("the peer's bytes came as %q", got)
		}
		if err := client.Untaken(); lost != (err != nil) {
			t.Errorf("bytes were lost: %v; untaken: %v", lost, err)
		}
	}

	a, b := testkit.UnixPair(t)
	client, server := pair(t, a, b)
	_ = server.CloseWrite()
	_ = b.Close()
	if err := client.CloseWrite(); err != nil {
		t.Errorf("close_notify returned %v", err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v; want io.EOF", n, err)
	}
}

// What AwaitTaken returns for each way in which the peer does not take all.
func TestAwaitTaken(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	for name, test := range map[string]struct {
		peer  func(c *BytesConn)
		want  string // ""; nil
		cause error
	}{
		"all":                    {func(c *BytesConn) { _ = c.Taken(10) }, "", nil},
		"all, before its end":    {func(c *BytesConn) { _ = c.Taken(10); _ = c.Close() }, "", nil},
		"all, with bytes before": {func(c *BytesConn) { _, _ = io.WriteString(c, "answer"); _ = c.Taken(10) }, "", nil},
		"all, in two reports":    {func(c *BytesConn) { _ = c.Taken(4); time.Sleep(time.Second); _ = c.Taken(10) }, "", nil},
		"some, and closes":       {func(c *BytesConn) { _ = c.Taken(4); _ = c.Close() }, "4 of 10 taken", nil},
		"some, and is cut":       {func(c *BytesConn) { _ = c.Taken(4); _ = c.NetConn().Close() }, "4 of 10 taken: " + ErrCut.Error(), ErrCut},
		"nothing, and closes":    {func(c *BytesConn) { _ = c.Close() }, "0 of 10 taken: " + ErrCut.Error(), ErrCut},
		"some, and stays":        {func(c *BytesConn) { _ = c.Taken(4) }, "4 of 10 taken: enough", enough},
		"more than was sent":     {func(c *BytesConn) { _ = c.Taken(11) }, "0 of 10 taken: " + ErrFrame.Error(), ErrFrame},
		"less than before":       {func(c *BytesConn) { _ = c.Taken(4); c.told = 0; _ = c.Taken(3) }, "4 of 10 taken: " + ErrFrame.Error(), ErrFrame},
		"a frame that is none":   {func(c *BytesConn) { _, _ = c.Conn.Write(frame(9, 10)) }, "0 of 10 taken: " + ErrFrame.Error(), ErrFrame},
		"bytes after the end":    {func(c *BytesConn) { _ = c.CloseWrite(); c.ended = false; _, _ = io.WriteString(c, "x") }, "0 of 10 taken: " + ErrFrame.Error(), ErrFrame},
		"half a frame":           {func(c *BytesConn) { _, _ = c.Conn.Write(frame(frameTaken, 10)[:5]) }, "0 of 10 taken: enough", enough},
		"a frame in two, a second": {func(c *BytesConn) {
			f := frame(frameTaken, 10)
			_, _ = c.Conn.Write(f[:5])
			time.Sleep(time.Second)
			_, _ = c.Conn.Write(f[5:])
		}, "", nil},
	} {
		for _, reading := range []bool{false, true} { // whether a pump reads meanwhile
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := net.Pipe()
					client, server := bytesPair(t, a, b)
					go func() {
						_, _ = io.ReadFull(server, make([]byte, 10))
						test.peer(server)
					}()
					testkit.WriteString(t, client, "0123456789")
					if reading {
						go func() { _, _ = io.Copy(io.Discard, client) }()
						synctest.Wait() // a mutex that is waited for would stop the clock
					}
					begun := time.Now()
					err := client.AwaitTaken(func() error {
						if time.Since(begun) > time.Minute {
							return enough
						}
						return nil
					})
					got := ""
					if err != nil {
						got = err.Error()
					}
					if reading && test.cause != enough && test.cause != nil { // the pump gets the cause
						test.want, got = test.want[:13], got[:13]
					} else if test.cause != nil && !errors.Is(err, test.cause) {
						t.Errorf("%v is not %v", err, test.cause)
					}
					if got != test.want {
						t.Errorf("reading %v: %q, want %q", reading, got, test.want)
					}
					_, _ = a.Close(), b.Close()
				})
			})
		}
	}
}

// An end of TLS without the end of the stream is a cut.
func TestBytesConnCut(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *BytesConn){
		"close_notify": func(c *BytesConn) { _ = c.Conn.Close() },
		"FIN":          func(c *BytesConn) { _ = c.NetConn().Close() },
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			client, server := bytesPair(t, a, b)
			go func() {
				testkit.WriteString(t, client, "some of it")
				end(client)
			}()
			if got, err := io.ReadAll(server); string(got) != "some of it" || err != ErrCut {
				t.Errorf("%s: read %q, %v", name, got, err)
			}
			_ = b.Close()
		})
	}
}

// Close ends both directions in order, gives the peer its time, and resets the
// connection if data comes that is not read.
func TestBytesConnClose(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		peer func(c *BytesConn)
		cut  bool // whether the peer learns that its bytes were lost
	}{
		"closes too":     {func(c *BytesConn) { _ = c.CloseWrite() }, false},
		"reports late":   {func(c *BytesConn) { _ = c.Taken(5); _ = c.CloseWrite() }, false},
		"sends":          {func(c *BytesConn) { _, _ = io.WriteString(c, "late") }, true},
		"sends and ends": {func(c *BytesConn) { _, _ = io.WriteString(c, "late"); _ = c.CloseWrite() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := testkit.TcpPair(t)
			client, server := bytesPair(t, a, b)
			testkit.WriteString(t, client, "hello")
			testkit.ReadN(t, server, 5)
			test.peer(server)
			begun := time.Now()
			_ = client.Close()
			if took := testkit.Since(begun); took > time.Second {
				t.Errorf("took %v", took)
			}
			_, _ = io.ReadAll(server)
			if err := server.AwaitTaken(never); test.cut != (err != nil) {
				t.Errorf("the peer: %v", err)
			}
			_ = server.Close()
		})
	}
}

// No frames of a peer read as more bytes than it sent, and no deadline in the
// middle loses one.
func FuzzFrames(f *testing.F) {
	f.Add(append(append(frame(frameData, 3), "abc"...), frame(frameEnd, 0)...), uint16(1))
	f.Add(append(frame(frameTaken, 4), frame(frameTaken, 5)...), uint16(9))
	f.Add(binary.BigEndian.AppendUint64(nil, 1<<63), uint16(3))
	f.Fuzz(func(t *testing.T, sent []byte, size uint16) {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			client, server := bytesPair(t, a, b)
			server.sent.Store(5)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				for i := 0; i < len(sent); i += int(size) + 1 {
					time.Sleep(2 * takenPause)
					if _, err := client.Conn.Write(sent[i:min(len(sent), i+int(size)+1)]); err != nil {
						break
					}
				}
				_ = a.Close()
			}()
			got := 0
			for buf := make([]byte, 100); ; {
				_ = server.SetReadDeadline(time.Now().Add(takenPause))
				n, err := server.Read(buf)
				got += n
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
			}
			if most := max(0, len(sent)-8); got > most || server.taken.Load() > 5 {
				t.Errorf("%q: %d bytes, %d taken", sent, got, server.taken.Load())
			}
			_ = b.Close()
			<-gone
		})
	})
}
