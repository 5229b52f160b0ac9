package web

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"purr/internal/store"
	"purr/internal/testkit"
)

// A client that announces a body and does not send it is let go where no
// handler reads the body, and during one that is read.
func TestUnsentBody(t *testing.T) {
	t.Parallel()
	o := Options{Keep: true, Silence: 100 * time.Millisecond}
	in := receiver(t, o, store.Options{})
	testkit.WriteFile(t, in.path("there"), "old")
	out := offering(t, o, map[string]string{"f": "content"})
	silent := map[string]net.Conn{}
	for side, r := range map[string]*running{"receiver": in, "offer": out} {
		for _, what := range []string{
			"GET /", "HEAD /f", "GET /f", "GET /none", "PUT /", "PUT /there", "PUT /f", "POST /f", "DELETE /f", "POST /", "OPTIONS /",
		} {
			for _, fields := range []string{
				"Content-Length: 100", "Content-Length: 1000000", "Transfer-Encoding: chunked",
				"Content-Length: 100\r\nContent-Type: multipart/form-data; boundary=X",
				"Content-Length: 100\r\nOrigin: http://evil.example",
			} {
				c := r.dial()
				testkit.WriteString(t, c, what+" HTTP/1.1\r\nHost: localhost\r\n"+fields+"\r\n\r\n")
				silent[side+": "+what+" "+fields] = c
			}
		}
	}
	for what, c := range silent {
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the connection is not closed", what)
		}
	}
}

// A deadline for a body does not end the answer that follows it.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(20 << 20)
	r := offering(t, Options{Keep: true, Silence: 500 * time.Millisecond}, map[string]string{"f": content})
	c := r.dial()
	testkit.WriteString(t, c, "GET /f HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody")
	var got bytes.Buffer
	for range 5 { // slowly
		if _, err := io.CopyN(&got, c, 1<<20); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	_, _ = io.Copy(&got, c)
	if !strings.HasSuffix(got.String(), content) {
		t.Errorf("%d bytes", got.Len())
	}
}

// smallBuffers prepares a connection that holds little.
func smallBuffers(_ context.Context, c net.Conn) (net.Conn, error) {
	return c, c.(*net.TCPConn).SetWriteBuffer(4 << 10)
}

// manyFiles are files with long names.
func manyFiles(n int) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("d/%s%d", strings.Repeat("long", 50), i)] = ""
	}
	return files
}

// A client that does not read its answer is let go.
func TestUnreadAnswer(t *testing.T) {
	t.Parallel()
	files := manyFiles(2000)
	files["d.large"] = testkit.Noise(4 << 20)
	r := offering(t, Options{Keep: true, Silence: 50 * time.Millisecond, Prepare: smallBuffers}, files)
	for i, ask := range []string{
		request("GET", "/", "", "Accept: application/json"), request("GET", "/d/", ""), request("GET", "/d.large", ""),
		request("GET", "/d.large", "", "Want-Repr-Digest: sha-256=10"), request("GET", "/d.tar", ""),
	} {
		c := r.dial()
		_ = c.SetReadBuffer(4 << 10)
		testkit.WriteString(t, c, ask)
		testkit.Eventually(t, "the end of "+testkit.Brief(ask), func() bool { return strings.Count(r.String(), fmt.Sprint("closed ", Broken)) > i })
	}
}

// A client of HTTP/2 that answers every PING, but opens no window for an
// answer, loses the stream.
func TestUnreadStream(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{Keep: true, Silence: 150 * time.Millisecond}, map[string]string{"f": "content"})
	c := r.dial()
	h2 := frames{c}
	testkit.WriteString(t, c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	h2.write(t, 4, 0, 0, "\x00\x04\x00\x00\x00\x00")                  // SETTINGS: the initial window is 0
	h2.write(t, 1, 5, 1, "\x82\x86\x84\x41\x09localhost\x0f\x04\x00") // HEADERS: GET /
	for {
		kind, flags, payload, err := h2.read()
		switch {
		case err != nil:
			t.Fatalf("no stream was reset: %v", err)
		case kind == 3:
			return
		case kind == 6 && flags&1 == 0: // PING
			h2.write(t, 6, 1, 0, payload)
		}
	}
}

// frames reads and writes frames of HTTP/2 (RFC 9113, section 4.1).
type frames struct{ net.Conn }

func (f frames) write(t testing.TB, kind, flags byte, stream uint32, payload string) {
	t.Helper()
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	testkit.WriteString(t, f.Conn, string(binary.BigEndian.AppendUint32(head, stream))+payload)
}

func (f frames) read() (kind, flags byte, payload string, err error) {
	var head [9]byte
	if _, err := io.ReadFull(f.Conn, head[:]); err != nil {
		return 0, 0, "", err
	}
	b := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(f.Conn, b)
	return head[3], head[4], string(b), err
}

// A client that takes the end of an answer slowly has had it, whatever the time
// that the system's buffers hold it for.
func TestSlowEnd(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{Silence: 300 * time.Millisecond}, map[string]string{"f": testkit.Noise(4 << 20)})
	c := r.dial()
	_ = c.SetReadBuffer(64 << 10)
	testkit.WriteString(t, c, request("GET", "/f", ""))
	for range 8 {
		time.Sleep(100 * time.Millisecond)
		if _, err := io.CopyN(io.Discard, c, 512<<10); err != nil {
			t.Fatal(err)
		}
	}
	r.served()
}
