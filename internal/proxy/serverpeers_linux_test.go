package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"purr/internal/testkit"
)

// ask runs a client with stdin and returns what it prints.
func ask(t *testing.T, stdin string, argv ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(cmd.Environ(), "no_proxy=", "http_proxy=")
	out, err := cmd.Output()
	return string(out), err
}

// curl takes web pages through every kind of our proxy, plain and tunnelled,
// with each kind of password.
func TestCurl(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "curl", "curl")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "%s %d", r.Method, n)
	}))
	defer web.Close()
	localhost := strings.Replace(web.URL, "127.0.0.1", "localhost", 1)
	file := testkit.TempFile(t, testkit.Noise(3<<20))
	open := run(t, HTTP, new(Server))
	closed := run(t, HTTP, &Server{User: "me", Password: "a:b c"})
	socks := run(t, SOCKS5, new(Server))
	closedSOCKS := run(t, SOCKS5, &Server{User: "me", Password: "a:b c"})
	for _, test := range []struct {
		options []string
		want    string // empty: an error
	}{
		{[]string{"-x", "http://" + open.addr}, "GET 0"},
		{[]string{"-x", "http://" + open.addr, "-p"}, "GET 0"},
		{[]string{"-x", "http://" + open.addr, "--data-binary", "@" + file}, "POST 3145728"}, // with Expect: 100-continue
		{[]string{"-x", "http://" + open.addr, "-H", "Transfer-Encoding: chunked", "--data-binary", "@" + file}, "POST 3145728"},
		{[]string{"-x", "http://" + open.addr, "-p", "--data-binary", "@" + file}, "POST 3145728"},
		{[]string{"-x", "http://" + open.addr, "-0"}, "GET 0"},
		{[]string{"-x", "http://" + open.addr, web.URL + "/again"}, "GET 0GET 0"},
		{[]string{"-x", "http://" + closed.addr, "-U", "me:a:b c"}, "GET 0"},
		{[]string{"-x", "http://" + closed.addr, "-U", "me:a:b c", "--proxy-digest"}, "GET 0"},
		{[]string{"-x", "http://" + closed.addr, "-U", "me:a:b c", "--proxy-digest", "-p"}, "GET 0"},
		{[]string{"-x", "http://" + closed.addr, "-U", "me:a:b c", "--proxy-anyauth", "--data-binary", "@" + file}, "POST 3145728"},
		{[]string{"-x", "http://" + closed.addr, "-U", "me:x", "-p"}, ""},
		{[]string{"-x", "http://" + closed.addr, "-p"}, ""},
		{[]string{"-x", "socks5h://" + socks.addr}, "GET 0"},
		{[]string{"-x", "socks5://" + socks.addr, "--data-binary", "@" + file}, "POST 3145728"},
		{[]string{"-x", "socks5h://" + closedSOCKS.addr, "-U", "me:a:b c"}, "GET 0"},
		{[]string{"-x", "socks5h://" + closedSOCKS.addr, "-U", "me:x"}, ""},
		{[]string{"-x", "socks5h://" + closedSOCKS.addr}, ""},
		{[]string{"-x", "socks4://" + socks.addr}, ""},
	} {
		out, err := ask(t, "", append(append([]string{"curl", "-sS", "--noproxy", ""}, test.options...), localhost)...)
		if out != test.want || err != nil != (test.want == "") {
			t.Errorf("curl %q: %q, %v", test.options, out, err)
		}
	}
}

// Other netcats come through our proxy, and a late answer comes back.
func TestNetcats(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "ncat", "ncat")
	testkit.Program(t, "nc.openbsd", "netcat-openbsd")
	testkit.Program(t, "socat", "socat")
	release := make(chan struct{})
	close(release)
	host, number := lateTarget(t, release)
	port := strconv.Itoa(number)
	web, socks := run(t, HTTP, new(Server)), run(t, SOCKS5, new(Server))
	closed, closedSOCKS := run(t, HTTP, &Server{User: "me", Password: "pw"}), run(t, SOCKS5, &Server{User: "me", Password: "pw"})
	proxyHost, webPort, _ := splitTarget(web.addr)
	for _, line := range [][]string{
		{"nc.openbsd", "-N", "-X", "5", "-x", socks.addr, host, port},
		{"nc.openbsd", "-N", "-X", "connect", "-x", web.addr, host, port},
		{"ncat", "--proxy-type", "socks5", "--proxy", socks.addr, host, port},
		{"ncat", "--proxy-type", "socks5", "--proxy", closedSOCKS.addr, "--proxy-auth", "me:pw", host, port},
		{"ncat", "--proxy-type", "http", "--proxy", web.addr, host, port},
		{"ncat", "--proxy-type", "http", "--proxy", closed.addr, "--proxy-auth", "me:pw", host, port},
		{"socat", "-t10", "-", fmt.Sprintf("PROXY:%s:%s:%s,proxyport=%d", proxyHost, host, port, webPort)},
		{"socat", "-t10", "-", fmt.Sprintf("PROXY:%s:%s:%s,proxyauth=me:pw,proxyport=%s", proxyHost, host, port, closed.addr[strings.Index(closed.addr, ":")+1:])},
	} {
		if out, err := ask(t, "x", line...); out != "late answer to x" || err != nil {
			t.Errorf("%q: %q, %v", line, out, err)
		}
	}
}
