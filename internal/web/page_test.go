package web

import (
	"context"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// pageRequest is a request that came in at 192.0.2.1 port 9000.
func pageRequest(host string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = host
	at := &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 9000}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, at))
}

// offerPage returns the page that offers files with these names.
func offerPage(t testing.TB, host string, paths ...string) string {
	t.Helper()
	var files []pageFile
	for _, path := range paths {
		files = append(files, pageFile{path: path, size: 1, modTime: time.Unix(0, 0)})
	}
	w := httptest.NewRecorder()
	writeOfferPage(w, pageRequest(host), "box", "", slices.Values(files))
	return w.Body.String()
}

var (
	pageLink  = regexp.MustCompile(`<a [^>]*\bhref="([^"]*)"`)
	pageHref  = regexp.MustCompile(`(href|aria-label)="[^"]*"`)
	pageName  = regexp.MustCompile(`<bdi class="name">([^<]*)</bdi>`)
	pageOfTag = regexp.MustCompile(`<[^>]*>`)
)

// hostileNames are names of files, how the last component looks on a page, and
// where their link leads.
var hostileNames = []struct{ path, shown, link string }{
	{"plain.txt", "plain.txt", "/plain.txt"},
	{"dir/a b.txt", "a b.txt", "/dir/a%20b.txt"},
	{"<script>alert(1)<\\script>", "<script>alert(1)<\\script>", "/%3Cscript%3Ealert%281%29%3C%5Cscript%3E"},
	{"<script>alert(1)</script>", "script>", "/%3Cscript%3Ealert%281%29%3C/script%3E"},
	{`" onclick="alert(1)`, `" onclick="alert(1)`, "/%22%20onclick=%22alert%281%29"},
	{"it's `id` $(id) & co", "it's `id` $(id) & co", "/it%27s%20%60id%60%20$%28id%29%20&%20co"},
	{"a?b#c%d", "a?b#c%d", "/a%3Fb%23c%25d"},
	{"a%2e%2fb", "a%2e%2fb", "/a%252e%252fb"},
	{"javascript:alert(1)", "javascript:alert(1)", "/javascript:alert%281%29"},
	{"//evil.example/x", "x", "/evil.example/x"},
	{`\\evil.example\x`, `\\evil.example\x`, "/%5C%5Cevil.example%5Cx"},
	{"fdp.\u202etxt.exe", `fdp.\u202etxt.exe`, "/fdp.%E2%80%AEtxt.exe"},
	{"two\nlines\r\t\x1b[2J", `two\nlines\r\t\x1b[2J`, "/two%0Alines%0D%09%1B%5B2J"},
	{"\xff\xfe", `\xff\xfe`, "/%FF%FE"},
	{"{{host}}<!--part: row-->", "{{host}}<!--part: row-->", "/%7B%7Bhost%7D%7D%3C%21--part:%20row--%3E"},
	{"ümläut-ß.txt", "ümläut-ß.txt", "/%C3%BCml%C3%A4ut-%C3%9F.txt"},
	{"</bdi></a></li></ul><form action=//evil.example>", "evil.example>",
		"/%3C/bdi%3E%3C/a%3E%3C/li%3E%3C/ul%3E%3Cform%20action=//evil.example%3E"},
}

// Any name is text on the page, and its link leads to its file. A directory has
// two links: to its own page and to its archive.
func TestOfferPageNames(t *testing.T) {
	t.Parallel()
	for _, dir := range []bool{false, true} {
		page := func(path string) string {
			w := httptest.NewRecorder()
			writeOfferPage(w, pageRequest("192.0.2.1:9000"), "box", path, slices.Values([]pageFile{{path: path, dir: dir}}))
			return w.Body.String()
		}
		tags := func(text string) []string {
			text = regexp.MustCompile(`<nav.*\n(.*\n)*?.*</nav>`).ReplaceAllString(text, "")
			return pageOfTag.FindAllString(pageHref.ReplaceAllString(text, ""), -1)
		}
		plain := tags(page("x"))
		for _, name := range hostileNames {
			page := page(name.path)
			if got := tags(page); !slices.Equal(got, plain) {
				t.Errorf("%q: the page has other tags than that of a plain name: %q", name.path, got)
			}
			shown := name.shown
			if dir {
				shown += "/"
			}
			if m := pageName.FindStringSubmatch(page); m == nil || html.UnescapeString(m[1]) != shown {
				t.Errorf("%q: shown as %q, want %q", name.path, m, shown)
			}
			_, rows, _ := strings.Cut(page, "<ul ")
			rows, _, _ = strings.Cut(rows, "</ul>")
			var links []string
			for _, m := range pageLink.FindAllStringSubmatch(rows, -1) {
				link := html.UnescapeString(m[1])
				links = append(links, link)
				u, err := url.Parse(link)
				if err != nil || u.Host != "" || u.RawQuery != "" || u.Fragment != "" || !strings.HasPrefix(u.Path, "/"+strings.TrimLeft(name.path, "/")) {
					t.Errorf("%q: link %q leads to %+v, %v", name.path, link, u, err)
				}
			}
			want := []string{name.link}
			if dir {
				want = []string{name.link + "/", name.link + ".tar"}
			}
			if !slices.Equal(links, want) {
				t.Errorf("%q: links %q, want %q", name.path, links, want)
			}
		}
	}
}

// The Host field is the client's choice. Unless it is a plain name or address,
// it does not get into a command that people copy.
func TestPageHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"box.example:9000":        "http://box.example:9000/",
		"[2001:db8::1]:9000":      "http://[2001:db8::1]:9000/",
		"192.0.2.7:1":             "http://192.0.2.7:1/",
		"box.example":             "http://192.0.2.1:9000/",
		"":                        "http://192.0.2.1:9000/",
		"$(id):9000":              "http://192.0.2.1:9000/",
		"-oProxy:9000":            "http://192.0.2.1:9000/",
		"';id;':9000":             "http://192.0.2.1:9000/",
		"<script>:9000":           "http://192.0.2.1:9000/",
		"box.example:9000;reboot": "http://192.0.2.1:9000/",
	} {
		if page := html.UnescapeString(offerPage(t, host, "f")); !strings.Contains(page, "curl -fOJ '"+want+"f'") {
			t.Errorf("Host %q: the page has no %q", host, want)
		}
	}
}

// Each page has its policy, and is complete.
func TestPageHeaders(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(w http.ResponseWriter, r *http.Request){
		"receive": func(w http.ResponseWriter, r *http.Request) { writeReceivePage(w, r, "box") },
		"offer": func(w http.ResponseWriter, r *http.Request) {
			writeOfferPage(w, r, "box", "", slices.Values([]pageFile(nil)))
		},
		"result": func(w http.ResponseWriter, r *http.Request) { writeResultPage(w, r, http.StatusOK, &formResults{}) },
	} {
		w := httptest.NewRecorder()
		write(w, pageRequest("192.0.2.1:9000"))
		body, h := w.Body.String(), w.Header()
		if !strings.HasPrefix(body, "<!doctype html>") || !strings.HasSuffix(body, "</html>\n") {
			t.Errorf("%s: the page is not whole", name)
		}
		if left := regexp.MustCompile(`\{\{[a-z]+\}\}|<!--part`).FindString(body); left != "" {
			t.Errorf("%s: %q is left in the page", name, left)
		}
		if outside := regexp.MustCompile(`(?i)(src|href|action)="?(https?:)?//`).FindString(body); outside != "" {
			t.Errorf("%s: the page refers to something outside: %q", name, outside)
		}
		for _, directive := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(h.Get("Content-Security-Policy"), directive) {
				t.Errorf("%s: policy %q, want %s", name, h.Get("Content-Security-Policy"), directive)
			}
		}
		if runs := strings.Contains(h.Get("Content-Security-Policy"), "script-src"); runs != (name == "receive") {
			t.Errorf("%s: a script may run: %v", name, runs)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: header %v", name, h)
		}
	}
}

// The page for browsers without script shows each outcome.
func TestResultPage(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	writeResultPage(w, pageRequest("192.0.2.1:9000"), http.StatusConflict, &formResults{files: 1003, stored: 1001, rows: []pageResult{
		{name: "a<b", size: 1234567, digest: "e3b0c442"},
		{name: "c", refusal: "exists & \x1b[2J stays"},
	}})
	if w.Code != http.StatusConflict {
		t.Errorf("status %d", w.Code)
	}
	text := html.UnescapeString(pageOfTag.ReplaceAllString(w.Body.String(), " "))
	for _, want := range []string{"1001 of 1,003 files stored", "1,001 files", "not listed", "a<b", "stored: 1,234,567 bytes", "SHA-256 e3b0c442", `exists & \x1b[2J stays`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// A client that has gone ends the listing.
func TestOfferPageEnds(t *testing.T) {
	t.Parallel()
	rows := 0
	writeOfferPage(goneWriter{httptest.NewRecorder()}, pageRequest("192.0.2.1:9000"), "box", "", func(yield func(pageFile) bool) {
		for rows < 1e6 && yield(pageFile{path: "some/file"}) {
			rows++
		}
	})
	if rows > 1000 {
		t.Errorf("%d files were listed for a client that has gone", rows)
	}
}

// A goneWriter is an answer to a client that has gone.
type goneWriter struct{ http.ResponseWriter }

func (goneWriter) Write([]byte) (int, error) { return 0, net.ErrClosed }
