package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/sock"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// TLS with certificates, with peers of every make.

// A testCA issues certificates. Its own is in the file ca.
type testCA struct {
	t    testing.TB
	dir  string
	ca   string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newTestCA(t testing.TB) *testCA {
	t.Helper()
	a := &testCA{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue(x509.Certificate{Subject: pkix.Name{CommonName: "ours"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.ca = a.write("ca", a.cert, nil)
	return a
}

// issue makes a certificate for localhost, unless template has another name.
func (a *testCA) issue(template x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<60))
	template.NotBefore = time.Now().Add(-48 * time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = &template, key
	} else if template.DNSNames == nil {
		template.DNSNames, template.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// write writes a certificate, and its key if there is one, and returns the
// path.
func (a *testCA) write(name string, cert *x509.Certificate, key *ecdsa.PrivateKey) string {
	a.t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			a.t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	path := filepath.Join(a.dir, name+".pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// file issues a certificate and returns the path of its file.
func (a *testCA) file(name string, template x509.Certificate) string {
	cert, key := a.issue(template)
	return a.write(name, cert, key)
}

// pinOf returns the pin of the certificate in a file.
func pinOf(t testing.TB, path string) string {
	t.Helper()
	cert, err := tlsconn.LoadCert(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return tlsconn.PinOf(cert.Leaf).String()
}

// openssl starts "openssl s_server" on a free port.
func openssl(t testing.TB, cert string, more ...string) (p *process, port string) {
	t.Helper()
	testkit.Program(t, "openssl", "openssl")
	port = freePort(t, "tcp")
	p = start(t, opts{openStdin: true}, "openssl", append([]string{"s_server", "-quiet", "-accept", "127.0.0.1:" + port, "-cert", cert, "-key", cert}, more...)...)
	awaitPort(t, "tcp", port)
	return p, port
}

// A certificate, or a protocol, that is not accepted: the status, one line with
// what is wrong and how to go on, and no byte of the payload at the other end.
func TestTLSRefused(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	good := a.file("good", x509.Certificate{})
	expired := a.file("expired", x509.Certificate{NotAfter: time.Now().Add(-time.Hour)})
	other := a.file("other", x509.Certificate{DNSNames: []string{"other.example", "more.example"}})
	stranger := newTestCA(t).file("stranger", x509.Certificate{})
	verify := []string{"-Verify", "1", "-verify_return_error", "-CAfile", a.ca}
	trust := []string{"--ssl-trustfile", a.ca}
	for _, test := range []struct {
		name   string
		cert   string
		server []string
		args   []string
		status int
		says   []string
	}{
		{"accepted", good, nil, trust, 0, nil},
		{"pinned, whatever its date", expired, nil, []string{"--pin", pinOf(t, expired)}, 0, nil},
		{"by another name", other, nil, append(trust, "--ssl-servername", "more.example"), 0, nil},
		{"shown a certificate", good, verify, append(trust, "--ssl-cert", good), 0, nil},
		{"expired", expired, nil, trust, 7, []string{"not valid now", "localhost, 127.0.0.1", pinOf(t, expired), "--pin"}},
		{"wrong name", other, nil, trust, 7, []string{"not for localhost", "other.example, more.example", pinOf(t, other), "--ssl-servername"}},
		{"wrong authority", stranger, nil, trust, 7, []string{"authority that is not trusted", pinOf(t, stranger), "--ssl-trustfile", "--pin"}},
		{"system's authorities", good, nil, []string{"--ssl"}, 7, []string{"authority that is not trusted", "--ssl-trustfile"}},
		{"another pin", good, nil, []string{"--pin", pinOf(t, other)}, 7, []string{"another key than the pinned one", pinOf(t, good)}},
		{"no client certificate, TLS 1.3", good, verify, trust, 7, []string{"does not accept our certificate", "--ssl-cert"}},
		{"no client certificate, TLS 1.2", good, append(verify, "-tls1_2"), trust, 7, []string{"does not accept our certificate", "--ssl-cert"}},
		{"wrong client certificate", good, verify, append(trust, "--ssl-cert", stranger), 7, []string{"does not accept our certificate"}},
		{"TLS 1.1", good, []string{"-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"}, trust, 6, []string{"no agreement on TLS 1.2 or later"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, port := openssl(t, test.cert, test.server...)
			p := startPurr(t, opts{stdin: strings.NewReader("payload\n")}, append(test.args, "-N", "localhost", port)...)
			if test.status == 0 {
				server.waitOut("payload\n")
				server.kill() // it does not end by itself
				p.status()
				return
			}
			p.ends(test.status)
			p.complains(test.says...)
			p.printed("")
			server.kill()
			if got := server.out.String(); strings.Contains(got, "payload") {
				t.Errorf("the server got %q", got)
			}
		})
	}
}

// Clear text at the other end is status 6, and leaves nothing there.
func TestTLSClearText(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	p := startPurr(t, opts{stdin: strings.NewReader("payload\n")}, "--ssl", "localhost", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	writeAll(t, c, "220 ready\r\n")
	p.ends(6)
	p.complains("does not speak TLS", "no payload was sent", "leave --ssl out")
	if got, _ := io.ReadAll(c); strings.Contains(string(got), "payload") {
		t.Errorf("it got %q", got)
	}
	l := startPurr(t, opts{}, "-l", "--ssl", "--accept-timeout", "30", "127.0.0.1", "0")
	clear := dialTest(t, "tcp", l.addr())
	writeAll(t, clear, "hello\n")
	if got, _ := io.ReadAll(clear); string(got) != "purr: this port expects TLS\n" {
		t.Errorf("the client got %q", got)
	}
	l.waitErr(regexp.MustCompile(`sends clear text and we expect TLS: nothing of it was taken`))
	l.runs()
	l.hasPrinted("")
}

// hasPrinted checks the stdout of a process that runs.
func (p *process) hasPrinted(want string) {
	p.t.Helper()
	if got := p.out.String(); got != want {
		p.t.Errorf("%s: stdout is %q, want %q", p.name, got, want)
	}
}

var newCertLine = pattern(`(?m)^purr: a new certificate, made for this run; at the other end say: purr (--ssl --pin sha256:\S+ .*)$`)

// A listener makes a certificate and prints the other end's command, which
// works; a client without it, or one that sends nothing, is in no one's way.
func TestTLSListener(t *testing.T) {
	t.Parallel()
	l := startPurr(t, opts{stdin: strings.NewReader("answer\n")}, "-l", "--ssl", "127.0.0.1", "0")
	command := words(l.waitErr(newCertLine())[1])
	silent := dialTest(t, "tcp", l.addr())
	stranger := startPurr(t, opts{stdin: strings.NewReader("question\n")}, "--ssl", "127.0.0.1", l.port())
	stranger.ends(7)
	stranger.complains("is signed by itself", command[2])
	d := startPurr(t, opts{stdin: strings.NewReader("question\n")}, command...)
	d.ends(0)
	d.printed("answer\n")
	d.quiet()
	l.ends(0)
	l.printed("question\n")
	_ = silent.Close()
}

// A listener with its own certificate demands those of clients.
func TestTLSClientCA(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	own, client := a.file("own", x509.Certificate{}), a.file("client", x509.Certificate{DNSNames: []string{"client"}})
	wrong := newTestCA(t).file("wrong", x509.Certificate{})
	l := startPurr(t, opts{}, "-l", "--ssl-cert", own, "--ssl-client-ca", a.ca, "127.0.0.1", "0")
	dial := func(more ...string) *process {
		args := append([]string{"--ssl-trustfile", a.ca}, more...)
		return startPurr(t, opts{stdin: strings.NewReader("hello\n")}, append(args, "127.0.0.1", l.port())...)
	}
	without := dial()
	without.ends(7)
	without.complains("does not accept our certificate", "--ssl-cert")
	l.waitErr(regexp.MustCompile(`its certificate is not accepted: there is none: the client has to show one`))
	dial("--ssl-cert", wrong).ends(7)
	l.waitErr(regexp.MustCompile(`its certificate is not accepted: it is issued by an authority that is not trusted`))
	dial("--ssl-cert", client).ends(0)
	l.ends(0)
	l.printed("hello\n")
}

// tlsPeer accepts purr's connection with the version of TLS.
func tlsPeer(t testing.TB, a *testCA, ln *net.TCPListener, version uint16) (*tls.Conn, *net.TCPConn) {
	t.Helper()
	cert, key := a.issue(x509.Certificate{})
	own := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	socket := acceptTest(t, ln)
	return tls.Server(socket, &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: version, MaxVersion: version}), socket
}

// What came before a cut is passed on, and the status is 1; an orderly end is
// 0.
func TestTLSCut(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, cut := range []bool{true, false} {
			ln := listenTest(t)
			p := startPurr(t, opts{}, "--ssl-trustfile", a.ca, "127.0.0.1", portOf(t, ln.Addr()))
			c, socket := tlsPeer(t, a, ln, version)
			writeAll(t, c, "some of it")
			if cut {
				_ = socket.CloseWrite()
				p.ends(1)
				p.complains("receive from", "cut")
			} else {
				_ = c.CloseWrite()
				p.ends(0)
				p.quiet()
			}
			p.printed("some of it")
		}
	}
	into := filepath.Join(t.TempDir(), "new")
	ln := listenTest(t)
	p := startPurr(t, opts{}, "--ssl-trustfile", a.ca, "--recv-file", into, "127.0.0.1", portOf(t, ln.Addr()))
	c, socket := tlsPeer(t, a, ln, tls.VersionTLS13)
	writeAll(t, c, "some of it")
	_ = socket.CloseWrite()
	p.ends(1)
	testkit.Absent(t, into)
}

// 200 handshakes, of which every other never finishes, leave nothing behind.
func TestTLSManyHandshakes(t *testing.T) {
	t.Parallel()
	l := startPurr(t, opts{}, "-l", "-k", "--ssl", "--echo", "127.0.0.1", "0")
	addr := l.addr()
	before := socketsOf(t, l)
	var halves []net.Conn
	for i := range 100 {
		half := dialTest(t, "tcp", addr)
		halves = append(halves, half)
		if i%2 == 0 {
			writeAll(t, half, "\x16\x03\x01")
		}
		whole := tls.Client(dialTest(t, "tcp", addr), &tls.Config{InsecureSkipVerify: true})
		writeAll(t, whole, "hello")
		if got := testkit.ReadN(t, whole, 5); got != "hello" {
			t.Errorf("client %d: %q", i, got)
		}
		_ = whole.Close()
	}
	for _, half := range halves {
		_ = half.Close()
	}
	testkit.Eventually(t, "no client's descriptor is left", func() bool { return socketsOf(t, l) == before })
}

// The end of stdin is close_notify and no FIN, at the times of a half-close. At
// TLS 1.2 there is none before the peer's, except with -N.
func TestTLSHalfClose(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	for _, test := range []struct {
		version uint16
		args    string
		first   bool // whether our end comes before the answer
	}{
		{tls.VersionTLS13, "", false}, // once the answer has paused
		{tls.VersionTLS13, "-N", true},
		{tls.VersionTLS12, "-N", true},
		{tls.VersionTLS12, "", false},
		{tls.VersionTLS12, "-q -1", false},
	} {
		t.Run(tls.VersionName(test.version)+" "+test.args, func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			args := append([]string{"--ssl-trustfile", a.ca}, words(test.args)...)
			p := startPurr(t, opts{stdin: strings.NewReader("question\n")}, append(args, "127.0.0.1", portOf(t, ln.Addr()))...)
			c, socket := tlsPeer(t, a, ln, test.version)
			if got := testkit.ReadN(t, c, 9); got != "question\n" {
				t.Errorf("read %q", got)
			}
			if test.first {
				if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
					t.Errorf("after the question %q, %v", rest, err)
				}
				if sock.PeerClosed(socket) {
					t.Error("there is a FIN, too")
				}
			}
			writeAll(t, c, "answer\n")
			p.waitOut("answer\n")
			if test.version == tls.VersionTLS12 && !test.first {
				// Three times the longest pause of the rule.
				_ = c.SetReadDeadline(time.Now().Add(750 * time.Millisecond))
				if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("before the peer's end %d, %v", n, err)
				}
			} else if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
				t.Errorf("after the answer %q, %v", rest, err)
			}
			_ = c.CloseWrite()
			_ = socket.CloseWrite()
			p.ends(0)
			p.printed("answer\n")
			p.quiet()
		})
	}
}

// Clients of other makes, and what purr makes of the end of each: Ncat sends no
// close_notify, and so its bytes may not be all.
func TestTLSClients(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	own := a.file("own", x509.Certificate{})
	for _, program := range []string{"openssl", "ncat", "socat"} {
		testkit.Program(t, program, program)
	}
	for line, status := range map[string]int{
		"echo hello | ncat --ssl-verify --ssl-trustfile $CA localhost $PORT":                                                               0,
		"echo hello | socat -t5 - OPENSSL:localhost:$PORT,cafile=$CA,pf=ip4":                                                               0,
		"(echo hello; sleep 0.3) | openssl s_client -quiet -no_ign_eof -verify_return_error -CAfile $CA -connect 127.0.0.1:$PORT 2>&1":     0,
		"echo hello | openssl s_client -quiet -no_ign_eof -tls1_1 -cipher DEFAULT:@SECLEVEL=0 -connect 127.0.0.1:$PORT >/dev/null 2>&1; :": -1,
	} {
		l := startPurr(t, opts{}, "-l", "--ssl-cert", own, "127.0.0.1", "0")
		c := shell(t, opts{env: []string{"CA=" + a.ca, "PORT=" + l.port()}}, line)
		if status < 0 {
			l.waitErr(regexp.MustCompile("no agreement on TLS 1.2 or later"))
			c.ends(0)
			l.runs()
			l.hasPrinted("")
			continue
		}
		l.waitOut("hello\n")
		got := l.status()
		if cut := strings.Contains(l.err.String(), "cut"); (got != 0) != cut || got != 0 && !strings.Contains(line, "ncat") {
			t.Errorf("%s: status %d%s", line, got, l.heard())
		}
		c.status()
	}
}

// The system's authorities are read before the rights to read them are given
// up.
func TestTLSConfined(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	for _, mode := range []string{"--send-only", "-z"} {
		server, port := openssl(t, a.file("own", x509.Certificate{}))
		p := startPurr(t, opts{env: []string{"SSL_CERT_FILE=" + a.ca, "SSL_CERT_DIR=/nowhere"}}, mode, "--ssl", "localhost", port)
		p.ends(0)
		server.kill()
	}
}

// -z --ssl: the status is that of the handshake, and with several ports one
// good one is enough, unless --all is given.
func TestTLSCheck(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	_, good := openssl(t, a.file("own", x509.Certificate{}))
	_, expired := openssl(t, a.file("expired", x509.Certificate{NotAfter: time.Now().Add(-time.Hour)}))
	closed, deaf := closedPorts(t, 1)[0], deafPort(t)
	plain := listenTest(t)
	go func() {
		for {
			c, err := plain.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "220 ready\r\n")
			_ = c.Close()
		}
	}()
	clear := portOf(t, plain.Addr())
	for _, test := range []struct {
		args   string
		status int
		says   string // "": nothing
	}{
		{good, 0, ""},
		{expired, 7, "not valid now"},
		{clear, 6, "does not speak TLS"},
		{closed, 1, ""},
		{"-v " + closed, 1, "refused"},
		{"-v -w 0.5 " + deaf, 3, "timed out"},
		{good + " " + closed, 0, ""},
		{"--all " + good + " " + closed, 1, ""},
		{"--all " + good + " " + expired, 7, "not valid now"},
		{"--wait-for 30 " + good, 0, ""},
	} {
		fields := words(test.args)
		ports := len(fields)
		for ports > 0 && strings.Trim(fields[ports-1], "0123456789") == "" && fields[ports-1] != "30" {
			ports--
		}
		args := append([]string{"-z", "--ssl-trustfile", a.ca}, fields[:ports]...)
		p := startPurr(t, opts{}, append(append(args, "localhost"), fields[ports:]...)...)
		p.ends(test.status)
		p.printed("")
		if said := p.err.String(); (test.says == "") != (said == "") || !strings.Contains(said, test.says) {
			t.Errorf("-z %s: said %q, want %q", test.args, said, test.says)
		}
	}
	through := startPurr(t, opts{}, "-l", "--proxy-type", "http", "127.0.0.1", "0")
	for port, status := range map[string]int{good: 0, expired: 7, closed: 1} {
		startPurr(t, opts{}, "-z", "--ssl-trustfile", a.ca, "--proxy", through.addr(), "localhost", port).ends(status)
	}
}

// Listeners of --push and --pull speak HTTPS: with curl, and with purrs, which
// use further connections; the page names the issuer of the certificate.
func TestTLSFiles(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "curl", "curl")
	a := newTestCA(t)
	own := a.file("own", x509.Certificate{})
	file := named(t, "file.txt", "content\n")
	curl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("curl", append([]string{"-sS", "--max-time", "30"}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("curl %v: %v: %s", args, err, out)
		}
		return string(out)
	}

	into := t.TempDir()
	l := startPurr(t, opts{}, "--pull", "-l", "-k", "--ssl-cert", own, "127.0.0.1", "0", into)
	url := "https://localhost:" + l.port() + "/"
	if page := curl("--cacert", a.ca, "-H", "Accept: text/html", url); !strings.Contains(page, "The connection is encrypted, with a certificate for localhost that was issued by CN=ours.") ||
		!strings.Contains(page, "curl --fail-with-body -T FILE https://localhost:") || !strings.Contains(page, "purr --ssl --push localhost ") {
		t.Errorf("the page is %s", page)
	}
	curl("--cacert", a.ca, "-T", file, url)
	testkit.HasContent(t, filepath.Join(into, "file.txt"), "content\n")
	if got, err := exec.Command("curl", "-sS", "-T", file, url).CombinedOutput(); err == nil {
		t.Errorf("curl trusts it: %s", got)
	}
	if got, _ := exec.Command("curl", "-sS", "http://localhost:"+l.port()+"/").CombinedOutput(); !strings.Contains(string(got), "say https://") {
		t.Errorf("clear text gets %q", got)
	}
	other := named(t, "other.txt", testkit.Noise(3_000_000))
	p := startPurr(t, opts{}, "--push", "--ssl-trustfile", a.ca, "localhost", l.port(), other)
	p.ends(0)
	testkit.HasContent(t, filepath.Join(into, "other.txt"), testkit.Noise(3_000_000))
	p = startPurr(t, opts{}, "--push", "--ssl", "localhost", l.port(), file)
	p.ends(7)
	p.complains("authority that is not trusted")
	p = startPurr(t, opts{}, "--push", "localhost", l.port(), file)
	p.ends(6)
	p.complains("this port expects TLS", "--ssl")

	s := startPurr(t, opts{}, "--push", "-l", "--ssl", "-k", "127.0.0.1", "0", file)
	command := words(s.waitErr(newCertLine())[1])
	pin := "sha256//" + strings.TrimPrefix(command[2], "sha256:")
	url = "https://localhost:" + s.port() + "/"
	if page := curl("-k", "--pinnedpubkey", pin, "-H", "Accept: text/html", url); !strings.Contains(page, "made itself") || !strings.Contains(page, "curl -k --pinnedpubkey "+pin+" -fOJ ") {
		t.Errorf("the page is %s", page)
	}
	if got := curl("-k", "--pinnedpubkey", pin, url+"file.txt"); got != "content\n" {
		t.Errorf("curl got %q", got)
	}
	into = t.TempDir()
	startPurr(t, opts{}, append(command, into)...).ends(0)
	testkit.HasContent(t, filepath.Join(into, "file.txt"), "content\n")
}

// Every mode of a conversation runs over --ssl.
func TestTLSModes(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(300_000)
	file := named(t, "file", content)
	into := filepath.Join(t.TempDir(), "new")
	l := startPurr(t, opts{}, "-l", "--ssl", "--recv-file", into, "127.0.0.1", "0")
	command := words(l.waitErr(newCertLine())[1])
	p := startPurr(t, opts{}, append([]string{"--send-file", file}, command...)...)
	p.ends(0)
	l.ends(0)
	testkit.HasContent(t, into, content)

	path := filepath.Join(t.TempDir(), "socket")
	l = startPurr(t, opts{}, "-l", "--ssl", "-U", path)
	command = words(l.waitErr(newCertLine())[1])
	startPurr(t, opts{stdin: strings.NewReader("hello\n")}, command...).ends(0)
	l.ends(0)
	l.printed("hello\n")

	e := startPurr(t, opts{}, "-l", "-k", "--ssl", "--echo", "--upper", "127.0.0.1", "0")
	command = words(e.waitErr(newCertLine())[1])
	for range 3 {
		p := startPurr(t, opts{stdin: strings.NewReader("hello\n")}, command...)
		p.ends(0)
		p.printed("HELLO\n")
	}
	e.runs()
}

// --ssl-insecure is one line, and --ssl-alpn is agreed on.
func TestTLSInsecure(t *testing.T) {
	t.Parallel()
	l := startPurr(t, opts{}, "-l", "-v", "--ssl", "--ssl-alpn", "b,a", "127.0.0.1", "0")
	d := startPurr(t, opts{stdin: strings.NewReader("hello\n")}, "--ssl-insecure", "--ssl-alpn", "a", "127.0.0.1", l.port())
	d.ends(0)
	d.complains("the certificate is not checked (--ssl-insecure)", "localhost", "its pin is sha256:")
	l.ends(0)
	l.printed("hello\n")
	if !strings.Contains(l.err.String(), "the protocol is a") {
		t.Errorf("said %s", l.err)
	}
}

// Every wrong command line about TLS: status 2, and what to say instead.
func TestTLSUsage(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	own := a.file("own", x509.Certificate{})
	pin := pinOf(t, own)
	for args, want := range map[string]string{
		"--ssl -u h 80":                                       "DTLS is not supported",
		"--ssl --key-new -l 80":                               "options --ssl and --key-file or --key-new exclude each other",
		"--ssl --wait-for 1 h 80 -- true":                     "say -z --ssl to wait for a handshake",
		"--ssl-key " + own + " h 80":                          "option --ssl-key needs --ssl-cert: the key belongs to a certificate",
		"--ssl-client-ca " + a.ca + " h 80":                   "option --ssl-client-ca needs -l",
		"-l --ssl-trustfile " + a.ca + " 80":                  "say --ssl-client-ca FILE",
		"-l --ssl-verify 80":                                  "say --ssl-client-ca FILE",
		"--ssl-insecure --pin " + pin + " h 80":               "one accepts any certificate",
		"--pin " + pin + " --ssl-trustfile " + a.ca + " h 80": "a pin replaces authorities and names",
		"--pin x h 80":                                        `option --pin: "x" is no sha256:BASE64 of 32 bytes`,
		"--ssl -U path":                                       "no certificate is for a path",
		"--ssl -z --banner h 80":                              "one port after the other",
		"--ssl -z 10.0.0.0/24 80":                             "options -z --ssl take one host, and 10.0.0.0/24 is a range",
		"--ssl -z @hosts 80":                                  "options -z --ssl take one host",
		"--ssl-cert /nowhere -l 80":                           "option --ssl-cert: open /nowhere: no such file",
		"--ssl-cert " + a.ca + " -l 80":                       "there is no private key in PEM",
		"--ssl-trustfile go.mod h 80":                         "option --ssl-trustfile: go.mod: there is no certificate in PEM",
		"-l --ssl-client-ca go.mod 80":                        "option --ssl-client-ca: go.mod: there is no certificate in PEM",
		"--ssl-alpn a,,b h 80":                                `option --ssl-alpn: "a,,b" has a name of 0 bytes`,
		"--ssl -F h 80":                                       "options -F and a key or --ssl exclude each other",
		"--ssl-ciphers ALL h 80":                              "leave --ssl-ciphers out",
		"-T noverify h 80":                                    "--ssl-insecure accepts any certificate",
		"-T protocols=all h 80":                               "is about TLS in OpenBSD's nc",
		"-K key h 80":                                         "--ssl-key FILE",
		"-R ca h 80":                                          "--ssl-trustfile FILE",
		"-H hash h 80":                                        "--pin sha256:BASE64",
	} {
		c, err := newConfig(words(args))
		if _, usage := err.(usageError); !usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v (%+v), want %q", args, err, c, want)
		}
	}
	p := startPurr(t, opts{env: keyed(tlsconn.NewKey())}, "--ssl", "127.0.0.1", "9")
	p.ends(2)
	p.complains("PURR_KEY", "unset")
	for _, args := range []string{"--ssl h 80", "--tls h 80", "--pin sha256//" + pin[7:] + " h 80", "-l --pin " + pin + " 80", "-U --ssl --pin " + pin + " path", "-l -U --ssl path"} {
		if c, err := newConfig(words(args)); err != nil || !c.ssl.on {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// A tunnel behind --ssl: at both versions a half-close passes each way, and an
// end without close_notify resets the target once it has what came before.
func TestTLSTunnel(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, cut := range []bool{false, true} {
			target := listenTest(t)
			l := startPurr(t, opts{}, "-l", "--ssl", "-L", target.Addr().String(), "127.0.0.1", "0")
			socket := dialTest(t, "tcp", l.addr()).(*net.TCPConn)
			c := tls.Client(socket, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
			writeAll(t, c, "question")
			server := acceptTest(t, target)
			if got := testkit.ReadN(t, server, 8); got != "question" {
				t.Errorf("the target got %q", got)
			}
			if cut {
				_ = socket.CloseWrite()
				if rest, err := io.ReadAll(server); !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
					t.Errorf("the target ends with %q, %v", rest, err)
				}
				l.ends(1)
				l.waitErr(regexp.MustCompile("receive from 127.0.0.1 port [0-9]+: .*cut"))
				continue
			}
			writeAll(t, server, "answer")
			_ = server.CloseWrite()
			if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
				t.Errorf("the client got %q, %v", got, err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			if rest, err := io.ReadAll(server); err != nil || len(rest) > 0 {
				t.Errorf("the target ends with %q, %v", rest, err)
			}
			_ = socket.Close()
			l.ends(0)
		}
	}
}

// -L tls: encrypts towards the target, and checks its certificate: at TLS 1.2,
// too, a half-close reaches it, and what it sends later comes back. A target
// that is not accepted gets nothing, and the client is reset.
func TestTLSTarget(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		target := listenTest(t)
		l := startPurr(t, opts{}, "-l", "--ssl-trustfile", a.ca, "-L", "tls:localhost:"+portOf(t, target.Addr()), "127.0.0.1", "0")
		c := dialTest(t, "tcp", l.addr()).(*net.TCPConn)
		writeAll(t, c, "question")
		_ = c.CloseWrite()
		server, socket := tlsPeer(t, a, target, version)
		if got, err := io.ReadAll(server); string(got) != "question" || err != nil {
			t.Errorf("the target got %q, %v", got, err)
		}
		if version == tls.VersionTLS13 { // at 1.2 Go's server has answered the end with its own
			writeAll(t, server, "late answer")
		}
		_ = server.CloseWrite()
		_ = socket.CloseWrite()
		if got, err := io.ReadAll(c); version == tls.VersionTLS13 && string(got) != "late answer" || err != nil {
			t.Errorf("the client got %q, %v", got, err)
		}
		l.ends(0)
	}
	target := listenTest(t)
	l := startPurr(t, opts{}, "-l", "--ssl-trustfile", a.ca, "-L", "tls:localhost:"+portOf(t, target.Addr()), "127.0.0.1", "0")
	c := dialTest(t, "tcp", l.addr())
	writeAll(t, c, "question")
	server, _ := tlsPeer(t, newTestCA(t), target, tls.VersionTLS13)
	if got, err := io.ReadAll(server); err == nil || len(got) > 0 {
		t.Errorf("the target got %q, %v", got, err)
	}
	if got, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) || len(got) > 0 {
		t.Errorf("the client got %q, %v", got, err)
	}
	l.ends(7)
	l.complains("authority that is not trusted")
}

// With -L tls: the options go to the side that they are about.
func TestTLSBothSides(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	own := a.file("own", x509.Certificate{})
	for args, want := range map[string][2]bool{ // whether there is TLS, and whether our certificate is shown: to the peer
		"-l -L tls:h:993 80":                                             {false, false},
		"-l -L tls:h:993 --ssl-cert " + own + " 80":                      {false, false},
		"-l -L tls:h:993 --ssl --ssl-verify 80":                          {true, true},
		"-l -L tls:h:993 --ssl --ssl-cert " + own + " 80":                {true, true},
		"-l -L tls:h:993 --ssl-trustfile " + a.ca + " 80":                {false, false},
		"-l -L tls:h:993 --ssl-client-ca " + a.ca + " --ssl-insecure 80": {true, true},
		"-l -L tls:h:993 --key-new --pin " + pinOf(t, own) + " 80":       {false, false},
		"-L tls:h:993 --ssl h 80":                                        {true, false},
		"-L tls:h:993 --ssl --ssl-trustfile " + a.ca + " h 80":           {true, false},
		"-l -L tls:h:993 --ssl-servername n --ssl-alpn imap -U path":     {false, false},
	} {
		c, err := newConfig(words(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		if got := [2]bool{c.ssl.on, c.ssl.certs.Own != nil}; got != want || !c.targetSSL.on || (c.targetSSL.certs.Own != nil) != (strings.Contains(args, "--ssl-cert") && !c.ssl.on) {
			t.Errorf("%s: %v and %+v", args, got, c.targetSSL)
		}
		if both := !c.listen && strings.Contains(args, "--ssl-trustfile"); c.ssl.pin != nil || (c.ssl.trustFile != "") != both || c.ssl.alpn != nil || c.targetSSL.clientCA != "" {
			t.Errorf("%s: %+v and %+v", args, c.ssl, c.targetSSL)
		}
	}
	for args, want := range map[string]string{
		"-l -L tls:h:993 --ssl-key " + own + " 80":                                    "option --ssl-key needs --ssl-cert",
		"-l -L tls:h:993 --pin " + pinOf(t, own) + " --ssl-trustfile " + a.ca + " 80": "a pin replaces",
		"-l -L h:993 --ssl-trustfile " + a.ca + " 80":                                 "say --ssl-client-ca FILE",
	} {
		if _, err := newConfig(words(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
