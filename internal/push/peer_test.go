package push

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"purr/internal/offer"
	"purr/internal/rate"
	"purr/internal/store"
	"purr/internal/testkit"
)

// A peer is the other end of a transfer, controlled by a test: it listens, and
// sends the test's messages one by one.
type peer struct {
	t    testing.TB
	as   Role
	ln   net.Listener
	conn net.Conn
	in   *source
	real end // the end under test, which dials
	done chan struct{}
	from string // where the end under test has its files
	into string
}

// newPeer starts the end under test in the other role, and accepts its hello.
func newPeer(t testing.TB, as Role, o Options, files map[string]string) *peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, as: as, ln: ln, done: make(chan struct{}), from: t.TempDir(), into: t.TempDir()}
	p.real.ctx = t.Context()
	p.real.o = o
	if o.Silence == 0 {
		p.real.o.Silence = testkit.Patience
	}
	p.real.o.HelloTimeout = testkit.Patience
	p.real.o.Events = &p.real.record
	var paths []string
	for name, content := range files {
		testkit.WriteFile(t, filepath.Join(p.from, name), content)
		paths = append(paths, filepath.Join(p.from, name))
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	x := &transfer{t: t, paths: paths, into: p.into}
	go func() {
		defer close(p.done)
		c, err := Dial(p.real.ctx, conn, as.Other(), p.real.o)
		if p.real.err = err; err == nil {
			x.half(c, as.Other(), &p.real)
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		if p.conn != nil {
			_ = p.conn.Close()
		}
		<-p.done
	})
	p.accept(fmt.Sprintf("%s: name\r\n", fieldStream))
	return p
}

// accept answers the next hello.
func (p *peer) accept(fields string) {
	p.t.Helper()
	conn, err := p.ln.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	p.welcome(conn, fields)
}

// welcome answers the hello of a connection, which becomes the one in use.
func (p *peer) welcome(conn net.Conn, fields string) {
	p.t.Helper()
	p.conn = conn
	p.in = newSource(conn, testkit.Patience)
	req, err := http.ReadRequest(p.in.Reader)
	if err != nil || !IsHello(req) || req.Header.Get("Upgrade") != Protocol {
		p.t.Fatalf("no hello: %v %v", req, err)
	}
	testkit.WriteString(p.t, conn, fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n%s: %s\r\n%s\r\n",
		Protocol, fieldRole, p.as, fieldDigests, digests, fields))
}

// say sends a message, and the content behind it.
func (p *peer) say(m *message, content string) {
	p.t.Helper()
	m.N = len(content)
	testkit.WriteString(p.t, p.conn, string(encode(m))+content)
}

// hears returns the next message, which has the given op; "" for the end.
func (p *peer) hears(what op) *message {
	p.t.Helper()
	m, err := p.in.next()
	if err != nil || m.Op != what || (m.End != nil) != (what == "") {
		p.t.Fatalf("heard %+v (%v), want %q", m, err, what)
	}
	return m
}

// content reads the bytes behind a message.
func (p *peer) content(m *message) string {
	p.t.Helper()
	b := make([]byte, m.N)
	if _, err := io.ReadFull(p.in, b); err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// ends waits for the end under test, and checks its kind.
func (p *peer) ends(want Kind, text string) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(testkit.Patience):
		p.t.Fatal("the end under test does not end")
	}
	got, why := OK, ""
	if e := new(Error); p.real.err != nil {
		if !isError(p.real.err, &e) {
			p.t.Fatalf("ended with %v", p.real.err)
		}
		got, why = e.Kind, e.Text
	}
	if got != want || !strings.Contains(why, text) {
		p.t.Errorf("kind %d %q, want %d %q; heard %q", got, why, want, text, p.real.lines)
	}
}

func isError(err error, e **Error) bool {
	var ok bool
	*e, ok = err.(*Error)
	return ok
}

// leave closes the connection, in order.
func (p *peer) leave() { _ = p.conn.Close() }

// hearOut reads up to the end of the other direction, and leaves.
func (p *peer) hearOut() {
	go func() {
		_, _ = io.Copy(io.Discard, p.in)
		p.leave()
	}()
}

const large = maxBlock + 100_000

// offerOf is the offer of a large file.
func offerOf(id int64, path string, content string) *message {
	return &message{Op: opOffer, ID: id, Path: path, Size: int64(len(content)), Mode: 0o644}
}

// blocks sends a large file from an offset on.
func (p *peer) blocks(id int64, content string, from int) {
	p.t.Helper()
	for at := from; at < len(content); at += maxBlock {
		p.say(&message{Op: opBlock, ID: id, At: int64(at)}, content[at:min(len(content), at+maxBlock)])
	}
}

// The sender closes at each stage of a transfer: the receiver detects it, and
// keeps the partial files that are large enough.
func TestSenderGone(t *testing.T) {
	testkit.NoLeaks(t)
	content := testkit.Noise(3_000_000)
	small := &message{Op: opFile, ID: 1, Path: "s", Size: 5, Digest: testkit.SHA256("small")}
	for name, c := range map[string]struct {
		before func(p *peer)
		failed string // the reported failure of the file
	}{
		"at once":         {func(p *peer) {}, ""},
		"behind an offer": {func(p *peer) { p.say(offerOf(1, "f", content), ""); p.hears(opWant) }, "failed f: cut: the other end closed the connection"},
		"in a line":       {func(p *peer) { testkit.WriteString(p.t, p.conn, `{"op":"off`) }, ""},
		"in a small file": {func(p *peer) {
			line := *small
			line.N = 5
			testkit.WriteString(p.t, p.conn, string(encode(&line))+"sm")
		}, ""},
		"in a block": {func(p *peer) {
			p.say(offerOf(1, "f", content), "")
			p.hears(opWant)
			p.blocks(1, content[:2_000_000], 0)
			testkit.WriteString(p.t, p.conn, string(encode(&message{Op: opBlock, ID: 1, At: 2_000_000, N: 1000}))+"few")
		}, "failed f: cut: the other end closed the connection (kept)"},
		"before the end of the file": {func(p *peer) {
			p.say(offerOf(1, "f", content), "")
			p.hears(opWant)
			p.blocks(1, content, 0)
		}, "failed f: cut: the other end closed the connection (kept)"},
		"before the end": {func(p *peer) { p.say(small, "small"); p.hears(opResult) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, Sender, Options{}, nil)
			c.before(p)
			p.leave()
			p.ends(Cut, "the other end closed the connection")
			if c.failed != "" && !p.real.has(c.failed) {
				t.Errorf("heard %q, want %q", p.real.lines, c.failed)
			}
			if found, _ := os.ReadDir(p.into); c.failed == "" && name != "before the end" && len(found) > 0 {
				t.Errorf("left: %v", found)
			}
		})
	}
}

// The receiver closes at each stage: the sender reports the unconfirmed files.
func TestReceiverGone(t *testing.T) {
	testkit.NoLeaks(t)
	for name, c := range map[string]struct {
		size   int
		before func(p *peer)
		failed bool
	}{
		"at once":             {100, func(p *peer) {}, true},
		"behind a small file": {100, func(p *peer) { p.content(p.hears(opFile)) }, true},
		"behind an offer":     {large, func(p *peer) { p.hears(opOffer) }, false}, // nothing of it was sent
		"in the blocks": {large, func(p *peer) {
			p.say(&message{Op: opWant, ID: p.hears(opOffer).ID}, "")
			p.content(p.hears(opBlock))
		}, true},
		"behind the file": {large, func(p *peer) {
			p.say(&message{Op: opWant, ID: p.hears(opOffer).ID}, "")
			p.content(p.hears(opBlock))
			p.content(p.hears(opBlock))
			p.hears(opDone)
		}, true},
		"before the end": {100, func(p *peer) {
			m := p.hears(opFile)
			p.content(m)
			p.hears("")
			p.say(&message{Op: opResult, ID: m.ID, Result: resultStored, Size: m.Size, Digest: m.Digest}, "")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, Receiver, Options{}, map[string]string{"f": testkit.Noise(c.size)})
			c.before(p)
			p.leave()
			p.ends(Cut, "the other end closed the connection")
			if name == "at once" { // it may have been faster
				return
			}
			if got := p.real.has("failed f: cut: "); got != c.failed {
				t.Errorf("heard %q", p.real.lines)
			}
		})
	}
}

// After the receiver's end nothing is missing: its FIN need not get through.
func TestReceiverGoneBehindItsEnd(t *testing.T) {
	testkit.NoLeaks(t)
	for name, then := range map[string]func(p *peer){
		"silence": func(*peer) {},
		"reset":   func(p *peer) { testkit.Reset(p.t, p.conn.(*net.TCPConn)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, Receiver, Options{}, map[string]string{"f": testkit.Noise(100)})
			m := p.hears(opFile)
			p.content(m)
			p.hears("")
			p.say(&message{Op: opResult, ID: m.ID, Result: resultStored, Size: m.Size, Digest: m.Digest}, "")
			p.say(&message{End: &totals{}}, "")
			if _, err := p.in.next(); err != io.EOF {
				t.Errorf("behind the end: %v", err)
			}
			then(p)
			p.ends(OK, "")
			if p.real.sum.Worst != OK {
				t.Errorf("%+v %q", p.real.sum, p.real.lines)
			}
		})
	}
}

// A line that is damaged ends the transfer, and the peer learns why; nothing of
// it is stored.
func TestDamagedLine(t *testing.T) {
	testkit.NoLeaks(t)
	for _, as := range []Role{Sender, Receiver} {
		p := newPeer(t, as, Options{}, map[string]string{"f": testkit.Noise(large)})
		m := &message{Op: opFile, ID: 1, Path: "evil", Size: 0, Digest: testkit.SHA256("")}
		if as == Receiver {
			m = &message{Op: opWant, ID: p.hears(opOffer).ID}
		}
		line := encode(m)
		line[10] ^= 1
		testkit.WriteString(t, p.conn, string(line))
		if m := p.hears(opFail); m.Kind != "damaged" {
			t.Errorf("told %+v", m)
		}
		p.leave()
		p.ends(Damaged, "a line was damaged on the way")
		if found, _ := os.ReadDir(p.into); len(found) > 0 {
			t.Errorf("left: %v", found)
		}
	}
	p := newPeer(t, Sender, Options{}, nil)
	p.say(&message{Op: opFail, Kind: "damaged", Error: "no"}, "")
	p.ends(Damaged, "the other end says: no")
}

// A message that no sender sends is a violation.
func TestSenderViolates(t *testing.T) {
	testkit.NoLeaks(t)
	content := testkit.Noise(large)
	wanted := func(p *peer) {
		p.say(offerOf(1, "f", content), "")
		p.hears(opWant)
	}
	file := func(id int64, content string) *message {
		return &message{Op: opFile, ID: id, Path: fmt.Sprint("f", id), Size: int64(len(content)), Digest: testkit.SHA256(content)}
	}
	for name, say := range map[string]func(p *peer){
		"no JSON":                   func(p *peer) { testkit.WriteString(p.t, p.conn, string(sealLine("}"))) },
		"a line without an end":     func(p *peer) { _, _ = io.WriteString(p.conn, strings.Repeat("x", 1<<20)) },
		"a receiver's line":         func(p *peer) { p.say(&message{Op: opWant, ID: 1}, "") },
		"no op":                     func(p *peer) { p.say(&message{ID: 1}, "") },
		"a small file of no digest": func(p *peer) { p.say(&message{Op: opFile, ID: 1, Path: "f", Size: 1}, "x") },
		"a small file too large":    func(p *peer) { p.say(file(1, testkit.Noise(offer.SmallFile+1)), "") },
		"another size":              func(p *peer) { p.say(file(1, "content"), "few") },
		"no path":                   func(p *peer) { m := file(1, "x"); m.Path = ""; p.say(m, "x") },
		"a path not escaped":        func(p *peer) { m := file(1, "x"); m.Path = "%zz"; p.say(m, "x") },
		"an id twice":               func(p *peer) { p.say(file(1, "x"), "x"); p.say(file(1, "x"), "x") },
		"an id of 0":                func(p *peer) { p.say(file(0, "x"), "x") },
		"a negative size": func(p *peer) {
			testkit.WriteString(p.t, p.conn, string(sealLine(`{"op":"offer","id":1,"path":"f","size":-4}`)))
		},
		"a block nobody wants":   func(p *peer) { p.say(&message{Op: opBlock, ID: 1}, "x") },
		"a block behind the end": func(p *peer) { wanted(p); p.say(&message{Op: opBlock, ID: 1, At: 1 << 40}, "x") },
		"a gap": func(p *peer) {
			wanted(p)
			p.blocks(1, content[:100], 0)
			p.say(&message{Op: opBlock, ID: 1, At: 200}, "x")
		},
		"a proof nobody asked for": func(p *peer) { wanted(p); p.say(&message{Op: opProof, ID: 1, Digest: testkit.SHA256("")}, "") },
		"a file of no digest":      func(p *peer) { wanted(p); p.blocks(1, content, 0); p.say(&message{Op: opDone, ID: 1, At: large}, "") },
		"a line behind the end":    func(p *peer) { p.say(&message{End: &totals{Streams: 2}}, ""); p.say(file(1, "x"), "x") },
		"an offer given up before its turn": func(p *peer) {
			wanted(p)
			p.say(offerOf(2, "f", content), "")
			p.say(&message{Op: opAbort, ID: 2}, "")
		},
		"a link before the end of a file": func(p *peer) {
			wanted(p)
			p.say(&message{Op: opLink, ID: 2, Path: "f1", Target: "f"}, "")
		},
		"too many large files": func(p *peer) {
			for i := range int64(maxLarge + 1) {
				p.say(offerOf(i+1, fmt.Sprint("f", i), content), "")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, Sender, Options{}, nil)
			say(p)
			p.hearOut()
			p.ends(Violation, "")
			for _, name := range []string{"f", "f1"} {
				if name != "f1" || !strings.Contains(t.Name(), "twice") {
					testkit.Absent(t, filepath.Join(p.into, name))
				}
			}
		})
	}
}

// sealLine makes a line of any text.
func sealLine(text string) []byte {
	sum := testkit.SHA256(text)
	return fmt.Appendf(nil, "%s\t%x\n", text, sum[:4])
}

// A message that no receiver sends is a violation, too, or damages a file.
func TestReceiverViolates(t *testing.T) {
	testkit.NoLeaks(t)
	result := func(m *message, how string) *message {
		return &message{Op: opResult, ID: m.ID, Result: how, Size: m.Size, Digest: testkit.SHA256("other")}
	}
	for name, c := range map[string]struct {
		size int
		say  func(p *peer)
		want Kind
	}{
		"an end at once":      {100, func(p *peer) { p.say(&message{End: &totals{}}, "") }, Violation},
		"a result of nothing": {100, func(p *peer) { p.say(&message{Op: opResult, ID: 99, Result: resultStored}, "") }, Violation},
		"a sender's line":     {100, func(p *peer) { p.say(&message{Op: opDone, ID: 1}, "") }, Violation},
		"wants a small file":  {100, func(p *peer) { p.say(&message{Op: opWant, ID: p.hears(opFile).ID}, "") }, Violation},
		"asks all the time": {large, func(p *peer) {
			id := p.hears(opOffer).ID
			for range 9 { // the last may find the connection closed
				_, _ = p.conn.Write(encode(&message{Op: opSame, ID: id}))
			}
		}, Violation},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, Receiver, Options{}, map[string]string{"f": testkit.Noise(c.size)})
			c.say(p)
			p.hearOut()
			p.ends(c.want, "")
		})
	}
	for _, how := range []string{resultStored, resultIdentical, "perhaps"} {
		for _, size := range []int{100, large} {
			p := newPeer(t, Receiver, Options{}, map[string]string{"f": testkit.Noise(size)})
			if size == large {
				p.say(&message{Op: opWant, ID: p.hears(opOffer).ID}, "")
				p.content(p.hears(opBlock))
				p.content(p.hears(opBlock))
				p.say(result(p.hears(opDone), how), "")
			} else {
				m := p.hears(opFile)
				p.content(m)
				p.say(result(m, how), "")
			}
			p.hears("")
			p.say(&message{End: &totals{}}, "")
			_ = p.conn.(*net.TCPConn).CloseWrite()
			p.ends(OK, "")
			if p.real.sum.Worst != Damaged || !p.real.has("failed f: damaged: digest mismatch") {
				t.Errorf("%s: %+v %q", how, p.real.sum, p.real.lines)
			}
		}
	}
}

// A peer that is silent is given up after a time, one that keeps the connection
// alive is not; and this end does the same.
func TestSilence(t *testing.T) {
	testkit.NoLeaks(t)
	const silence = 600 * time.Millisecond
	for as, text := range map[Role]string{Sender: "nothing heard for 600ms", Receiver: "lost contact for 600ms"} {
		t.Run(string(as), func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			p := newPeer(t, as, Options{Silence: silence}, map[string]string{"f": testkit.Noise(large)})
			p.ends(Cut, text)
			if took := time.Since(begun); took < silence {
				t.Errorf("gave up after %v", took)
			}
		})
	}
	t.Run("kept alive", func(t *testing.T) {
		t.Parallel()
		testkit.Fairly(t, silence/2, func(t testing.TB) {
			p := newPeer(t, Sender, Options{Silence: silence}, nil)
			for range 15 {
				testkit.WriteString(t, p.conn, "\n")
				time.Sleep(silence / 6)
			}
			select {
			case <-p.done:
				t.Errorf("ended with %v though it was kept alive", p.real.err)
			default:
			}
			_ = p.conn.SetReadDeadline(time.Now().Add(testkit.Patience))
			in := bufio.NewReader(p.conn)
			for range 5 {
				if b, err := in.ReadByte(); b != '\n' || err != nil {
					t.Errorf("a keep-alive is %q, %v", b, err)
				}
			}
			p.leave()
			p.ends(Cut, "")
		})
	})
}

// A file that changes while it is sent is aborted, and offered once more with
// another id; then it is given up.
func TestChangedWhileSent(t *testing.T) {
	testkit.NoLeaks(t)
	for _, times := range []int{1, 2} {
		p := newPeer(t, Receiver, Options{}, map[string]string{"f": testkit.Noise(1_000_000)})
		path := filepath.Join(p.from, "f")
		last := int64(0)
		for i := range times {
			m := p.hears(opOffer)
			if m.ID <= last {
				t.Errorf("id %d behind %d", m.ID, last)
			}
			last = m.ID
			now := testkit.Noise(1_000_001 + i)
			testkit.WriteFile(t, path, now)
			p.say(&message{Op: opWant, ID: m.ID}, "")
			for {
				m := p.hearsAny()
				if m.Op == opBlock {
					p.content(m)
					continue
				}
				if m.Op != opAbort {
					t.Fatalf("heard %+v", m)
				}
				break
			}
		}
		if times == 2 {
			if m := p.hears(opLeft); m.Path != "f" || !strings.HasPrefix(m.Error, "changed while being read") {
				t.Errorf("%+v", m)
			}
		} else {
			m := p.hears(opOffer)
			p.say(&message{Op: opResult, ID: m.ID, Result: resultFailed, Kind: "refused", Error: "enough"}, "")
		}
		p.hears("")
		p.say(&message{End: &totals{}}, "")
		_ = p.conn.(*net.TCPConn).CloseWrite()
		p.ends(OK, "")
		if want := []Kind{Refused, Abandoned}[times-1]; p.real.sum.Worst != want {
			t.Errorf("%d times: %+v %q", times, p.real.sum, p.real.lines)
		}
	}
}

// hearsAny returns the next message.
func (p *peer) hearsAny() *message {
	p.t.Helper()
	m, err := p.in.next()
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// An aborted file leaves nothing, and the same path may be offered again at
// once. Blocks behind a failed result are dropped.
func TestAborted(t *testing.T) {
	testkit.NoLeaks(t)
	content := testkit.Noise(3_000_000)
	p := newPeer(t, Sender, Options{}, nil)
	p.say(offerOf(1, "f", content), "")
	p.hears(opWant)
	p.blocks(1, content[:2_000_000], 0)
	p.say(&message{Op: opAbort, ID: 1}, "")
	p.say(offerOf(2, "f", content), "")
	if m := p.hears(opWant); m.ID != 2 || m.At != 0 {
		t.Errorf("%+v: nothing was to be kept of what was aborted", m)
	}
	p.say(offerOf(3, "f", content), "") // the same path twice
	p.blocks(2, content, 0)
	p.say(&message{Op: opDone, ID: 2, At: int64(len(content)), Digest: testkit.SHA256(content)}, "")
	for range 2 {
		switch m := p.hears(opResult); {
		case m.ID == 2 && m.Result == resultStored:
		case m.ID == 3 && m.Result == resultFailed && m.Error == "sent twice":
		default:
			t.Errorf("%+v", m)
		}
	}
	// One whose digest is wrong.
	p.say(offerOf(4, "g", content), "")
	p.hears(opWant)
	p.blocks(4, content, 0)
	p.say(&message{Op: opDone, ID: 4, At: int64(len(content)), Digest: testkit.SHA256("other")}, "")
	if m := p.hears(opResult); m.Kind != "damaged" {
		t.Errorf("%+v", m)
	}
	// A small path that has failed is as new; one that is stored is not.
	small := &message{Op: opFile, Path: ".hidden", Size: 1, Digest: testkit.SHA256("x")}
	for i, want := range []string{"hidden name", "hidden name", "sent twice"} {
		if small.ID = int64(5 + i); i == 2 {
			small.Path = "f"
		}
		p.say(small, "x")
		if m := p.hears(opResult); m.Result != resultFailed || !strings.Contains(m.Error, want) {
			t.Errorf("%d: %+v", i, m)
		}
	}
	p.say(&message{End: &totals{Streams: 1}}, "")
	if m := p.hears(""); m.End.Files != 1 || m.End.Bytes != int64(len(content)) || m.End.Worst != "damaged" {
		t.Errorf("%+v", m.End)
	}
	_ = p.conn.(*net.TCPConn).CloseWrite()
	p.ends(OK, "")
	if found, _ := os.ReadDir(p.into); len(found) != 1 {
		t.Errorf("left: %v", found)
	}
}

// The receiver's time of a file, which its rate is computed from, begins with
// the content, as the sender's does: not while the sender compares a part.
func TestReceiverBegun(t *testing.T) {
	testkit.NoLeaks(t)
	content := testkit.Noise(large)
	p := newPeer(t, Sender, Options{}, nil)
	p.say(offerOf(1, "f", content), "")
	p.hears(opWant)
	wanted := time.Now()
	p.blocks(1, content, 0)
	p.say(&message{Op: opDone, ID: 1, At: large, Digest: testkit.SHA256(content)}, "")
	p.hears(opResult)
	p.say(&message{End: &totals{Files: 1, Bytes: large, Streams: 1}}, "")
	p.hears("")
	_ = p.conn.(*net.TCPConn).CloseWrite()
	p.ends(OK, "")
	if e := p.real.stored; e.Path != "f" || e.Begun.Before(wanted) {
		t.Errorf("begun at %v, and wanted at %v", e.Begun, wanted)
	}
}

// A part from before is continued if the sender's file begins with it, and not
// if it does not, or if either end does not want it.
func TestResume(t *testing.T) {
	testkit.NoLeaks(t)
	content := testkit.Noise(3_000_000)
	for name, c := range map[string]struct {
		part  string
		not   string // which end does not want it
		at    int
		taken int // size of the file that is replaced
	}{
		"the same":             {content[:2_000_000], "", 2_000_000, 0},
		"all of it":            {content, "", 3_000_000, 0},
		"another":              {"x" + content[1:2_000_000], "", 0, 0},
		"not the sender":       {content[:2_000_000], "sender", 0, 0},
		"not the receiver":     {content[:2_000_000], "receiver", 0, 0},
		"replacing":            {content[:2_000_000], "", 2_000_000, 3},
		"replacing, same size": {content[:2_000_000], "", 2_000_000, len(content)},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, listens Role) {
				x := newTransfer(t, listens)
				x.file("f", content)
				dir, err := store.Open(x.into, store.Options{})
				if err != nil {
					t.Fatal(err)
				}
				up, _, err := dir.Begin(store.File{Path: "f", Size: int64(len(content)) + 1, Mode: 0o644})
				if err != nil {
					t.Fatal(err)
				}
				_ = up.Receive(io.MultiReader(strings.NewReader(c.part), failing{}), func(int) {})
				if _, kept := up.Suspend(); kept != int64(len(c.part)) {
					t.Fatalf("%d bytes kept", kept)
				}
				_ = dir.Close()
				if c.taken > 0 {
					testkit.WriteFile(t, filepath.Join(x.into, "f"), strings.Repeat("x", c.taken))
					x.store.Force = true
				}
				x.sender.o.NoResume = c.not == "sender"
				x.store.NoResume = c.not == "receiver"
				x.run()
				x.inOrder(OK)
				x.same("f", content)
				line := fmt.Sprintf("stored f 3000000 from %d", c.at)
				if !x.sender.has(line) || !x.receiver.has(line) || x.sender.moved != int64(len(content)-c.at) {
					t.Errorf("%d bytes moved: %q and %q, want %q", x.sender.moved, x.sender.lines, x.receiver.lines, line)
				}
				if resumed := x.sender.has("resuming f at") && x.receiver.has("resuming f at"); resumed != (c.at > 0) {
					t.Errorf("%q and %q", x.sender.lines, x.receiver.lines)
				}
			})
		})
	}
}

// failing ends the input with an error.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// An existing file is refused, replaced or proved to be the same.
func TestExists(t *testing.T) {
	bothWays(t, func(t *testing.T, listens Role) {
		x := newTransfer(t, listens)
		want := map[string]string{"s": "small", "l": testkit.Noise(large), "same": testkit.Noise(large + 1)}
		for name, content := range want {
			x.file(name, content)
		}
		testkit.WriteFile(t, filepath.Join(x.into, "s"), "other")
		testkit.WriteFile(t, filepath.Join(x.into, "l"), "x"+want["l"][1:])
		testkit.WriteFile(t, filepath.Join(x.into, "same"), want["same"])
		x.run()
		x.inOrder(Refused)
		for _, name := range []string{"s", "l"} {
			if line := "failed " + name + ": refused: exists"; !x.sender.has(line) || !x.receiver.has(line) {
				t.Errorf("%q and %q", x.sender.lines, x.receiver.lines)
			}
		}
		if !x.sender.has("identical same") || x.sender.moved != int64(len("small")) {
			t.Errorf("%d bytes moved: %q", x.sender.moved, x.sender.lines)
		}
		x.store.Force = true
		x.run()
		x.inOrder(OK)
		for name, content := range want {
			x.same(name, content)
		}
	})
}

// If one of several connections is lost, the transfer ends, and the bytes of
// each connection are kept.
func TestOneStreamLost(t *testing.T) {
	testkit.NoLeaks(t)
	p := newPeer(t, Sender, Options{}, nil) // its Dial is missing: single
	p.say(&message{Op: opMore}, "")
	p.hears(opSingle)
	p.leave()
	p.ends(Cut, "")

	content := testkit.Noise(3_000_000)
	var dial net.Dialer
	var addr string
	p = newPeer(t, Sender, Options{Dial: func(ctx context.Context) (net.Conn, error) { return dial.DialContext(ctx, "tcp", addr) }}, nil)
	addr = p.ln.Addr().String()
	first, in := p.conn, p.in
	p.say(&message{Op: opMore}, "")
	p.accept("")
	for i, conn := range []net.Conn{first, p.conn} {
		p.conn = conn
		if i == 0 {
			p.in, in = in, p.in
		} else {
			p.in = in
		}
		p.say(offerOf(1, fmt.Sprint("f", i), content), "")
		p.hears(opWant)
		p.blocks(1, content[:2_000_000], 0)
	}
	_ = p.conn.Close() // the further one
	p.ends(Cut, "the other end closed the connection")
	_ = first.Close()
	for i := range 2 {
		if !p.real.has(fmt.Sprintf("failed f%d: cut: the other end closed the connection (kept)", i)) {
			t.Errorf("heard %q", p.real.lines)
		}
	}
}

// A further connection that came too late to carry a file is not waited for at
// the end: it may be broken without notice.
func TestUnusedStream(t *testing.T) {
	testkit.NoLeaks(t)
	var dial net.Dialer
	listening := make(chan string, 1)
	o := Options{Silence: 3 * time.Second, Dial: func(ctx context.Context) (net.Conn, error) { return dial.DialContext(ctx, "tcp", <-listening) }}
	p := newPeer(t, Receiver, o, map[string]string{"f0": testkit.Noise(large), "f1": testkit.Noise(large)})
	ln := p.ln
	listening <- ln.Addr().String()
	first, in := p.conn, p.in
	exists := func(offer *message) {
		p.say(&message{Op: opResult, ID: offer.ID, Result: resultFailed, Kind: kindNames[Refused], Error: "exists"}, "")
	}
	late, err := ln.Accept() // the second file waits for it
	if err != nil {
		t.Fatal(err)
	}
	exists(p.hears(opOffer))
	second := p.hears(opOffer) // over the first one instead
	p.welcome(late, "")
	if b, err := p.in.ReadByte(); b != '\n' { // a keep-alive: it has joined
		t.Fatal(b, err)
	}
	p.conn, p.in = first, in
	exists(second)
	if end := p.hears(""); end.End.Streams != 1 {
		t.Errorf("%d streams", end.End.Streams)
	}
	p.say(&message{End: &totals{}}, "")
	p.leave()
	p.ends(OK, "") // though late is silent
	_ = late.Close()
}

// A context that ends interrupts the transfer at both ends.
func TestInterrupted(t *testing.T) {
	bothWays(t, func(t *testing.T, listens Role) {
		for _, as := range []Role{Sender, Receiver} {
			x := newTransfer(t, listens)
			x.file("f", testkit.Noise(8_000_000))
			x.sender.o.Rate = rate.New(4 << 20)
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := fmt.Errorf("stopped")
			stopped, other := &x.sender, &x.receiver
			if as == Receiver {
				stopped, other = other, stopped
			}
			stopped.ctx = ctx
			time.AfterFunc(200*time.Millisecond, func() { cancel(stop) })
			x.run()
			if stopped.err != stop {
				t.Errorf("%s: ended with %v", as, stopped.err)
			}
			if e := new(Error); !isError(other.err, &e) || e.Kind != Cut {
				t.Errorf("the other end of %s: %v", as, other.err)
			}
		}
	})
}
