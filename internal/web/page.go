package web

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"purr/internal/display"
)

// The pages for browsers are made of the parts of page.html, and load nothing
// else. Names of files and the Host field are chosen by peers, so write escapes
// every value that goes into a part.

// A pageFile is a file or directory that is offered to a browser.
type pageFile struct {
	path    string // relative, with slashes, as in the URL before escaping
	size    int64  // in bytes; of a directory, of all files that it holds
	modTime time.Time

	// Of a directory, at any depth:
	dir    bool
	files  int64
	unsent int64 // entries that cannot be sent: an archive has none of them
}

// A pageResult is the outcome of one file of a form.
type pageResult struct {
	name    string
	size    int64  // bytes stored
	digest  string // SHA-256 of the stored file, in hexadecimal
	refusal string // the reason why nothing is stored; "": it is stored
}

//go:embed page.html
var pageHTML string

// pageParts are the parts of page.html by name, and the policies for pages made
// of them.
type pageParts struct {
	text           map[string]string
	policy, script string // Content-Security-Policy of a page without, and of one with, the script
}

// pages returns the parts of page.html and their policies, computed at its
// first call.
var pages = sync.OnceValue(func() pageParts {
	const mark = "<!--part: "
	top, rest, _ := strings.Cut(pageHTML, mark)
	p := pageParts{text: map[string]string{"top": top}}
	for part := range strings.SplitSeq(rest, mark) {
		name, text, _ := strings.Cut(part, "-->\n")
		p.text[name] = text
	}
	// Nothing but our own style and script, by digest, so that a name that
	// slips through the escaping still runs nothing.
	p.policy = "default-src 'none'; style-src " + sourceDigest(top, "style") +
		"; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	p.script = p.policy + "; connect-src 'self'; script-src " + sourceDigest(p.text["script"], "script")
	return p
})

// sourceDigest returns the digest of the first element of that name (style or
// script) in text, as a hash source of a Content-Security-Policy. It covers the
// exact bytes between the tags.
func sourceDigest(text, element string) string {
	_, text, _ = strings.Cut(text, "<"+element+">")
	text, _, _ = strings.Cut(text, "</"+element+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// writeReceivePage answers with the page that chooses and uploads files. host
// is this machine's name.
func writeReceivePage(w http.ResponseWriter, r *http.Request, host string) {
	p := newPage(w, http.StatusOK, pages().script, "Send files to "+host)
	p.write("receive", p.about(r, host)...)
	p.write("script")
	p.end()
}

// writeOfferPage answers with a page of links to what the offered directory dir
// holds, in the order of the iterator. host is the name of this machine. Rows
// are written as they come, so that memory does not grow with the offer.
func writeOfferPage(w http.ResponseWriter, r *http.Request, host, dir string, files iter.Seq[pageFile]) {
	p := newPage(w, http.StatusOK, pages().policy, "Files from "+host)
	about := p.about(r, host)
	p.write("offer", about...)
	if dir != "" {
		p.crumbs(dir)
	}
	p.write("rows")
	var total pageFile
	folders, example := int64(0), ""
	for f := range files {
		total.size += f.size
		total.unsent += f.unsent
		link := pagePath(f.path)
		switch {
		case f.path == "":
			continue
		case f.dir:
			folders++
			total.files += f.files
			p.folder(f, link)
			link += ".tar"
		default:
			total.files++
			p.write("row", "href", link, "name", baseName(f.path), "size", display.Size(f.size), "date", f.date())
		}
		if example == "" && f.unsent == 0 {
			example = strings.TrimPrefix(link, "/")
		}
		if p.failed() {
			return
		}
	}
	text := display.Plural(total.files, "file") + ", " + display.Size(total.size)
	if folders > 0 {
		text += "; " + display.Plural(folders, "folder")
	}
	if total.unsent > 0 {
		text += fmt.Sprintf("; %d more cannot be sent", total.unsent)
	}
	p.write("total", "total", text)
	if dir != "" && total.unsent == 0 {
		p.write("tar", "href", pagePath(dir)+".tar", "name", baseName(dir))
	}
	p.write("offered", append(about, "example", cmp.Or(example, "FILE"))...)
	p.end()
}

// folder writes the row of a directory, with a link to its archive if that is
// complete. link is the directory's URL without the slash at the end.
func (p page) folder(f pageFile, link string) {
	size := display.Plural(f.files, "file") + ", " + display.Size(f.size)
	if f.unsent > 0 {
		size += fmt.Sprintf("; %d more cannot be sent", f.unsent)
	}
	name := baseName(f.path)
	p.write("folder", "href", link+"/", "name", name, "size", size, "date", f.date())
	if f.unsent == 0 {
		p.write("tar", "href", link+".tar", "name", name)
	}
	p.write("folded")
}

// crumbs writes links to the directories above dir, and its own name.
func (p page) crumbs(dir string) {
	p.write("crumbs")
	for i, c := range dir {
		if c == '/' {
			p.write("crumb", "href", pagePath(dir[:i])+"/", "name", baseName(dir[:i]))
		}
	}
	p.write("here", "name", baseName(dir))
}

// baseName returns the last component of a path, fit for display.
func baseName(path string) string {
	return display.Escape(path[strings.LastIndexByte(path, '/')+1:])
}

// date returns the time of the last change for a row; "" if it is not known.
func (f pageFile) date() string {
	if f.modTime.IsZero() {
		return ""
	}
	return f.modTime.Format("2006-01-02 15:04")
}

// writeResultPage answers the form of a browser without scripts, with the given
// HTTP status. The page has a line for each row of results, and one that counts
// the files without a row.
func writeResultPage(w http.ResponseWriter, _ *http.Request, status int, results *formResults) {
	summary := fmt.Sprintf("%d of %s stored", results.stored, display.Plural(results.files, "file"))
	p := newPage(w, status, pages().policy, summary)
	p.write("results", "summary", summary)
	for _, result := range results.rows {
		state, kind, sum := "stored: "+display.Plural(result.size, "byte"), "good", "SHA-256 "+result.digest
		if result.refusal != "" {
			state, kind, sum = display.Escape(result.refusal), "bad", ""
		}
		p.write("result", "name", display.Escape(result.name), "state", state, "kind", kind, "sum", sum)
	}
	if more := results.files - int64(len(results.rows)); more > 0 {
		p.write("result", "name", display.Plural(more, "file"), "state", "not listed", "kind", "bad", "sum", "")
	}
	p.write("back")
	p.end()
}

// A page is an HTML answer that is being written, part by part.
type page struct {
	w *bufio.Writer
}

// newPage sends the header of a page and writes its top. policy is its
// Content-Security-Policy. The caller calls end.
func newPage(w http.ResponseWriter, status int, policy, title string) page {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	// With "no-referrer" a browser sends "Origin: null" when it posts our
	// form, and over plain HTTP no Sec-Fetch-Site distinguishes it from a
	// hostile page's: CrossOriginProtection would refuse both.
	h.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	p := page{w: bufio.NewWriterSize(w, 32<<10)}
	p.write("top", "title", title)
	return p
}

// write writes one part of page.html. values are pairs of a name and a text,
// which replaces {{name}} and is escaped for HTML.
func (p page) write(part string, values ...string) {
	pairs := make([]string, len(values))
	for i := 0; i < len(values); i += 2 {
		pairs[i], pairs[i+1] = "{{"+values[i]+"}}", html.EscapeString(values[i+1])
	}
	_, _ = strings.NewReplacer(pairs...).WriteString(p.w, pages().text[part])
}

// failed reports whether a write has failed, because the client has gone.
func (p page) failed() bool {
	_, err := p.w.Write(nil)
	return err != nil
}

// end writes the rest of the page. Errors are dropped: the client has gone.
func (p page) end() {
	p.write("end")
	_ = p.w.Flush()
}

// about returns the values for page.write that describe this end: host (the
// name of this machine), its address, whether the connection is encrypted, and
// the URL and purr target for the commands that the page shows.
func (page) about(r *http.Request, host string) []string {
	name, port := localAddress(r)
	address := "at " + name
	if port != "" {
		address += " port " + port
	}
	// The address that the browser has used works at the reader's place, too. It
	// is not shown with characters that a shell would act on.
	if h, p, err := net.SplitHostPort(r.Host); err == nil && plainHost(h) && plainHost(p) {
		name, port = h, p
	}
	secrecy, scheme := "The connection is not encrypted: others on the network can read what passes.", "http://"
	curl, purr := "", ""
	if c, ok := r.Context().Value(clientKey{}).(*client); ok && c.s.o.TLS != nil {
		secrecy, curl, purr = c.s.o.TLS.about()
		scheme = "https://"
	}
	return []string{
		"host", display.Escape(host), "address", address, "secrecy", secrecy, "curl", curl, "purr", purr,
		"url", scheme + net.JoinHostPort(name, port), "target", name + " " + port,
	}
}

// about returns a text about the encryption for the page, and the options that
// the commands curl and purr need for it. Each option ends with a space.
func (t *TLS) about() (secrecy, curl, purr string) {
	if t.Mutual {
		curl, purr = "--cert FILE ", "--ssl-cert FILE "
	}
	if t.Issuer == "" {
		pin := strings.TrimPrefix(t.Pin, "sha256:")
		return "The connection is encrypted, with a certificate that this end has made itself. Its key has the pin " + t.Pin + ".",
			"-k --pinnedpubkey sha256//" + pin + " " + curl, "--ssl --pin " + t.Pin + " " + purr
	}
	return "The connection is encrypted, with a certificate for " + display.Escape(strings.Join(t.Names, ", ")) +
		" that was issued by " + display.Escape(t.Issuer) + ".", curl, "--ssl " + purr
}

// localAddress returns the IP address and the port that the client has
// connected to. On a Unix socket host is the path of the socket. Without an IP
// address port is empty.
func localAddress(r *http.Request) (host, port string) {
	switch addr := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		a := addr.AddrPort()
		return a.Addr().Unmap().String(), strconv.Itoa(int(a.Port()))
	case net.Addr:
		return display.Escape(addr.String()), ""
	}
	return "an unknown address", ""
}

// plainHost reports whether s may be shown in a shell command: only characters
// of names, addresses and ports, and no leading dash, which would make it an
// option.
func plainHost(s string) bool {
	return s != "" && s[0] != '-' && !strings.ContainsFunc(s, func(c rune) bool {
		return c != '.' && c != '-' && c != ':' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

// pagePath returns the path of a URL for the file path, with each component
// escaped. Leading slashes become one: a URL that begins with two leads to
// another host (RFC 3986, section 4.2).
func pagePath(path string) string {
	parts := strings.Split(strings.TrimLeft(path, "/"), "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return "/" + strings.Join(parts, "/")
}
