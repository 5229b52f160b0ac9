package tlsconn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// An authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := new(authority)
	made := a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert = made.Leaf
	return a
}

// issue makes a certificate; the authority's first one is its own.
func (a *authority) issue(t testing.TB, template *x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent := a.cert
	if parent == nil {
		parent, a.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// shake does a handshake and returns what each end makes of it.
func shake(t testing.TB, client, server *Certs) (state tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	a, b := testkit.TcpPair(t)
	_ = a.SetDeadline(time.Now().Add(testkit.Patience))
	done := make(chan error, 1)
	go func() {
		s := tls.Server(b, server.Config(true))
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		done <- err
	}()
	c := tls.Client(a, client.Config(false))
	clientErr = c.Handshake()
	if clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1)) // a client learns of the server's no in TLS 1.3 only so
	}
	state = c.ConnectionState()
	_ = a.Close()
	return state, clientErr, <-done
}

// Each certificate that is not accepted has a reason, its names and its pin.
func TestVerification(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "our CA"), newAuthority(t, "another\x1bCA")
	names := []string{"good.example", "*.wild.example"}
	good := ca.issue(t, &x509.Certificate{DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	expired := ca.issue(t, &x509.Certificate{DNSNames: names, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	future := ca.issue(t, &x509.Certificate{DNSNames: names, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour)})
	foreign := other.issue(t, &x509.Certificate{DNSNames: names})
	old := ca.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "good.example"}})
	clientOnly := ca.issue(t, &x509.Certificate{DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	self, pin, err := NewCert("self.example", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	goodPin := PinOf(good.Leaf)
	for _, test := range []struct {
		name   string
		own    *tls.Certificate
		client Certs
		reason string // empty: accepted
		names  string
	}{
		{"good", good, Certs{Roots: ca.pool(), ServerName: "good.example"}, "", ""},
		{"wildcard", good, Certs{Roots: ca.pool(), ServerName: "a.wild.example"}, "", ""},
		{"address", good, Certs{Roots: ca.pool(), ServerName: "127.0.0.1"}, "", ""},
		{"wrong name", good, Certs{Roots: ca.pool(), ServerName: "bad.example"}, "it is not for bad.example", "good.example *.wild.example 127.0.0.1"},
		{"wrong address", good, Certs{Roots: ca.pool(), ServerName: "127.0.0.2"}, "it is not for 127.0.0.2", "good.example *.wild.example 127.0.0.1"},
		{"no name", good, Certs{Roots: ca.pool()}, "there is no name", ""},
		{"expired", expired, Certs{Roots: ca.pool(), ServerName: "good.example"}, "it is not valid now: current time", "good.example *.wild.example"},
		{"future", future, Certs{Roots: ca.pool(), ServerName: "good.example"}, "is before", "good.example *.wild.example"},
		{"wrong CA", foreign, Certs{Roots: ca.pool(), ServerName: "good.example"}, `not trusted: CN=another\x1bCA`, "good.example *.wild.example"},
		{"system's roots", good, Certs{ServerName: "good.example"}, "not trusted: CN=our CA", "good.example *.wild.example 127.0.0.1"},
		{"only a common name", old, Certs{Roots: ca.pool(), ServerName: "good.example"}, "it is not for good.example", `"good.example" (without a subject alternative name)`},
		{"for clients", clientOnly, Certs{Roots: ca.pool(), ServerName: "good.example"}, "another use", "good.example *.wild.example"},
		{"self-made", self, Certs{ServerName: "self.example"}, "signed by itself", "self.example 192.0.2.1"},
		{"insecure", expired, Certs{Insecure: true, ServerName: "bad.example"}, "", ""},
		{"pinned", self, Certs{Pin: &pin, ServerName: "bad.example"}, "", ""},
		{"pinned, and not that", good, Certs{Pin: &pin, Roots: ca.pool(), ServerName: "good.example", Insecure: true}, "another key", "good.example *.wild.example 127.0.0.1"},
		{"pinned, expired", expired, Certs{Pin: &goodPin}, "another key", "good.example *.wild.example"},
	} {
		state, err, _ := shake(t, &test.client, &Certs{Own: test.own})
		failed, isCert := errors.AsType[*CertError](err)
		switch {
		case test.reason == "":
			if err != nil || len(state.PeerCertificates) == 0 {
				t.Errorf("%s: %v", test.name, err)
			}
		case !isCert || !strings.Contains(failed.Reason, test.reason) || strings.Join(failed.Names, " ") != test.names:
			t.Errorf("%s: %v", test.name, err)
		case test.names != "" && failed.Pin != PinOf(test.own.Leaf):
			t.Errorf("%s: pin %v", test.name, failed.Pin)
		}
	}
}

// A listener that demands a certificate takes only those of its authority.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "ours"), newAuthority(t, "other")
	own := ca.issue(t, &x509.Certificate{DNSNames: []string{"x"}})
	server := &Certs{Own: own, ClientCA: ca.pool()}
	good, pin, err := NewCert("me")
	if err != nil {
		t.Fatal(err)
	}
	use := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, test := range []struct {
		name   string
		shown  *tls.Certificate
		server *Certs
		reason string
	}{
		{"none", nil, server, "there is none"},
		{"ours", ca.issue(t, &x509.Certificate{ExtKeyUsage: use}), server, ""},
		{"another's", other.issue(t, &x509.Certificate{ExtKeyUsage: use}), server, "not trusted"},
		{"for servers", ca.issue(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), server, "another use"},
		{"not asked", nil, &Certs{Own: own}, ""},
		{"pinned", good, &Certs{Own: own, Pin: &pin}, ""},
		{"not the pinned one", own, &Certs{Own: own, Pin: &pin}, "another key"},
		{"none, and one is pinned", nil, &Certs{Own: own, Pin: &pin}, "there is none"},
	} {
		_, clientErr, err := shake(t, &Certs{Roots: ca.pool(), ServerName: "x", Own: test.shown}, test.server)
		failed, isCert := errors.AsType[*CertError](err)
		if test.reason == "" && (err != nil || clientErr != nil) || test.reason != "" && (!isCert || !strings.Contains(failed.Error(), test.reason) || clientErr == nil) {
			t.Errorf("%s: %v; the client has %v", test.name, err, clientErr)
		}
	}
}

func TestALPN(t *testing.T) {
	t.Parallel()
	own, pin, err := NewCert()
	if err != nil {
		t.Fatal(err)
	}
	state, _, _ := shake(t, &Certs{Pin: &pin, ALPN: []string{"a", "b"}}, &Certs{Own: own, ALPN: []string{"b", "c"}})
	if state.NegotiatedProtocol != "b" || state.Version != tls.VersionTLS13 {
		t.Errorf("%q, TLS %x", state.NegotiatedProtocol, state.Version)
	}
	if _, clientErr, serverErr := shake(t, &Certs{Pin: &pin, ALPN: []string{"a"}}, &Certs{Own: own, ALPN: []string{"b"}}); clientErr == nil || serverErr == nil {
		t.Error("no protocol in common:", clientErr, serverErr)
	}
}

func TestParsePin(t *testing.T) {
	t.Parallel()
	_, pin, err := NewCert()
	if err != nil {
		t.Fatal(err)
	}
	base := strings.TrimPrefix(pin.String(), "sha256:")
	for _, text := range []string{pin.String(), "sha256//" + base, strings.TrimRight(pin.String(), "="), hex.EncodeToString(pin[:]),
		strings.ToUpper(hex.EncodeToString(pin[:])), "sha256:" + hex.EncodeToString(pin[:])} {
		if got, err := ParsePin(text); got != pin || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "sha256:", "sha256:x", base, "sha256:" + base[4:], "sha256:" + base + base, "sha1:" + base, hex.EncodeToString(pin[1:]), pin.String() + ";" + pin.String()} {
		if _, err := ParsePin(text); err == nil || !strings.HasSuffix(err.Error(), " is no sha256:BASE64 of 32 bytes") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParsePin(f *testing.F) {
	f.Add("sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
	f.Add(strings.Repeat("0f", 32))
	f.Fuzz(func(t *testing.T, text string) {
		pin, err := ParsePin(text)
		if err != nil {
			return
		}
		if again, err := ParsePin(pin.String()); again != pin || err != nil {
			t.Errorf("%q: %v, %v", text, again, err)
		}
	})
}

// pemFile writes blocks into a file.
func pemFile(t *testing.T, blocks ...*pem.Block) string {
	t.Helper()
	var text strings.Builder
	for _, b := range blocks {
		if err := pem.Encode(&text, b); err != nil {
			t.Fatal(err)
		}
	}
	return testkit.TempFile(t, text.String())
}

func TestLoad(t *testing.T) {
	t.Parallel()
	made, pin, err := NewCert("x")
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := NewCert("y")
	if err != nil {
		t.Fatal(err)
	}
	block := func(key any) *pem.Block {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return &pem.Block{Type: "PRIVATE KEY", Bytes: der}
	}
	cert, key, otherKey := &pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]}, block(made.PrivateKey), block(other.PrivateKey)
	both, reversed := pemFile(t, cert, key), pemFile(t, key, cert)
	certOnly, keyOnly := pemFile(t, cert), pemFile(t, key)
	sealed := pemFile(t, cert, &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	sealedOld := pemFile(t, cert, &pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")})
	for _, test := range []struct{ cert, key, want string }{
		{both, "", ""}, {reversed, "", ""}, {certOnly, keyOnly, ""}, {both, both, ""},
		{certOnly, "", certOnly + ": there is no private key in PEM in it"},
		{keyOnly, "", keyOnly + ": there is no certificate in PEM in it"},
		{certOnly, pemFile(t, otherKey), "private key does not match"},
		{sealed, "", "the key is encrypted"}, {sealedOld, "", "the key is encrypted"},
		{"/dev/null", "", "/dev/null: there is no certificate"},
		{certOnly, "/nonexistent", "/nonexistent"}, {"/nonexistent", "", "/nonexistent"},
	} {
		got, err := LoadCert(test.cert, test.key)
		switch {
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || got != nil):
			t.Errorf("%v: %v", test, err)
		case test.want == "" && (err != nil || PinOf(got.Leaf) != pin):
			t.Errorf("%v: %v", test, err)
		}
	}
	if pool, err := LoadRoots(both); err != nil || pool.Equal(x509.NewCertPool()) {
		t.Error(err)
	}
	for _, file := range []string{keyOnly, "/dev/null", "/nonexistent"} {
		if _, err := LoadRoots(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// The zero Source trusts the system's roots; a listener has a certificate,
// which is made if there is none. The error of a file has its role.
func TestSource(t *testing.T) {
	t.Parallel()
	made, pin, err := NewCert("x")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := pemFile(t, &pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]}, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	c, own, err := new(Source).Load()
	if err != nil || c.Own != nil || own != nil || c.Roots == nil || c.ServerName != "" {
		t.Errorf("%+v, %v, %v", c, own, err)
	}
	c, own, err = (&Source{Host: "fe80::1%eth0", CertFile: file, Roots: file}).Load()
	if err != nil || PinOf(c.Own.Leaf) != pin || own != nil || c.ServerName != "fe80::1" || c.Roots == nil {
		t.Errorf("%+v, %v, %v", c, own, err)
	}
	c, own, err = (&Source{Listen: true, Host: "www.example.org", ClientCA: file}).Load()
	if err != nil || own == nil || PinOf(c.Own.Leaf) != *own || c.Roots != nil || c.ClientCA == nil || c.Own.Leaf.VerifyHostname("www.example.org") != nil {
		t.Errorf("%+v, %v, %v", c, own, err)
	}
	if c, _, err = (&Source{Host: "www.example.org.", Insecure: true}).Load(); err != nil || c.ServerName != "www.example.org" || c.Roots != nil {
		t.Errorf("%+v, %v", c, err)
	}
	c, _, err = (&Source{Listen: true, Host: "0.0.0.0"}).Load()
	if err != nil || len(c.Own.Leaf.IPAddresses) != 0 || c.Own.Leaf.VerifyHostname("localhost") != nil {
		t.Errorf("%+v, %v", c, err)
	}
	for role, s := range []Source{OwnCert: {CertFile: "/nonexistent"}, ClientRoots: {ClientCA: "/nonexistent"}, ServerRoots: {Roots: "/nonexistent"}} {
		_, _, err := s.Load()
		if failed, ok := errors.AsType[*SourceError](err); !ok || failed.Role != Role(role) || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v: %v", role, err)
		}
	}
}

// OpenSSL computes the same pin, as curl's manual has it.
func TestPinOfOpenSSL(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "openssl", "openssl")
	made, pin, err := NewCert("x")
	if err != nil {
		t.Fatal(err)
	}
	file := pemFile(t, &pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]})
	out, err := exec.Command("sh", "-c", "openssl x509 -in "+file+" -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64").Output()
	if got := "sha256:" + strings.TrimSpace(string(out)); err != nil || got != pin.String() {
		t.Errorf("%s (%v), and not %v", got, err, pin)
	}
}
