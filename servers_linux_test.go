package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// Servers to which a half-close is an abort, and others. Each is a child of the
// test with a configuration of its own.

// serve starts a server and waits until its port is open.
func serve(t testing.TB, port, program string, args ...string) *process {
	t.Helper()
	p := start(t, opts{dir: t.TempDir()}, program, args...)
	testkit.Eventually(t, program+" listens on "+port, func() bool {
		p.runs()
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return p
}

// question starts purr with a question for a server on stdin.
func question(t testing.TB, port, text string, args ...string) *process {
	t.Helper()
	return startPurr(t, opts{stdin: strings.NewReader(text)}, append(args, "127.0.0.1", port)...)
}

// promptly runs a test whose server has to begin its answer within 100 ms.
func promptly(t *testing.T, test func(t testing.TB)) {
	t.Helper()
	testkit.Fairly(t, 20*time.Millisecond, test)
}

// slowUpstream serves /slow after a pause, /events as a stream with one, and
// anything else at once.
func slowUpstream(t testing.TB) (addr string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(700 * time.Millisecond)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: one\n\n")
			w.(http.Flusher).Flush()
			select {
			case <-time.After(2 * time.Second):
			case <-r.Context().Done(): // the proxy has given the request up
				return
			}
		}
		fmt.Fprint(w, "the page\n")
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// nginx drops its answer at a half-close, whether it comes from an upstream or
// from a file.
func TestNginx(t *testing.T) {
	t.Parallel()
	nginx := testkit.Program(t, "nginx", "nginx-light")
	dir, port := t.TempDir(), freePort(t, "tcp")
	static := strings.Repeat(testkit.Noise(10<<20), 5)
	testkit.WriteFile(t, filepath.Join(dir, "www/big"), static)
	testkit.WriteFile(t, filepath.Join(dir, "conf"), `daemon off; master_process off; pid pid; error_log stderr;
		events {} http { access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
		keepalive_timeout 75s; server { listen 127.0.0.1:`+port+`; root www;
		location /up/ { proxy_pass http://`+slowUpstream(t)+`/; proxy_buffering off; } } }`)
	serve(t, port, nginx, "-e", "stderr", "-p", dir, "-c", "conf")
	for _, test := range []struct {
		name, request string
		args          []string
		body          string
		silent        bool // whether the line about a silence is due
	}{
		{"proxied", "GET /up/slow HTTP/1.0\n\n", []string{"-C"}, "the page\n", false},
		{"proxied, 1.1", "GET /up/slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", nil, "the page\n", false},
		{"events with a pause", "GET /up/events HTTP/1.0\r\n\r\n", nil, "data: one\n\nthe page\n", false},
		{"static", "GET /big HTTP/1.0\n\n", []string{"-C"}, static, false},
		{"static, -q", "GET /big HTTP/1.0\r\n\r\n", []string{"-q", "20"}, static, false},
		{"keep-alive", "GET /up/slow HTTP/1.1\r\nHost: h\r\n\r\n", nil, "the page\n", true},
		{"two requests", "GET /up/slow HTTP/1.1\r\nHost: h\r\n\r\nGET /up/slow HTTP/1.0\r\n\r\n", nil, "\r\n\r\nthe page\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := question(t, port, test.request, test.args...)
			p.ends(0)
			if got := p.out.String(); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, test.body) {
				t.Errorf("got %s, %d bytes; want the end %s", testkit.Brief(got), len(got), testkit.Brief(test.body))
			}
			if test.silent {
				p.complains("silent for 5 s", toldSoFar)
			} else {
				p.quiet()
			}
		})
	}
}

// redis drops what it has not sent at a half-close; an answer that begins late
// needs -q.
func TestRedis(t *testing.T) {
	t.Parallel()
	redis, port := testkit.Program(t, "redis-server", "redis-server"), freePort(t, "tcp")
	serve(t, port, redis, "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir())
	const size = 16 << 20 // redis copies it first: much more is no answer within 100 ms on a busy machine
	set := question(t, port, fmt.Sprintf("SETRANGE big %d x\r\nQUIT\r\n", size-1), "--no-shutdown")
	set.ends(0)
	set.printed(fmt.Sprintf(":%d\r\n+OK\r\n", size))
	t.Run("a large answer", func(t *testing.T) {
		t.Parallel()
		promptly(t, func(t testing.TB) {
			p := question(t, port, "GET big\r\n")
			p.ends(0)
			p.quiet()
			if got := p.out.String(); len(got) != len("$16777216\r\n")+size+2 || !strings.HasSuffix(got, "\x00x\r\n") {
				t.Errorf("got %d bytes", len(got))
			}
		})
	})
	t.Run("a late answer, -q", func(t *testing.T) {
		t.Parallel()
		p := question(t, port, "BLPOP list 9\r\n", "-q", "3")
		time.Sleep(600 * time.Millisecond)
		question(t, port, "RPUSH list value\r\n", "-N").ends(0)
		p.ends(0)
		p.printed("*2\r\n$4\r\nlist\r\n$5\r\nvalue\r\n")
		p.quiet()
	})
}

func TestMemcached(t *testing.T) {
	t.Parallel()
	memcached, port := testkit.Program(t, "memcached", "memcached"), freePort(t, "tcp")
	serve(t, port, memcached, "-u", "root", "-U", "0", "-l", "127.0.0.1", "-p", port)
	value := strings.Repeat("value", 100_000)
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	writeAll(t, c, fmt.Sprintf("set key 0 0 %d\r\n%s\r\n", len(value), value))
	testkit.ReadN(t, c, len("STORED\r\n"))
	want := fmt.Sprintf("VALUE key 0 %d\r\n%s\r\nEND\r\nSTAT ", len(value), value)
	promptly(t, func(t testing.TB) {
		p := question(t, port, "get key\nstats\n", "-C")
		p.ends(0)
		p.quiet()
		if got := p.out.String(); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "END\r\n") {
			t.Errorf("got %s", testkit.Brief(got))
		}
	})
}

// The statistics of haproxy come over a Unix socket.
func TestHaproxy(t *testing.T) {
	t.Parallel()
	haproxy := testkit.Program(t, "haproxy", "haproxy")
	path := filepath.Join(testkit.SocketDir(t), "s")
	config := testkit.TempFile(t, "global\n stats socket "+path+"\n maxconn 10\ndefaults\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"+
		"frontend f\n mode tcp\n bind unix@"+path+"f\n")
	start(t, opts{}, haproxy, "-db", "-f", config)
	testkit.Eventually(t, "haproxy listens", func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	promptly(t, func(t testing.TB) {
		p := startPurr(t, opts{stdin: strings.NewReader("show stat\n")}, "-U", path)
		p.ends(0)
		p.quiet()
		if got := p.out.String(); !strings.HasPrefix(got, "# pxname,") || !strings.Contains(got, "\nf,FRONTEND,") {
			t.Errorf("got %s", testkit.Brief(got))
		}
	})
}

// A server that greets first sends all of it to a dialer without input, and
// receives nothing before.
func TestGreetings(t *testing.T) {
	t.Parallel()
	t.Run("sshd", func(t *testing.T) {
		t.Parallel()
		rootOnly(t)
		sshd := testkit.Program(t, "sshd", "openssh-server")
		dir, port := t.TempDir(), freePort(t, "tcp")
		key := filepath.Join(dir, "key")
		start(t, opts{}, testkit.Program(t, "ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", key).ends(0)
		// Its directory for privilege separation has a fixed place.
		serve(t, port, "/usr/bin/unshare", "-m", "sh", "-c", `mount -t tmpfs none /run && mkdir /run/sshd && exec "$@"`, "sh",
			sshd, "-D", "-e", "-f", "/dev/null", "-h", key, "-o", "ListenAddress=127.0.0.1", "-o", "Port="+port)
		p := startPurr(t, opts{}, "-w", "2", "127.0.0.1", port)
		p.ends(0)
		p.quiet()
		if got := p.out.String(); !strings.HasPrefix(got, "SSH-2.0-OpenSSH") || !strings.HasSuffix(got, "\r\n") {
			t.Errorf("got %q", got)
		}
		if p.took < 2*time.Second { // sshd ends at the end of its client
			t.Errorf("it was over after %v", p.took)
		}
	})
	t.Run("late", func(t *testing.T) { // as sendmail does while it looks its client up
		t.Parallel()
		ln := listenTest(t)
		p := startPurr(t, opts{}, "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		silent(t, c, 2*time.Second)
		writeAll(t, c, "220 hello\r\n")
		silent(t, c, 300*time.Millisecond)
		_ = c.Close()
		p.ends(0)
		p.printed("220 hello\r\n")
		p.quiet()
	})
	t.Run("a server that waits for a packet", func(t *testing.T) { // as PostgreSQL does
		t.Parallel()
		ln := listenTest(t)
		p := startPurr(t, opts{}, "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		silent(t, c, 4*time.Second)
		testkit.ReadAll(t, c)
		_ = c.Close()
		p.ends(0)
		p.printed("")
		p.complains("silent for 5 s", toldSoFar)
	})
}

// A whole SMTP dialogue at once is answered line by line.
func TestSMTP(t *testing.T) {
	t.Parallel()
	python, port := testkit.Program(t, "python3", "python3"), freePort(t, "tcp")
	server := serve(t, port, python, "-W", "ignore", "-u", "-m", "smtpd", "-n", "-c", "DebuggingServer", "127.0.0.1:"+port)
	promptly(t, func(t testing.TB) {
		p := question(t, port, "HELO h\nMAIL FROM:<a@h>\nRCPT TO:<b@h>\nDATA\nSubject: a test\n\nthe body\n.\nQUIT\n", "-C")
		p.ends(0)
		p.quiet()
		var codes []string
		for line := range strings.Lines(p.out.String()) {
			codes = append(codes, line[:3])
		}
		if got := strings.Join(codes, " "); got != "220 250 250 250 354 250 221" {
			t.Errorf("the answers are %s: %q", got, p.out.String())
		}
	})
	server.waitOut("the body")
}

// An answer by hand is over for the client, with and without a length.
func TestAnswerByHand(t *testing.T) {
	t.Parallel()
	curl := testkit.Program(t, "curl", "curl")
	for _, answer := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.0 200 OK\r\n\r\nhello"} {
		for _, flags := range []string{"-l", "-l -k"} {
			t.Run(flags+" "+answer[:8], func(t *testing.T) {
				t.Parallel()
				server := startPurr(t, opts{stdin: strings.NewReader(answer)}, append(words(flags), "127.0.0.1", "0")...)
				client := start(t, opts{}, curl, "-sS", "--max-time", "20", "http://"+server.addr()+"/")
				client.ends(0)
				client.printed("hello")
				if flags == "-l" {
					server.ends(0)
				}
				server.waitOut("^GET / HTTP/1.1\r\n")
			})
		}
	}
}

// Go's own server, which drops nothing but cancels the request's context at
// the end of its client: over TCP and a Unix socket.
func TestCancelledRequest(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				select {
				case <-r.Context().Done():
					fmt.Fprint(w, "cancelled")
				case <-time.After(700 * time.Millisecond):
					fmt.Fprint(w, "the answer")
				}
			})
			address, args := "127.0.0.1:0", []string(nil)
			if network == "unix" {
				address = filepath.Join(testkit.SocketDir(t), "s")
				args = []string{"-U", address}
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: handler}
			go func() { _ = server.Serve(ln) }()
			defer server.Close()
			if args == nil {
				args = strings.Split(ln.Addr().String(), ":")
			}
			body := testkit.Noise(200 << 10) // a request of more than 64 KiB is one all the same
			request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			p := startPurr(t, opts{stdin: strings.NewReader(request)}, args...)
			p.ends(0)
			p.quiet()
			if got := p.out.String(); !strings.HasSuffix(got, "the answer") {
				t.Errorf("got %q", got)
			}
		})
	}
}
