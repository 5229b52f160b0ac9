package main

import (
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/testkit"
)

// A listener that does not accept a dialer's certificate ends --push and --pull
// as it ends every other conversation: status 7, and how to go on. In TLS 1.3
// the dialer learns it only after its own handshake.
func TestTLSFilesWithoutCert(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	own, file := a.file("own", x509.Certificate{}), named(t, "file", "content\n")
	wrong := newTestCA(t).file("wrong", x509.Certificate{})
	for serves, dials := range map[string]string{"--pull 127.0.0.1 0": "--push 127.0.0.1 PORT " + file, "--push 127.0.0.1 0 " + file: "--pull 127.0.0.1 PORT"} {
		dir := t.TempDir()
		l := startPurr(t, opts{dir: dir}, words("-k -l --ssl-cert "+own+" --ssl-client-ca "+a.ca+" "+serves)...)
		for shown, advice := range map[string]string{"": "show it one with --ssl-cert FILE", "--ssl-cert " + wrong + " ": ""} {
			p := startPurr(t, opts{dir: dir}, words("--ssl-trustfile "+a.ca+" "+shown+strings.Replace(dials, "PORT", l.port(), 1))...)
			p.ends(7)
			p.complains("handshake with 127.0.0.1 port "+l.port()+": the other end does not accept our certificate", advice)
		}
		if got, err := os.ReadDir(dir); err != nil || len(got) > 0 {
			t.Errorf("%s: stored %v, %v", dials, got, err)
		}
	}
}

// A listener that demands a certificate of its clients prints a command for the
// other end that shows one: it works as soon as FILE is replaced, and without
// that option it is refused. A listener that demands none asks for none.
func TestTLSCommandShowsCert(t *testing.T) {
	t.Parallel()
	a := newTestCA(t)
	client, file := a.file("client", x509.Certificate{DNSNames: []string{"client"}}), named(t, "file", "content\n")
	for _, mutual := range []string{"--ssl-client-ca " + a.ca, "--pin " + pinOf(t, client), ""} {
		for _, mode := range []string{"", "--pull "} {
			dir := t.TempDir()
			l := startPurr(t, opts{dir: dir}, words("-l --ssl "+mutual+" "+mode+"127.0.0.1 0")...)
			command := strings.ReplaceAll(l.waitErr(newCertLine())[1], "PATH...", file)
			if asks := strings.Contains(command, " --ssl-cert FILE "); asks != (mutual != "") {
				t.Fatalf("%s: %s", mutual, command)
			}
			if mutual != "" {
				p := startPurr(t, opts{stdin: strings.NewReader("content\n")}, words(strings.ReplaceAll(command, "--ssl-cert FILE ", ""))...)
				p.ends(7)
				p.complains("does not accept our certificate", "--ssl-cert FILE")
			}
			startPurr(t, opts{stdin: strings.NewReader("content\n")}, words(strings.ReplaceAll(command, "FILE", client))...).ends(0)
			l.ends(0)
			got, _ := os.ReadFile(filepath.Join(dir, "file"))
			if mode == "" {
				got = []byte(l.out.String())
			}
			if string(got) != "content\n" {
				t.Errorf("%s %s: got %q", mutual, mode, got)
			}
		}
	}
}

// The commands on the page for browsers show a certificate if the page was only
// to be had with one, and work.
func TestTLSPageShowsCert(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "curl", "curl")
	a := newTestCA(t)
	client, own := a.file("client", x509.Certificate{DNSNames: []string{"client"}}), a.file("own", x509.Certificate{})
	for _, server := range []string{"", "--ssl-cert " + own + " "} {
		for _, mutual := range []string{"--ssl-client-ca " + a.ca + " ", ""} {
			l := startPurr(t, opts{}, words("-l -k --ssl "+server+mutual+"--push 127.0.0.1 0 "+named(t, "file", "content\n"))...)
			at := url.URL{Scheme: "https", Host: l.addr(), Path: "/"}
			p := start(t, opts{}, "curl", "-sSk", "--cert", client, "-H", "Accept: text/html", at.String())
			p.ends(0)
			page := p.out.String()
			for _, option := range []string{"--cert FILE ", "--ssl-cert FILE "} {
				if strings.Contains(page, option) != (mutual != "") {
					t.Errorf("%s%s: %s in the page: %v", server, mutual, option, mutual == "")
				}
			}
		}
	}
}
