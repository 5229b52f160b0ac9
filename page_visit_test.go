//go:build linux

package main

import (
	"crypto/sha256"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"purr/internal/digest"
	"purr/internal/testkit"
)

// Here a browser visits a receiver and a sender.

// machineName is this machine's own name.
func machineName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// machine is a name of this machine that is not "localhost", as on a local
// network.
var machine = strings.ToLower(strings.Split(machineName(), ".")[0]) + ".local"

// A receiver is a listening purr --pull: files go into dir.
type receiver struct {
	*process
	dir string
}

// startReceiver starts one with more options.
func startReceiver(t testing.TB, options ...string) *receiver {
	t.Helper()
	dir := t.TempDir()
	return &receiver{startPurr(t, opts{}, append(options, "--pull", "-l", "0", dir)...), dir}
}

// at is the page's URL under a name of this machine.
func (r *receiver) at(host string) string { return "http://" + net.JoinHostPort(host, r.port()) + "/" }

// stored waits until a file is there with this content.
func (r *receiver) stored(path, content string) {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, path))
	if err != nil || string(b) != content {
		r.t.Errorf("%s: %d bytes are stored, %v; want %d", path, len(b), err, len(content))
	}
}

// named makes a file with a name, outside the served directory.
func named(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func sha256Of(content string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
}

// A browser is a dozen of processes: one for all, a window at a time, leaves
// the other tests something of the machine.
func TestBrowser(t *testing.T) {
	t.Parallel()
	b := startBrowser(t, machine)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *browser)
	}{
		{"uploads", browserUploads},
		{"upload ends", browserUploadEnds},
		{"without script", browserWithoutScript},
		{"keyboard", browserKeyboard},
		{"drop", browserDrop},
		{"hostile page", browserHostilePage},
		{"downloads", browserDownloads},
		{"one shot", browserOneShot},
		{"refused early", browserRefusedEarly},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b.in(t)) })
	}
}

// Choose files, see them stored with their digests, or why not.
func browserUploads(t *testing.T, b *browser) {
	for _, host := range []string{"127.0.0.1", machine} {
		t.Run(host, func(t *testing.T) {
			r := startReceiver(t, "-k")
			b := b.in(t)
			b.open(r.at(host))
			b.shows(`Send files to ` + regexp.QuoteMeta(machineName()) + `\n`)
			b.shows(`at 127\.0\.0\.1 port ` + r.port())
			b.shows(`not encrypted`)
			b.looksGood("receive-" + host)

			name, content := `a?b#c%d 'e' "f" ümläut <b>.bin`, testkit.Noise(3<<20)
			path := named(t, name, content)
			when := time.UnixMilli(1_600_000_000_123)
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
			b.choose("#files", path)
			b.shows(`(?s)` + regexp.QuoteMeta(name) + `.*stored: 3,145,728 bytes, verified\s+SHA-256 ` + sha256Of(content))
			b.shows(`1 of 1 file stored`)
			r.stored(name, content)
			if info, err := os.Stat(filepath.Join(r.dir, name)); err != nil || !info.ModTime().Equal(when) {
				t.Errorf("modified at %v, want %v (%v)", info.ModTime(), when, err)
			}
			b.clean()

			// One that is refused does not keep the others; and lengths around a
			// block of SHA-256 are hashed right.
			paths := []string{named(t, ".hidden", "x"), path}
			for _, n := range []int{0, 1, 55, 56, 63, 64, 65, 119, 120} {
				paths = append(paths, named(t, fmt.Sprintf("%d.bin", n), testkit.Noise(n)))
			}
			large := testkit.Noise(20 << 20) // more than is hashed ahead
			paths = append(paths, named(t, "large.bin", large))
			b.choose("#files", paths...)
			b.shows(`12 of 13 files stored, 1 not: \.hidden`)
			b.isRed("#summary", true)
			b.offersAgain(".hidden", false)
			text := b.text()
			for _, want := range []string{"hidden name", "already there: 3,145,728 bytes, verified", "stored: 0 bytes, verified", "stored: 1 byte, verified",
				"stored: 120 bytes, verified", "stored: 20,971,520 bytes, verified", sha256Of(large)} {
				if !strings.Contains(text, want) {
					t.Errorf("the page does not say %q", want)
				}
			}
			if n := strings.Count(text, "verified"); n != 12 {
				t.Errorf("\"verified\" stands there %d times, want 12:\n%s", n, text)
			}
			r.stored("large.bin", large)
			b.looksGood("stored-" + host)
			for _, message := range b.messages() {
				if !strings.Contains(message, "the server responded with a status of 4") { // the browser's own word on the refusal
					t.Errorf("the browser says: %s", message)
				}
			}
		})
	}
}

// receivePage returns the page of a receiver, which it takes to be on a host of
// that name, and the page's policy.
func receivePage(t testing.TB, host string) (page, policy string) {
	t.Helper()
	r := startReceiver(t, "-k")
	resp, err := http.Get(r.at("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	own := `data-host="` + html.EscapeString(machineName()) + `"`
	body := testkit.ReadAll(t, resp.Body)
	if strings.Count(body, own) != 1 {
		t.Fatalf("no %s in the page", own)
	}
	return strings.Replace(body, own, `data-host="`+host+`"`, 1), resp.Header.Get("Content-Security-Policy")
}

// A transfer in flight is shown, can be cancelled and tried again; and if the
// receiver is gone, the page shows it.
func browserUploadEnds(t *testing.T, b *browser) {
	type arrival struct {
		what    string        // the path, and "?1" if more files are to come
		release chan struct{} // closed: the rest of the body is read, and something else is stored
	}
	arrived := make(chan arrival, 10)
	over := make(chan struct{})
	page, policy := receivePage(t, "box")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method != http.MethodPut {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", policy)
			_, _ = io.WriteString(w, page)
			return
		}
		_, _ = io.CopyN(io.Discard, q.Body, 1<<20)
		a := arrival{q.URL.Path + " " + q.Header.Get("Purr-More"), make(chan struct{})}
		arrived <- a
		select {
		case <-a.release:
		case <-over:
			return
		}
		_, _ = io.Copy(io.Discard, q.Body)
		other := sha256.Sum256([]byte("other"))
		w.Header().Set("Repr-Digest", digest.Field(other[:]))
		w.WriteHeader(http.StatusCreated)
	}))
	defer server.Close()
	defer close(over)
	comes := func(want string) (release chan struct{}) {
		t.Helper()
		select {
		case a := <-arrived:
			if a.what != want {
				t.Errorf("%s has come, want %s", a.what, want)
			}
			return a.release
		case <-time.After(testkit.Patience):
			t.Fatalf("%s never comes", want)
			return nil
		}
	}
	b.open(server.URL)
	b.choose("#files", named(t, "one.bin", testkit.Noise(32<<20)), named(t, "two.bin", testkit.Noise(8<<20)), named(t, "three.bin", "3"))
	comes("/one.bin ?1")
	b.shows(`one\.bin\s+32\.0 MiB\s+[0-9.]+ [KM]iB of 32\.0 MiB, \d+ %, [0-9.]+ [KMG]?i?B/s`)
	b.shows(`0 of 3 files stored. Keep this page open`)
	b.looksGood("sending")
	b.click(`button[aria-label="Cancel one.bin"]`)
	b.shows(`one\.bin\s+32\.0 MiB\s+cancelled`)
	b.offersAgain("one.bin", true)
	two := comes("/two.bin ?1")
	b.click(`button[aria-label="Try again one.bin"]`)
	b.click(`button[aria-label="Cancel three.bin"]`)
	// The stored content differs from the sent one.
	close(two)
	b.shows(`two\.bin\s+8\.0 MiB\s+stored: 8,388,608 bytes, but with another content than this file's`)
	close(comes("/one.bin "))
	b.shows(`0 of 3 files stored, 3 not: three\.bin, two\.bin, one\.bin`)
	b.clean()

	b.choose("#files", named(t, "four.bin", testkit.Noise(8<<20)), named(t, "five.bin", "5"))
	comes("/four.bin ?1")
	_ = server.Listener.Close()
	server.CloseClientConnections()
	b.shows(`four\.bin\s+8\.0 MiB\s+not confirmed: box no longer listens`)
	b.shows(`five\.bin\s+1 B\s+not sent: box no longer listens`)
	b.looksGood("gone")
}

// The form works in a browser that runs no script, also on a local network.
func browserWithoutScript(t *testing.T, b *browser) {
	b.command("Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
	for _, host := range []string{"127.0.0.1", machine} {
		r := startReceiver(t, "-k")
		b.open(r.at(host))
		b.looksGood("form-" + host)
		b.choose("#files", named(t, "a b.txt", "hello"), named(t, "two.txt", "two"))
		b.click("#form button")
		b.shows(`(?s)2 of 2 files stored.*a b\.txt\s+stored: 5 bytes\s+SHA-256 ` + sha256Of("hello"))
		r.stored("a b.txt", "hello")
		r.stored("two.txt", "two")
		b.looksGood("result-" + host)
		b.clean()
	}
}

// The keyboard reaches the file chooser first, and one can see it.
func browserKeyboard(t *testing.T, b *browser) {
	r := startReceiver(t, "-k")
	b.open(r.at("127.0.0.1"))
	b.into(nil, "POST", "/actions", map[string]any{"actions": []any{map[string]any{"type": "key", "id": "keys", "actions": []any{
		map[string]string{"type": "keyDown", "value": "\ue004"}, map[string]string{"type": "keyUp", "value": "\ue004"}}}}})
	var focused, outline string
	b.run(&focused, "return document.activeElement.id")
	b.run(&outline, "return getComputedStyle(document.getElementById('form')).outlineStyle")
	if focused != "files" || outline != "solid" {
		t.Errorf("the focus is on %q, with a line %q around the form", focused, outline)
	}
}

// A dropped folder is sent with its content, but for what file managers leave
// in every folder.
func browserDrop(t *testing.T, b *browser) {
	r := startReceiver(t, "-k")
	dir := filepath.Join(t.TempDir(), "folder")
	if err := os.MkdirAll(filepath.Join(dir, "sub dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b?", "sub dir/c", ".DS_Store", "sub dir/._c", "sub dir/Thumbs.db"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.open(r.at(machine))
	for _, kind := range []string{"dragEnter", "dragOver", "drop"} {
		b.command("Input.dispatchDragEvent", map[string]any{"type": kind, "x": 100, "y": 100,
			"data": map[string]any{"items": []any{}, "files": []string{dir, named(t, "single", "1")}, "dragOperationsMask": 1}})
	}
	b.shows(`4 of 4 files stored`)
	b.shows(`Left out, since file managers make them: (folder/\S+( dir/\S+)?(, )?){3}`)
	b.isRed("#summary", false)
	for _, name := range []string{".DS_Store", "sub dir/._c", "sub dir/Thumbs.db"} {
		if _, err := os.Lstat(filepath.Join(r.dir, "folder", name)); err == nil {
			t.Errorf("%s is stored", name)
		}
	}
	for _, name := range []string{"a", "b?", "sub dir/c"} {
		r.stored("folder/"+name, name)
	}
	r.stored("single", "1")
	b.clean()
}

// A page of another origin, open in the same browser, can upload nothing.
func browserHostilePage(t *testing.T, b *browser) {
	r := startReceiver(t, "-k")
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<form id="f" method="post" action="%s" enctype="multipart/form-data"><input id="files" type="file" name="file"></form>
			<iframe src="%[1]s"></iframe>`, "http://"+q.URL.Query().Get("to")+"/")
	}))
	defer hostile.Close()
	for _, from := range []string{"127.0.0.1", "hostile.test"} {
		for _, to := range []string{"127.0.0.1", machine} {
			target := net.JoinHostPort(to, r.port())
			page := "http://" + net.JoinHostPort(from, portOf(t, hostile.Listener.Addr())) + "/?to=" + target
			b.open(page)
			var outcomes []string
			b.into(&outcomes, "POST", "/execute/sync", map[string]any{"args": []any{"http://" + target}, "script": `
				const body = () => { const f = new FormData(); f.append("file", new File(["evil"], "evil.txt")); return f; };
				const ways = [
					fetch(arguments[0] + "/evil.txt", { method: "PUT", body: "evil" }),
					fetch(arguments[0] + "/evil.txt", { method: "PUT", body: "evil", mode: "no-cors" }),
					fetch(arguments[0] + "/", { method: "POST", body: body() }),
					fetch(arguments[0] + "/", { method: "POST", body: body(), mode: "no-cors", credentials: "include" }),
					fetch(arguments[0] + "/"),
				];
				return Promise.allSettled(ways).then(ends => ends.map(e => e.status + " " + (e.value?.type || "")));`})
			for i, outcome := range outcomes {
				if outcome != "rejected " && outcome != "fulfilled opaque" {
					t.Errorf("from %s to %s, way %d: %s", from, to, i, outcome)
				}
			}
			var framed bool
			b.run(&framed, "try { return frames[0].document.body.innerText.includes('Send files') } catch { return false }")
			if framed {
				t.Errorf("from %s: the page of %s shows in a frame", from, to)
			}
			if messages := strings.Join(b.messages(), "\n"); !strings.Contains(messages, "frame-ancestors") {
				t.Errorf("from %s to %s: the browser does not refuse to show the page in a frame: %s", from, to, messages)
			}
			b.choose("#files", named(t, "evil.txt", "evil"))
			b.run(nil, "document.getElementById('f').submit()")
			b.shows(`a page of another site may not do this`)
		}
	}
	if entries, err := os.ReadDir(r.dir); err != nil || len(entries) != 0 {
		t.Errorf("stored: %v, %v", entries, err)
	}
}

// The page of a sender offers files, and they arrive as they are.
func browserDownloads(t *testing.T, b *browser) {
	files := map[string]string{
		"notes.txt":                        "hello\n",
		"a?b#c%d.bin":                      testkit.Noise(5 << 20),
		"deep/er/<img src=x onerror=x>.md": "# text\n",
		"page.html":                        "<script>document.title = 'hostile'</script>",
		strings.Repeat("long-name-", 20):   "x",
	}
	from := t.TempDir()
	for path, content := range files {
		path = filepath.Join(from, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil {
		t.Fatal(err)
	}
	p := startPurr(t, opts{}, append([]string{"-k", "--push", "-l", "0"}, paths...)...)
	dir := t.TempDir()
	b.command("Browser.setDownloadBehavior", map[string]any{"behavior": "allow", "downloadPath": dir})
	b.open("http://" + net.JoinHostPort(machine, p.port()))
	b.shows(`Files from ` + regexp.QuoteMeta(machineName()) + `\n`)
	b.shows(`deep/\s+1 file, 7 B\s+\S+ \S+\s+download as \.tar`)
	b.shows(`5 files, 5\.0 MiB; 1 folder`)
	b.looksGood("offer")
	b.click("li:nth-child(1) a.tar")
	for i := range 4 {
		b.click(fmt.Sprintf("li:nth-child(%d) a", i+2))
	}
	// Folders are opened by a click, and left again.
	b.click("li:nth-child(1) a")
	b.shows(`All files\s*/\s*deep\s+er/`)
	b.click("li:nth-child(1) a")
	b.shows(`All files\s*/\s*deep\s*/\s*er\s+<img src=x onerror=x>\.md`)
	b.looksGood("folder")
	b.click("li:nth-child(1) a")
	b.click("nav a")
	b.shows(`notes\.txt`)
	const links = 6
	testkit.Eventually(t, "everything is downloaded", func() bool {
		entries, _ := os.ReadDir(dir)
		return len(entries) == links && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".crdownload") })
	})
	got := map[string]bool{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[string(content)] = true
	}
	for path, content := range files {
		if !got[content] {
			t.Errorf("%s did not arrive as it is", path)
		}
	}
	archive := start(t, opts{}, testkit.Program(t, "tar", "tar"), "xOf", filepath.Join(dir, "deep.tar"))
	archive.ends(0)
	archive.printed("# text\n")
	b.clean()
}

// A receiver without -k stays until all that was chosen has come, and then the
// page knows that it has gone.
func browserOneShot(t *testing.T, b *browser) {
	r := startReceiver(t)
	b.open(r.at(machine))
	b.choose("#files", named(t, "one", testkit.Noise(1<<20)), named(t, "two", "2"), named(t, "three", "3"))
	b.shows(`3 of 3 files stored`)
	r.ends(0)
	r.stored("one", testkit.Noise(1<<20))
	r.stored("two", "2")
	r.stored("three", "3")
	b.clean()
	b.choose("#files", named(t, "four", "4"))
	b.shows(`four\s+1 B\s+not sent: \S+ no longer listens: without -k it takes one upload`)
}

// A large file that is refused before it is read shows why.
func browserRefusedEarly(t *testing.T, b *browser) {
	r := startReceiver(t, "-k")
	if err := os.WriteFile(filepath.Join(r.dir, "large"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.open(r.at(machine))
	b.choose("#files", named(t, "large", testkit.Noise(32<<20)))
	b.shows(`large\s+32\.0 MiB\s+.*exists`)
	b.shows(`0 of 1 file stored, 1 not: large`)
	b.isRed("#summary", true)
	b.offersAgain("large", false)
	r.stored("large", "old")
}
