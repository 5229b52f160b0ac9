//go:build linux

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// This file drives a real browser, chromium, through chromedriver: the
// WebDriver protocol is JSON over HTTP. The browser sees its own loopback
// interface and nothing else.

// A browser is one chromium with one window.
type browser struct {
	t       testing.TB
	session string // URL of the WebDriver session
	client  *http.Client
}

var driverPort = pattern(`started successfully on port (\d+)`)

// startBrowser starts chromium, and skips the test if there is none.
// machine is a name that the browser finds at 127.0.0.1. To it that is no
// "trustworthy" origin, so it behaves as with an address of the local network.
func startBrowser(t *testing.T, machine string) *browser {
	t.Helper()
	for _, program := range []string{"chromium", "chromedriver"} {
		if _, err := exec.LookPath(program); err != nil {
			testkit.Missing(t, program+" (Debian packages chromium, chromium-driver)")
		}
	}
	home := testkit.SocketDir(t) // removed even if chromium has left something in it at the last moment
	driver := start(t, opts{env: []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home, "TMPDIR=" + home}}, "chromedriver", "--port=0")
	m := driver.out.Wait(driverPort())
	if m == nil {
		t.Fatalf("chromedriver does not start%s", driver.heard())
	}
	b := &browser{t: t, session: "http://127.0.0.1:" + m[1],
		client: &http.Client{Timeout: testkit.Patience, Transport: &http.Transport{DisableKeepAlives: true}}}
	var session struct {
		SessionID string `json:"sessionId"`
	}
	b.into(&session, "POST", "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName":       "chrome",
		"goog:loggingPrefs": map[string]string{"browser": "ALL"},
		"goog:chromeOptions": map[string]any{"args": []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
			"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
			"--no-proxy-server", "--host-resolver-rules=MAP " + machine + " 127.0.0.1, MAP hostile.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
			"--user-data-dir=" + filepath.Join(home, "profile"),
		}},
	}}})
	b.session += "/session/" + session.SessionID
	// It ends here, and not with the driver: its processes are in groups of
	// their own.
	t.Cleanup(func() { b.into(nil, "DELETE", "", nil) })
	return b
}

// into asks the driver, and puts the value that it answers into out, unless
// that is nil.
func (b *browser) into(out any, method, path string, arguments any) {
	b.t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		text, err := json.Marshal(arguments)
		if err != nil {
			b.t.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, b.session+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	response, err := b.client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	answer := struct{ Value json.RawMessage }{}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %s, %v: %s", method, path, response.Status, err, testkit.Brief(string(answer.Value)))
	}
	if out != nil {
		if err := json.Unmarshal(answer.Value, out); err != nil {
			b.t.Fatalf("%s %s: %v: %s", method, path, err, testkit.Brief(string(answer.Value)))
		}
	}
}

// open goes to a page and waits until it is loaded.
func (b *browser) open(url string) {
	b.t.Helper()
	b.into(nil, "POST", "/url", map[string]any{"url": url})
}

// run runs the body of a function in the page and puts what it returns into
// out.
func (b *browser) run(out any, script string, arguments ...any) {
	b.t.Helper()
	b.into(out, "POST", "/execute/sync", map[string]any{"script": script, "args": append([]any{}, arguments...)})
}

// command gives a command of Chrome's own protocol.
func (b *browser) command(name string, parameters map[string]any) {
	b.t.Helper()
	b.into(nil, "POST", "/goog/cdp/execute", map[string]any{"cmd": name, "params": parameters})
}

// element returns the path of the element that a CSS selector finds.
func (b *browser) element(selector string) string {
	b.t.Helper()
	found := map[string]string{}
	b.into(&found, "POST", "/element", map[string]any{"using": "css selector", "value": selector})
	for _, id := range found {
		return "/element/" + id
	}
	b.t.Fatalf("no element %s", selector)
	return ""
}

// choose chooses files as the user does in the dialog.
func (b *browser) choose(selector string, paths ...string) {
	b.t.Helper()
	b.into(nil, "POST", b.element(selector)+"/value", map[string]any{"text": strings.Join(paths, "\n")})
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.into(nil, "POST", b.element(selector)+"/click", map[string]any{})
}

// text is the text of the whole page as it is shown.
func (b *browser) text() (text string) {
	b.t.Helper()
	b.run(&text, "return document.body.innerText")
	return text
}

// shows waits until the page's text matches.
func (b *browser) shows(pattern string) {
	b.t.Helper()
	re, text := regexp.MustCompile(pattern), ""
	for deadline := time.Now().Add(testkit.Patience); !re.MatchString(text); text = b.text() {
		if time.Now().After(deadline) {
			b.t.Fatalf("the page never shows %q, but:\n%s", pattern, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// isRed checks whether an element has the class, and the colour, of a failure.
func (b *browser) isRed(selector string, want bool) {
	b.t.Helper()
	var red bool
	b.run(&red, `const e = document.querySelector(arguments[0]), [r, g, b] = getComputedStyle(e).color.match(/\d+/g);
		return e.classList.contains("bad") && r > 1.5 * g`, selector)
	if red != want {
		b.t.Errorf("%s is red: %v, want %v", selector, red, want)
	}
}

// offersAgain checks whether the row of a file that is not stored has a button
// to try again.
func (b *browser) offersAgain(name string, want bool) {
	b.t.Helper()
	var offers bool
	b.run(&offers, `return !!document.querySelector('button[aria-label="Try again ' + arguments[0] + '"]')?.offsetHeight`, name)
	if offers != want {
		b.t.Errorf("%s can be tried again: %v, want %v", name, offers, want)
	}
}

// messages returns the browser's complaints since the last call.
func (b *browser) messages() (messages []string) {
	b.t.Helper()
	var entries []struct{ Level, Message string }
	b.into(&entries, "POST", "/se/log", map[string]any{"type": "browser"})
	for _, e := range entries {
		messages = append(messages, e.Level+" "+e.Message)
	}
	return messages
}

// clean checks that the browser has nothing to complain of.
func (b *browser) clean() {
	b.t.Helper()
	if messages := b.messages(); len(messages) > 0 {
		b.t.Errorf("the browser says: %q", messages)
	}
}

// shoot keeps a picture of the whole page in $PURR_TEST_SCREENSHOTS, for
// people.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("PURR_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	var picture struct{ Data string }
	b.into(&picture, "POST", "/goog/cdp/execute", map[string]any{"cmd": "Page.captureScreenshot", "params": map[string]any{"captureBeyondViewport": true}})
	data, err := base64.StdEncoding.DecodeString(picture.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// scheme makes the browser prefer "light" or "dark", and size gives the window
// the size of a screen. A narrow one is a phone's.
func (b *browser) scheme(name string) {
	b.t.Helper()
	b.command("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": name}}})
}

func (b *browser) size(width, height int) {
	b.t.Helper()
	b.command("Emulation.setDeviceMetricsOverride", map[string]any{
		"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600})
}

// faults is a script that returns what is wrong with how a page looks: text
// with too little contrast (WCAG 2.2, 1.4.3: 4.5 to 1), controls that are too
// small for a finger or have no name, text that is cut off, a page that is
// wider than the window.
const faults = `
const faults = [], root = document.documentElement;
if (root.scrollWidth > innerWidth) faults.push("the page is " + root.scrollWidth + " wide, the window " + innerWidth);
const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
	.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const back = e => {
	for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length && c[3] !== 0) return c; }
	return [255, 255, 255];
};
for (const e of document.body.querySelectorAll("*")) {
	const box = e.getBoundingClientRect(), style = getComputedStyle(e), what = e.tagName + " " + e.textContent.slice(0, 40);
	if (!box.width || style.display === "none" || style.opacity === "0") continue;
	if (box.right > innerWidth + 0.5 || box.left < -0.5) faults.push(what + ": outside the window");
	if ([...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) {
		const a = light(rgb(style.color)), b = light(back(e)), contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (contrast < 4.5) faults.push(what + ": contrast " + contrast.toFixed(2));
	}
	if (e.matches("a, button, input, label") && (box.height < 44 || box.width < 44) && !(e.matches("label") && e.parentElement.querySelector("button")?.offsetHeight))
		faults.push(what + ": " + Math.round(box.width) + " x " + Math.round(box.height));
	if (e.matches("button, a") && !(e.getAttribute("aria-label") || e.textContent).trim()) faults.push(what + ": no name");
}
for (const e of document.querySelectorAll("input, progress"))
	if (!e.labels?.length && !e.getAttribute("aria-label")) faults.push(e.tagName + ": no label");
return faults;`

// looksGood checks a page on a phone and on a desk, by day and by night.
func (b *browser) looksGood(name string) {
	b.t.Helper()
	backs := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		for _, width := range []int{375, 1280} {
			b.size(width, 667)
			var found []string
			b.run(&found, faults)
			for _, fault := range found {
				b.t.Errorf("%s, %s, %d wide: %s", name, scheme, width, fault)
			}
			b.shoot(fmt.Sprintf("%s-%s-%d", name, scheme, width))
		}
		var back string
		b.run(&back, "return getComputedStyle(document.documentElement).backgroundColor")
		backs[back] = scheme
	}
	if len(backs) != 2 {
		b.t.Errorf("%s: the background is %v both by day and by night", name, backs)
	}
}

// in is the same browser with a new window, for a part of a test.
func (b *browser) in(t testing.TB) *browser {
	t.Helper()
	b = &browser{t: t, session: b.session, client: b.client}
	var old string
	b.into(&old, "GET", "/window", nil)
	var opened struct{ Handle string }
	b.into(&opened, "POST", "/window/new", map[string]any{"type": "tab"})
	b.into(nil, "POST", "/window", map[string]any{"handle": opened.Handle})
	t.Cleanup(func() {
		b.into(nil, "DELETE", "/window", nil)
		b.into(nil, "POST", "/window", map[string]any{"handle": old})
	})
	b.messages()
	return b
}
