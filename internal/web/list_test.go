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
)

// What the list and the page show can be fetched, and is sorted; the archive of
// a directory that holds something else is refused with the reason.
func TestListed(t *testing.T) {
	t.Parallel()
	if os.PathSeparator == '\\' {
		t.Skip("Windows has no such names")
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

	_, page := r.ask(request("GET", "/", ""))
	var links []string
	for _, link := range regexp.MustCompile(`href="(/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		links = append(links, link[1])
		r.answers(request("GET", link[1], ""), http.StatusOK, "")
	}
	if want := strings.Fields("/d1.tar /d2.tar /d3.tar /s/sub.tar /s/sub2.tar /b /d1/f /d2/f /d3/f /s/a /s/c /s/sub/b /s/sub2/x /z"); !slices.Equal(links, want) {
		t.Errorf("%q, want %q", links, want)
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
}
