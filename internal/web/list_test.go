package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"purr/internal/testkit"
)

// What the list and the page show can be fetched, and is sorted; the archive of
// a directory that holds something else is refused with the reason.
func TestListed(t *testing.T) {
	t.Parallel()
	if os.PathSeparator == '\\' {
		testkit.NotHere(t, "names that Windows does not have")
	}
	files := map[string]string{"s/c": "", "s/a": "", "s/sub/b": "", "s/sub2/x": "", "s/bad\nname": "", "s/evil\n/f": "", "z": "", "b": ""}
	for _, name := range []string{"d1", "d2", "d3"} {
		files[name+"/f"] = ""
	}
	r := offering(t, Options{Keep: true}, files)
	r.answers(request("GET", "/s.tar", ""), http.StatusConflict, "a control character: no archive without it")

	_, body := r.ask(request("GET", "/", "", "Accept: application/json"))
	var entries []listEntry
	if err := json.Unmarshal([]byte(body), &entries); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Type+":"+e.Href)
		if e.Type == "" {
			r.answers(request("GET", "/"+e.Href, ""), http.StatusOK, "")
		}
	}
	want := ":b :d1/f :d2/f :d3/f :s/a :s/c :s/sub/b :s/sub2/x :z dir:d1 dir:d2 dir:d3 dir:s dir:s/sub dir:s/sub2"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}

	// Each directory has a page of its own, with its directories first.
	for path, want := range map[string]string{
		"/":       "/d1/ /d1.tar /d2/ /d2.tar /d3/ /d3.tar /s/ /b /z",
		"/s/":     "/ /s/sub/ /s/sub.tar /s/sub2/ /s/sub2.tar /s/a /s/c",
		"/s/sub/": "/ /s/ /s/sub/b /s/sub.tar",
		"/d1/":    "/ /d1/f /d1.tar",
	} {
		if links := r.links(path); strings.Join(links, " ") != want {
			t.Errorf("%s: %q, want %q", path, links, want)
		}
	}
	_, page := r.ask(request("GET", "/", ""))
	for _, want := range []string{"4 files, 0 B; 3 more cannot be sent", "9 files, 0 B; 4 folders; 3 more cannot be sent"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	_, body = r.ask(request("GET", "/s/sub/", "", "Accept: application/json"))
	if err := json.Unmarshal([]byte(body), &entries); err != nil || len(entries) != 2 || entries[0].Href != "s/sub/b" || entries[1].Href != "s/sub" {
		t.Errorf("the list of s/sub: %+v, %v", entries, err)
	}
	r.answers(request("GET", "/s", ""), http.StatusNotFound, "a directory: its archive is /s.tar, its list /s/")
	for _, path := range []string{"/b/", "/none/", "/s/../", "//", "/s//", "/s/./"} {
		r.answers(request("GET", path, ""), http.StatusNotFound, "not offered")
	}
}

// links returns where the page at path leads to; each of them can be fetched.
func (r *running) links(path string) (links []string) {
	r.t.Helper()
	_, page := r.ask(request("GET", path, ""))
	for _, link := range regexp.MustCompile(`<a [^>]*href="(/[^"]*)"`).FindAllStringSubmatch(page, -1) {
		links = append(links, link[1])
		r.answers(request("GET", link[1], ""), http.StatusOK, "")
	}
	return links
}

// Names are sorted as people look for them, the sums are those of all depths,
// and empty directories are shown.
func TestFolders(t *testing.T) {
	t.Parallel()
	files := map[string]string{"t/b.txt": "1", "t/A.txt": "1", "t/c/x": "1234", "t/c/d/e/y": "123456", "t/Beta/z": ""}
	r := offering(t, Options{Keep: true}, files)
	if want := strings.Fields("/ /t/Beta/ /t/Beta.tar /t/c/ /t/c.tar /t/A.txt /t/b.txt /t.tar"); !slices.Equal(r.links("/t/"), want) {
		t.Errorf("%q, want %q", r.links("/t/"), want)
	}
	_, page := r.ask(request("GET", "/t/", ""))
	for _, want := range []string{`<bdi class="name">c/</bdi><span class="size">2 files, 10 B</span>`, "5 files, 12 B; 2 folders", "<b><bdi>t</bdi></b>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if want := strings.Fields("/ /t/ /t/c/ /t/c/d/e/ /t/c/d/e.tar /t/c/d.tar"); !slices.Equal(r.links("/t/c/d/"), want) {
		t.Errorf("%q, want %q", r.links("/t/c/d/"), want)
	}
}

// More entries than are sorted are shown all the same.
func TestManyListed(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i := range maxSorted + 2 {
		files[fmt.Sprint("d/", i)] = ""
	}
	r := offering(t, Options{Keep: true}, files)
	_, body := r.ask(request("GET", "/", "", "Accept: application/json"))
	var entries []listEntry
	if err := json.Unmarshal([]byte(body), &entries); err != nil || len(entries) != len(files)+1 {
		t.Errorf("%d entries of %d: %v", len(entries), len(files), err)
	}
	_, page := r.ask(request("GET", "/d/", ""))
	if n := strings.Count(page, `<li><a href="/d/`); n != len(files) {
		t.Errorf("%d rows for %d files", n, len(files))
	}
	// What is above is one line.
	if _, page := r.ask(request("GET", "/", "")); strings.Count(page, "<li ") != 1 || !strings.Contains(page, "5,002 files, 0 B") {
		t.Errorf("the page of what is above has %d rows", strings.Count(page, "<li "))
	}
}
