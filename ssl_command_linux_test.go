package main

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
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
