package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// A world is where the examples of the documents run: this machine, which is
// both "here" and "there", and a network namespace with the servers that the
// examples name.
type world struct {
	hosts string // the file that is /etc/hosts
	env   []string
}

// machines are the names in the documents and their addresses in the other
// namespace. HOST is there too, unless an example has a listener.
var machines = []string{"example.org 10.0.0.2", "db 10.0.0.3", "web 10.0.0.4", "cache 10.0.0.5", "imap 10.0.0.6", "PROXY 10.0.0.7", "SOCKS 10.0.0.8"}

const otherHost = "10.0.0.9"

// newWorld lays out the namespace and starts its servers.
func newWorld(t *testing.T) *world {
	t.Helper()
	// The examples have /tmp for themselves, less the programs there.
	exe := filepath.Dir(filepath.Dir(purrPath(t)))
	testkit.MustRunAll(t, `
		mount -t tmpfs tmpfs /mnt
		mkdir -p /mnt/stick /mnt/exe
		mount -t tmpfs -o size=4M tmpfs /mnt/stick
		mount --bind `+exe+` /mnt/exe
		mount -t tmpfs tmpfs /tmp
		mkdir -p `+exe+`
		mount --bind /mnt/exe `+exe+`
		ip netns add world
		ip link add here0 type veth peer name world0 netns world
		ip addr add 10.0.0.1/24 dev here0
		ip link set here0 up
		ip -n world link set lo up
		ip -n world addr add 10.0.0.9/24 dev world0
		ip -n world link set world0 up`)
	dir := testkit.SocketDir(t)
	w := &world{hosts: filepath.Join(dir, "hosts")}
	testkit.WriteFile(t, w.hosts, "")
	testkit.MustRun(t, "mount --bind "+w.hosts+" /etc/hosts")
	for _, m := range machines {
		testkit.MustRun(t, "ip -n world addr add "+strings.Fields(m)[1]+"/24 dev world0")
	}
	certificate := w.certify(t, dir)
	inNamespace(t, "/run/netns/world", func() {
		for _, port := range []int{22, 25, 80, 5432, 6379, 8080, 9000, 143} {
			serveHello(t, port, nil)
		}
		for _, port := range []int{443, 993} {
			serveHello(t, port, &tls.Config{Certificates: []tls.Certificate{certificate}})
		}
		for _, port := range []int{53, 123, 161, 9000} {
			serveDatagrams(t, otherHost, port)
			for _, m := range machines {
				serveDatagrams(t, strings.Fields(m)[1], port)
			}
		}
	})
	for _, scheme := range []string{"socks5 1080", "http 3128"} {
		p := start(t, opts{}, "ip", append(strings.Fields("netns exec world "+purrPath(t)+" -v -l --proxy-type"), strings.Fields(scheme)...)...)
		p.waitErr(listeningOn)
	}
	return w
}

// certify makes an authority that purr trusts, and its certificate for every
// machine.
func (w *world) certify(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	script := `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=world \
		-addext "subjectAltName=DNS:HOST,DNS:example.org,DNS:imap,DNS:localhost,DNS:PROXY" -keyout key.pem -out cert.pem`
	if p := shell(t, opts{dir: dir}, script); p.status() != 0 {
		t.Fatalf("openssl: %s", p.err)
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "SSL_CERT_FILE="+filepath.Join(dir, "cert.pem"), "CURL_CA_BUNDLE="+filepath.Join(dir, "cert.pem"), "CERTIFICATES="+dir)
	return certificate
}

// inNamespace calls f in another network namespace; the sockets that it opens
// stay there.
func inNamespace(t *testing.T, path string, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			if err = unix.Setns(fd, unix.CLONE_NEWNET); err == nil {
				f()
			}
			_ = unix.Close(fd)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// serveHello sends every client the same answer and reads what it sends.
func serveHello(t *testing.T, port int, config *tls.Config) {
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(testkit.Patience))
				if config != nil {
					c = tls.Server(c, config)
				}
				if port == 80 || port == 8080 { // an HTTP client takes no answer before it asks
					_ = c.SetReadDeadline(time.Now().Add(time.Second))
					_, _ = c.Read(make([]byte, 1))
					_ = c.SetReadDeadline(time.Now().Add(testkit.Patience))
				}
				_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
				_ = c.(interface{ CloseWrite() error }).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
}

// serveDatagrams answers datagrams as a DNS or an NTP server, or with the same,
// from the address that they were sent to.
func serveDatagrams(t *testing.T, address string, port int) {
	c, err := net.ListenPacket("udp4", fmt.Sprintf("%s:%d", address, port))
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			switch {
			case port == 53 && n > 12:
				b[2], b[3] = b[2]|0x80, b[3]&0xf0|5 // a response: REFUSED
			case port == 123 && n >= 48:
				copy(b[24:32], b[40:48]) // the origin is the client's time
				b[0], b[1] = 0x24, 10    // version 4, server; stratum
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
}

// preparations are what examples need beside the files that all have: lines
// for the shell, in the directory with here and there.
var preparations = map[string]string{
	"backup":  "mkdir there/backup",
	"dir":     "mkdir there/DIR",
	"in":      "mkdir there/in",
	"part":    "head -c 1000 here/FILE >there/FILE",
	"names":   "for name in nc ncat; do ln -sf \"$(command -v purr)\" bin/$name; done",
	"offered": "mv here/FILE here/DIR there",
	"script":  "true",
}

// lay makes the files of an example and the names of the machines. HOST is this
// machine if the example has a listener.
func (w *world) lay(t *testing.T, with string, listener bool) (home string) {
	t.Helper()
	home = testkit.SocketDir(t)
	host := otherHost
	if listener {
		host = "127.0.0.1"
	}
	hosts := "127.0.0.1 localhost there here ADDRESS\n" + host + " HOST\n"
	for _, m := range machines {
		name, address, _ := strings.Cut(m, " ")
		hosts += address + " " + name + "\n"
	}
	testkit.WriteFile(t, w.hosts, hosts)
	script := `
		mkdir -p here/DIR/sub there bin
		rm -rf /mnt/stick/*
		cd here
		head -c 300000 /dev/urandom | tee file FILE video.mkv notes.txt PATH... >DIR/sub/a
		head -c 8M /dev/zero >disk.img
		echo hello >DIR/b
		umask 077
		cp $CERTIFICATES/cert.pem C; cat $CERTIFICATES/key.pem >>C
		umask 022
		echo HOST >hosts
		printf '#!/bin/sh\ncat\n' >../bin/CMD
		printf '#!/bin/sh\nread sum; echo $(($sum))\n' >../bin/bc
		printf '#!/bin/sh\n[ $# = 0 ] || exec purr -l -k -c "echo HTTP/1.0 200 OK; echo; echo ok" "$1"\n' >server
		chmod +x server ../bin/*
		ln -s "$(command -v nc.openbsd)" ../bin/nc
		rm -f /tmp/s /run/db.sock /run/app.sock
		cd ..
		` + preparations[with]
	if _, known := preparations[with]; with != "" && !known {
		t.Fatalf("there is no preparation %q", with)
	}
	p := shell(t, opts{dir: home, env: w.env}, script)
	if p.status() != 0 {
		t.Fatalf("%s%s", p.err, p.out)
	}
	return home
}

// sockets returns the sockets of this namespace that wait for peers, by their
// inodes: the network and the address of each.
func (w *world) sockets(t testing.TB) map[string][2]string {
	t.Helper()
	all := make(map[string][2]string)
	for network, state := range map[string]int{"tcp": unix.BPF_TCP_LISTEN, "udp": unix.BPF_TCP_CLOSE} {
		for _, s := range testkit.Sockets(t, network, state) {
			all[fmt.Sprint(s.Inode)] = [2]string{network, fmt.Sprintf("127.0.0.1:%d", s.Local.Port())}
		}
	}
	for path, inode := range testkit.UnixSockets(t) {
		all[inode] = [2]string{"unix", path}
	}
	return all
}

// visit is a client of each listener that has come since: it sends hello and
// reads the answer.
func (w *world) visit(t *testing.T, before map[string][2]string) {
	t.Helper()
	seen := map[[2]string]bool{} // once if it listens over IPv4 and IPv6
	for inode, s := range w.sockets(t) {
		if _, old := before[inode]; !old && !seen[s] {
			seen[s] = true
			sayHello(t, s[0], s[1])
		}
	}
}

// sayHello is a client of one listener.
func sayHello(t *testing.T, network, address string) {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	_, _ = io.WriteString(c, "hello\n")
	if stream, ok := c.(interface{ CloseWrite() error }); ok && network != "udp" {
		_ = stream.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	}
}
