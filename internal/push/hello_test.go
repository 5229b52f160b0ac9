package push

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// answered dials a listener that answers a hello with a text, and then closes
// the connection or goes on listening.
func answered(t *testing.T, answer string, silent bool) error {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	go func() {
		if _, err := http.ReadRequest(newSource(there, testkit.Patience).Reader); err != nil {
			t.Errorf("the hello: %v", err)
		}
		_, _ = io.WriteString(there, answer)
		if !silent {
			_ = there.Close()
		}
	}()
	closed := false
	o := Options{HelloTimeout: testkit.Patience, Closed: func(_ net.Conn, err error) { closed = err != nil }}
	if silent {
		o.HelloTimeout = 200 * time.Millisecond
	}
	c, err := Dial(t.Context(), conn, Sender, o)
	if err == nil {
		_ = c.Close()
	} else if !closed {
		t.Error("the end of the connection was not reported")
	}
	return err
}

// A peer that answers as no purr is identified by its first bytes.
func TestNoPurr(t *testing.T) {
	testkit.NoLeaks(t)
	purr := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: purr-files/1\r\nPurr: receiver\r\nWant-Repr-Digest: sha-256=10\r\n\r\n"
	for answer, want := range map[string]Kind{
		purr: OK,
		strings.Replace(purr, "files/1", "files/2", 1):                                        OldVersion,
		strings.Replace(purr, "sha-256", "sha-512", 1):                                        OldVersion,
		strings.Replace(purr, "receiver", "sender", 1):                                        SameRole,
		strings.Replace(purr, "Purr: receiver", "X: y", 1):                                    NotPurr,
		"HTTP/1.1 426 Upgrade Required\r\nPurr: receiver\r\nContent-Length: 3\r\n\r\nold":     OldVersion,
		"HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2\r\n\r\nthis port expects TLS\n":    OldVersion,
		"HTTP/1.1 409 Conflict\r\nPurr: sender\r\nContent-Length: 0\r\n\r\n":                  SameRole,
		"HTTP/1.1 503 Service Unavailable\r\nPurr: receiver\r\nContent-Length: 4\r\n\r\nbusy": Refused,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                                        NotPurr,
		"HTTP/1.0 505 Version Not Supported\r\n\r\n":                                          NotPurr,
		"<!DOCTYPE HTML PUBLIC>\n<html></html>\n":                                             NotPurr,
		"purr: this port expects an encrypted purr\n":                                         NeedsKey,
		"SSH-2.0-x\r\n": NotHTTP,
		"":              Cut,
		"HTTP/1.1 1":    Cut,
		"H":             Cut,
		"HTTP/1.1 101 Switching Protocols\r\nPurr: rec":       Cut,
		"HTTP/1.0 200 OK\r\nX: ":                              NotPurr,
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20): NotPurr, // a head without an end
	} {
		err := answered(t, answer, false)
		got := OK
		if e := new(Error); isError(err, &e) {
			got = e.Kind
		} else if err != nil {
			t.Errorf("%s: %v", testkit.Brief(answer), err)
		}
		if got != want {
			t.Errorf("%s: kind %d (%v), want %d", testkit.Brief(answer), got, err, want)
		}
	}
	if err := answered(t, "", true); err == nil || err.(*Error).Kind != NotHTTP {
		t.Errorf("a silent listener: %v", err)
	}
	if err := answered(t, "HTTP/1.1 503 Service Unavailable\r\nPurr: receiver\r\nContent-Length: 4\r\n\r\nbusy", false); err.Error() != "busy" {
		t.Errorf("a refusal's text: %v", err)
	}
}

// A hello that is none of ours gets an answer in HTTP, and ends the Upgrade.
func TestUpgradeRefuses(t *testing.T) {
	testkit.NoLeaks(t)
	hello := map[string]string{"Upgrade": Protocol, "Connection": "Upgrade", fieldRole: "sender", fieldDigests: digests}
	for name, c := range map[string]struct {
		change map[string]string
		code   int
		kind   Kind
	}{
		"another version": {map[string]string{"Upgrade": "purr-files/2"}, http.StatusUpgradeRequired, OldVersion},
		"no upgrade":      {map[string]string{"Upgrade": ""}, http.StatusUpgradeRequired, OldVersion},
		"no digest":       {map[string]string{fieldDigests: "sha-512=1"}, http.StatusUpgradeRequired, OldVersion},
		"the same role":   {map[string]string{fieldRole: "receiver"}, http.StatusConflict, SameRole},
		"no role":         {map[string]string{fieldRole: "spy\x1b"}, http.StatusBadRequest, Violation},
		"not admitted":    {map[string]string{"X": "y"}, http.StatusServiceUnavailable, Refused},
		"no such stream":  {map[string]string{fieldStream: "guessed"}, http.StatusConflict, OK},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		for field, value := range hello {
			r.Header.Set(field, value)
		}
		for field, value := range c.change {
			r.Header.Set(field, value)
		}
		w := httptest.NewRecorder()
		_, err := Upgrade(w, r, Receiver, Options{Streams: new(Streams), Admit: func() error { return errors.New("busy") }})
		e := new(Error)
		if w.Code != c.code || isError(err, &e) != (c.kind != OK) || c.kind == OK && err != ErrNotJoined {
			t.Errorf("%s: %d, %v", name, w.Code, err)
		} else if c.kind != OK && e.Kind != c.kind {
			t.Errorf("%s: kind %d (%v)", name, e.Kind, err)
		}
		if w.Header().Get(fieldRole) != string(Receiver) || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("%s: %v %q", name, w.Header(), w.Body)
		}
	}
	for request, want := range map[*http.Request]bool{
		{Method: "POST", ProtoMajor: 2, Header: http.Header{fieldRole: {"sender"}}}:                              true,
		{Method: "POST", ProtoMajor: 1, Header: http.Header{fieldRole: {"sender"}, "Upgrade": {"purr-files/9"}}}: true,
		{Method: "POST", ProtoMajor: 1, Header: http.Header{fieldRole: {"sender"}}}:                              false,
		{Method: "POST", ProtoMajor: 2, Header: http.Header{}}:                                                   false,
		{Method: "PUT", ProtoMajor: 1, Header: http.Header{fieldRole: {"sender"}, "Upgrade": {"purr-files/1"}}}:  false,
	} {
		request.URL = httptest.NewRequest("GET", "/", nil).URL
		if IsHello(request) != want {
			t.Errorf("%+v", request)
		}
	}
}

// If a further connection gets no answer, the files use the existing ones.
func TestNoFurtherConnection(t *testing.T) {
	bothWays(t, func(t *testing.T, listens Role) {
		x := newTransfer(t, listens)
		x.sender.o.Streams, x.receiver.o.Streams = new(Streams), new(Streams)
		refused := errors.New("no way")
		x.sender.o.Dial = func(context.Context) (net.Conn, error) { return nil, refused }
		x.receiver.o.Dial = x.sender.o.Dial
		want := map[string]string{}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			want[name] = testkit.Noise(large + len(want))
			x.file(name, want[name])
		}
		x.run()
		x.inOrder(OK)
		for name, content := range want {
			x.same(name, content)
		}
		if x.sender.conns != 1 || x.sender.single+x.receiver.single == 0 {
			t.Errorf("%d connections, reported %d and %d times", x.sender.conns, x.sender.single, x.receiver.single)
		}
	})
}

// A fakeConn is a connection whose other end has already sent all its bytes.
type fakeConn struct {
	net.Conn
	said *bytes.Reader
}

func (c fakeConn) Read(b []byte) (int, error)       { return c.said.Read(b) }
func (c fakeConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c fakeConn) Close() error                     { return nil }
func (c fakeConn) RemoteAddr() net.Addr             { return nil }
func (c fakeConn) SetDeadline(time.Time) error      { return nil }
func (c fakeConn) SetReadDeadline(time.Time) error  { return nil }
func (c fakeConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzHello: any answer to a hello at most fails, and one that succeeds is a
// purr's in the other role.
func FuzzHello(f *testing.F) {
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: purr-files/1\r\nPurr: receiver\r\nWant-Repr-Digest: sha-256=10\r\nPurr-Stream: x\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 426 Upgrade Required\r\nPurr: receiver\r\n\r\nold"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nPurr: receiver\r\n\r\nffffffff\r\nx"))
	f.Add([]byte("HTTP/0.0 101 \nUpgrade: purr-files/1\nPurr: receiver\nWant-Repr-Digest: sha-256\n\n"))
	f.Add([]byte("HTTP/2.0 101 \nUpgrade: purr-files/1\nPurr: receiver\nWant-Repr-Digest: sha-256\n\n"))
	f.Add([]byte("purr: this port"))
	f.Add([]byte("\x16\x03\x01"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		c, err := Dial(t.Context(), fakeConn{said: bytes.NewReader(answer)}, Sender, Options{})
		if e := new(Error); err != nil && !isError(err, &e) {
			t.Errorf("%q: %v", answer, err)
		}
		if err == nil {
			if !bytes.HasPrefix(answer, []byte("HTTP/1.")) || !bytes.Contains(answer, []byte("receiver")) {
				t.Errorf("%q was welcomed", answer)
			}
			_ = c.Close()
		}
	})
}

// FuzzLine: any line at most fails, and a parsed line is the same after it was
// written and parsed again.
func FuzzLine(f *testing.F) {
	for _, m := range []*message{
		{Op: opOffer, ID: 1, Path: "a%20b", Size: 3, Mode: 0o644, Mtime: &[2]int64{1, 5}}, {Op: opBlock, ID: 1, At: 1 << 40, N: 7},
		{Op: opDone, ID: 2, Digest: make([]byte, 32)}, {End: &totals{Files: 1, Worst: "damaged"}}, {Op: opLeft, Path: "%zz", Error: "\x1b"}, {Op: opResult, Kind: "?"},
	} {
		f.Add(encode(m))
	}
	f.Add(sealLine(`{"op":"block","n":-1}`))
	f.Add(sealLine(`{"mtime":[1,1000000000]}`))
	f.Add([]byte("{}\t00000000\n\n\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		in := newSource(fakeConn{said: bytes.NewReader(said)}, time.Minute)
		for {
			m, err := in.next()
			if err != nil {
				if e := new(Error); !isError(err, &e) && err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Errorf("%q: %v", said, err)
				}
				return
			}
			_, _ = m.path()
			_ = m.modTime()
			line := encode(m)
			again, err := decode(line[:len(line)-1])
			if err != nil || !bytes.Equal(encode(again), line) {
				t.Errorf("%+v became %+v (%v)", m, again, err)
			}
		}
	})
}

// A line that was cut, or is too long, is none; one of the longest is.
func TestLines(t *testing.T) {
	t.Parallel()
	longest := &message{Op: opLink, ID: 1, Path: strings.Repeat("%ff", 4096), Target: strings.Repeat("%fe", 4096)}
	line := encode(longest)
	if len(line) > maxLine || len(line) < sourceBuffer/2 {
		t.Fatalf("the longest line has %d bytes", len(line))
	}
	in := newSource(fakeConn{said: bytes.NewReader(bytes.Repeat(append([]byte("\n"), line...), 3))}, time.Minute)
	for range 3 {
		if m, err := in.next(); err != nil || m.Path != longest.Path || m.Target != longest.Target {
			t.Fatal(err)
		}
	}
	if _, err := in.next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	in = newSource(fakeConn{said: bytes.NewReader(line[:len(line)-1])}, time.Minute)
	if _, err := in.next(); err != io.ErrUnexpectedEOF {
		t.Errorf("a line without its end: %v", err)
	}
	in = newSource(fakeConn{said: bytes.NewReader(bytes.Repeat([]byte("x"), 2*maxLine))}, time.Minute)
	if _, err := in.next(); err == nil || err.(*Error).Kind != Violation {
		t.Errorf("a line of %d bytes: %v", 2*maxLine, err)
	}
	for i := range line[:len(line)-1] {
		if i%97 > 0 {
			continue
		}
		line[i] ^= 4
		if _, err := decode(line[:len(line)-1]); err != errLineDigest {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		line[i] ^= 4
	}
}

// A read that was late because the process was stopped looks once more before
// the peer counts as silent.
func TestLastLook(t *testing.T) {
	t.Parallel()
	looks := 0
	in := newSource(lateConn{looks: &looks}, time.Minute)
	if b, err := in.ReadByte(); b != 'x' || err != nil || looks != 2 {
		t.Errorf("%q, %v after %d looks", b, err, looks)
	}
}

// A lateConn times out first, and then has something.
type lateConn struct {
	fakeConn
	looks *int
}

func (c lateConn) Read(b []byte) (int, error) {
	if *c.looks++; *c.looks == 1 {
		return 0, os.ErrDeadlineExceeded
	}
	b[0] = 'x'
	return 1, nil
}
