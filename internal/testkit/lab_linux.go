package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// Routers is a script for MustRunAll. It lays out A (the calling namespace) - R
// - B. R prohibits 10.0.9/24, has no route to 10.0.8/24 and drops 10.0.7/24.
// 10.0.2.77 has no host. 10.0.6/24 loops between R and B until its TTL is over.
//
// R does not limit ICMP errors by type; with a rate of 0 it would also use up
// the one error a second that Linux allows for refused routes. Duplicate
// address detection is off: on a busy machine R, whose link-local address was
// not settled, reported after three seconds that B was not there.
const Routers = `
	sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
	ip netns add R
	ip netns add B
	ip netns exec R sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
	ip netns exec B sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
	ip link add a0 type veth peer name r0 netns R
	ip -n R link add r1 type veth peer name b0 netns B
	ip -n R link set lo up
	ip -n B link set lo up
	ip addr add 10.0.1.1/24 dev a0
	ip link set a0 up
	ip -n R addr add 10.0.1.254/24 dev r0
	ip -n R addr add 10.0.2.254/24 dev r1
	ip -n R link set r0 up
	ip -n R link set r1 up
	ip -n B addr add 10.0.2.2/24 dev b0
	ip -n B link set b0 up
	ip route add default via 10.0.1.254
	ip -n B route add default via 10.0.2.254
	ip netns exec R sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0
	ip netns exec B sysctl -qw net.ipv4.ip_forward=1
	ip -n R route add prohibit 10.0.9.0/24
	ip -n R route add unreachable 10.0.8.0/24
	ip -n R route add blackhole 10.0.7.0/24
	ip -n R route add 10.0.6.0/24 via 10.0.2.2
	ip addr add fd00:1::1/64 dev a0 nodad
	ip -n R addr add fd00:1::ff/64 dev r0 nodad
	ip -n R addr add fd00:2::ff/64 dev r1 nodad
	ip -n B addr add fd00:2::2/64 dev b0 nodad
	ip route add default via fd00:1::ff
	ip -n B route add default via fd00:2::ff
	ip -n R route add prohibit fd00:9::/64
	ip -n R route add unreachable fd00:8::/64
	ip -n R route add blackhole fd00:7::/64`

// Caddyfile configures caddy for HTTP/3 on 10.9.0.2, with the key and the
// certificate of WriteCert in DIR.
const Caddyfile = `{
 admin off
 auto_https disable_redirects
 skip_install_trust
}
https://10.9.0.2 {
 tls DIR/cert.pem DIR/key.pem
 respond ok
}
`

// WriteCert writes a new self-signed certificate, cert.pem, and its key,
// key.pem, into dir.
func WriteCert(t *testing.T, dir string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(10, 9, 0, 2)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true,
		BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(dir+"/cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644)
	os.WriteFile(dir+"/key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
