package dump

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"purr/internal/testkit"
)

// open opens a dump that must not fail later.
func open(t *testing.T, o Options) *Dump {
	t.Helper()
	d, err := Open(t.Context(), o, func(path string, err error) { t.Errorf("%s: %v", path, err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

var stamp = regexp.MustCompile(`(?m)^# \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d) `)

// unstamped returns a dump without its times.
func unstamped(t *testing.T, text string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") != stamp.MatchString(line) {
			t.Errorf("%q has no time", line)
		}
	}
	return stamp.ReplaceAllString(text, "# ")
}

// The lines are those of netcat 1.10, here as its -o has written them, with the
// time and the peer before each read.
func TestLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := Options{Output: filepath.Join(dir, "raw"), Hex: filepath.Join(dir, "hex")}
	d := open(t, o)
	r := d.Recorder("a\x1bpeer")
	b := []byte("abc\n")
	if got := r.Receiving()[0](b); &got[0] != &b[0] || string(got) != "abc\n" {
		t.Errorf("%q is another read", got)
	}
	r.Sending()[0]([]byte("hello world, this is a longer line\n\x01\x02\xffxx"))
	r.Follow(func() string { return "b" })
	r.Received([]byte("answer of twenty bytes..."))
	r.ReceivedBatch(batch{}, 2)
	r.SentBatch(batch{}, 1)
	want := `# a\x1bpeer
< 00000000 61 62 63 0a                                     # abc.
# a\x1bpeer
> 00000000 68 65 6c 6c 6f 20 77 6f 72 6c 64 2c 20 74 68 69 # hello world, thi
> 00000010 73 20 69 73 20 61 20 6c 6f 6e 67 65 72 20 6c 69 # s is a longer li
> 00000020 6e 65 0a 01 02 ff 78 78                         # ne....xx
# b
< 00000004 61 6e 73 77 65 72 20 6f 66 20 74 77 65 6e 74 79 # answer of twenty
< 00000014 20 62 79 74 65 73 2e 2e 2e                      #  bytes...
# sender 0
< 0000001d                                                 # 
# sender 1
< 0000001d 21                                              # !
# sender 0
> 00000028                                                 # 
`
	if got := unstamped(t, testkit.ReadFile(t, o.Hex)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	testkit.HasContent(t, o.Output, "abc\nhello world, this is a longer line\n\x01\x02\xffxxanswer of twenty bytes...!")
}

// A batch has an empty datagram and one with "!".
type batch struct{}

func (batch) Data(i int) []byte       { return []byte("!")[:i] }
func (batch) SenderName(i int) string { return fmt.Sprint("sender ", i) }

// The offset grows beyond eight digits.
func TestLongOffset(t *testing.T) {
	t.Parallel()
	for at, want := range map[int64]string{0: "00000000", 0xffff_fff0: "fffffff0", 1 << 32: "100000000", 0x123_4567_89ab: "123456789ab"} {
		_, line, _ := bytes.Cut(appendRead(nil, '>', at, "x", []byte("a")), []byte("\n"))
		if !bytes.HasPrefix(line, []byte("> "+want+" 61 ")) {
			t.Errorf("%x: %s", at, line)
		}
	}
}

// The reads of several conversations stay whole beside each other, also in a
// pipe, which takes large writes in parts.
func TestReadsStayTogether(t *testing.T) {
	t.Parallel()
	const peers, reads = 8, 20
	dir := t.TempDir()
	r, w := testkit.StdioPipe(t)
	o := Options{Output: fmt.Sprintf("/dev/fd/%d", w.Fd()), Hex: filepath.Join(dir, "hex")}
	if _, err := os.Stat(o.Output); err != nil {
		testkit.NotHere(t, "/dev/fd")
	}
	d := open(t, o)
	raw := make(chan string, 1)
	go func() { raw <- testkit.ReadN(t, r, peers*reads*20_000) }()
	var all sync.WaitGroup
	for i := range peers {
		all.Go(func() {
			rec, b := d.Recorder(fmt.Sprint(i)), bytes.Repeat([]byte{byte('a' + i)}, 20_000)
			for range reads {
				rec.Sent(b)
			}
		})
	}
	all.Wait()
	for text := <-raw; text != ""; text = text[20_000:] {
		if text[:20_000] != strings.Repeat(text[:1], 20_000) {
			t.Fatal("bytes of several reads are mixed")
		}
	}
	blocks := strings.Split(unstamped(t, testkit.ReadFile(t, o.Hex)), "# ")
	for line := range strings.Lines(testkit.ReadFile(t, o.Hex)) {
		if text := strings.TrimSpace(line); text[0] == '>' && len(text) != len("> 00000000 ")+48+2+16 {
			t.Fatalf("a torn line: %q", text)
		}
	}
	if len(blocks) != 1+peers*reads*(1+20_000/16) {
		t.Errorf("%d blocks", len(blocks))
	}
}

// A write that fails is reported once, and the other file goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		testkit.NotHere(t, "/dev/full")
	}
	hex := filepath.Join(t.TempDir(), "hex")
	var failed []string
	d, err := Open(t.Context(), Options{Output: "/dev/full", Hex: hex}, func(path string, err error) { failed = append(failed, fmt.Sprint(path, ": ", err)) })
	if err != nil {
		t.Fatal(err)
	}
	r := d.Recorder("x")
	r.Sent([]byte("one"))
	r.Sent([]byte("two"))
	d.Close()
	if len(failed) != 1 || !strings.Contains(failed[0], "/dev/full: ") || !strings.Contains(failed[0], "no space left on device") {
		t.Errorf("%q", failed)
	}
	if got := testkit.ReadFile(t, hex); !strings.Contains(got, "# one\n") || !strings.Contains(got, "# two\n") {
		t.Error(got)
	}
}

// Files are emptied unless they are appended to, and changed only if all of
// them can be opened.
func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	old, fresh := in("old"), in("fresh")
	testkit.WriteFile(t, old, "old")
	if err := os.Symlink("old", in("link")); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"is a directory":            {Output: old, Hex: dir},
		"no such file or directory": {Output: fresh, Hex: in("none/x")},
		"- is no file":              {Output: fresh, Hex: "-"},
		"is " + fresh + ", too":     {Output: fresh, Hex: fresh},
		"is " + old + ", too":       {Hex: in("link"), Output: fresh, Apart: []string{"", in("none"), old}},
	} {
		d, err := Open(t.Context(), o, nil)
		if d != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", o, err, want)
		}
		testkit.HasContent(t, old, "old")
		testkit.Absent(t, fresh)
	}
	appending := open(t, Options{Output: in("link"), Append: true, Hex: "/dev/null"})
	appending.Recorder("").Sent([]byte(" and new"))
	testkit.HasContent(t, old, "old and new")
	open(t, Options{Output: old}).Recorder("").Sent([]byte("new"))
	testkit.HasContent(t, old, "new")
}

// A FIFO is waited for until it has a reader or the run ends.
func TestFIFO(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := testkit.Mkfifo(path); err != nil {
		testkit.NotHere(t, err.Error())
	}
	ctx, stop := context.WithCancelCause(t.Context())
	stop(os.ErrClosed)
	if _, err := Open(ctx, Options{Output: path}, nil); err != os.ErrClosed {
		t.Error(err)
	}
	read := make(chan string, 1)
	go func() {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		read <- testkit.ReadN(t, f, 5)
	}()
	open(t, Options{Output: path}).Recorder("").Sent([]byte("hello"))
	if got := <-read; got != "hello" {
		t.Errorf("%q", got)
	}
}

// Without a file there is no dump, and nothing is recorded.
func TestNone(t *testing.T) {
	t.Parallel()
	d, err := Open(t.Context(), Options{Append: true}, nil)
	if d != nil || err != nil {
		t.Error(d, err)
	}
	r := d.Recorder("x")
	r.Sent(nil)
	r.Received(nil)
	r.Follow(nil)
	r.SentBatch(nil, 1)
	r.ReceivedBatch(nil, 1)
	if r.Sending() != nil || r.Receiving() != nil {
		t.Error("there are filters")
	}
	d.Close()
}
