package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// peerDir makes a directory that servers may use after they have given up their
// rights, with the given files.
func peerDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := testkit.SocketDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		testkit.WriteFile(t, filepath.Join(dir, name), content)
	}
	return dir
}

// startPeer runs a server until the test is over and waits for its port.
func startPeer(t *testing.T, addr string, argv ...string) {
	t.Helper()
	var out testkit.Output
	out.More = make(chan struct{})
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", argv[0], out.String())
		}
	})
	testkit.Eventually(t, argv[0]+" at "+addr, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// startTarget is a server that speaks first, and answers what it got once the
// client has finished.
func startTarget(t *testing.T, addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
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
				_, _ = io.WriteString(c, "banner\n")
				b := make([]byte, 4)
				_, _ = io.ReadFull(c, b)
				_, _ = c.Write(b)
			}()
		}
	}()
}

// Debian's proxies are understood: their yes, and each kind of their no.
func TestPeers(t *testing.T) {
	for program, pkg := range map[string]string{"microsocks": "microsocks", "tinyproxy": "tinyproxy", "squid": "squid", "danted": "dante-server"} {
		testkit.Program(t, program, pkg)
	}
	if !testkit.InNamespaces(t) {
		return
	}
	startTarget(t, "127.0.0.1:443")
	startTarget(t, "127.0.0.1:7000") // forbidden, where something can be
	startPeer(t, "127.0.0.1:1080", "microsocks", "-i", "127.0.0.1", "-p", "1080")
	startPeer(t, "127.0.0.1:1081", "microsocks", "-i", "127.0.0.1", "-p", "1081", "-u", "me", "-P", "a:b")
	tiny := "User nobody\nListen 127.0.0.1\nAllow 127.0.0.1\nConnectPort 443\nConnectPort 9\nTimeout 30\n"
	dir := peerDir(t, map[string]string{
		"tiny":      tiny + "Port 3001\n",
		"tiny-auth": tiny + "Port 3002\nBasicAuth me ab\n",
		"danted": "logoutput: stderr\ninternal: 127.0.0.1 port = 1082\nexternal: lo\nclientmethod: none\nsocksmethod: none\n" +
			"client pass { from: 0/0 to: 0/0 }\nsocks block { from: 0/0 to: 0/0 port = 7000 }\nsocks pass { from: 0/0 to: 0/0 }\n",
	})
	startPeer(t, "127.0.0.1:3001", "tinyproxy", "-d", "-c", dir+"/tiny")
	startPeer(t, "127.0.0.1:3002", "tinyproxy", "-d", "-c", dir+"/tiny-auth")
	startPeer(t, "127.0.0.1:1082", "danted", "-f", dir+"/danted", "-p", dir+"/danted.pid")
	startSquids(t)

	good, bad := Config{User: "me", Password: "a:b", HasPassword: true}, Config{User: "me", Password: "no", HasPassword: true}
	plain := good
	plain.Password = "ab"
	for _, peer := range []struct {
		name     string
		protocol Protocol
		port     int
		user     Config // right, if it wants one
		forbids  bool   // port 7000
	}{
		{"microsocks", SOCKS5, 1080, Config{}, false},
		{"microsocks with password", SOCKS5, 1081, good, false},
		{"dante", SOCKS5, 1082, Config{}, true},
		{"dante", SOCKS4, 1082, Config{}, false}, // its no is the same for both
		{"tinyproxy", HTTP, 3001, Config{}, true},
		{"tinyproxy with password", HTTP, 3002, plain, true},
		{"squid", HTTP, 3128, Config{}, true},
		{"squid with Basic", HTTP, 3129, plain, true},
		{"squid with Digest", HTTP, 3130, plain, true},
	} {
		ask := func(user Config, host string, port int) (net.Conn, error) {
			user.Protocol, user.Host, user.Port = peer.protocol, "127.0.0.1", peer.port
			d := &Dialer{Config: user, Timeout: testkit.Patience, Dial: func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", user.Addr())
			}}
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
			defer cancel()
			return d.Connect(ctx, host, port)
		}
		name := fmt.Sprintf("%s, %v", peer.name, peer.protocol)
		hosts := []string{"127.0.0.1", "localhost"}
		if peer.protocol == SOCKS4 {
			hosts = hosts[:1] // dante has no 4a
		}
		for _, host := range hosts {
			c, err := ask(peer.user, host, 443)
			if err != nil {
				t.Errorf("%s, to %s: %v", name, host, err)
				continue
			}
			_ = c.SetDeadline(time.Now().Add(testkit.Patience))
			testkit.WriteString(t, c, "ping")
			if got := testkit.ReadN(t, c, len("banner\nping")); got != "banner\nping" {
				t.Errorf("%s, to %s: %q", name, host, got)
			}
			_ = c.Close()
		}
		check := func(what string, want error, user Config, port int) {
			t.Helper()
			c, err := ask(user, "127.0.0.1", port)
			if c != nil || !errors.Is(err, want) {
				t.Errorf("%s, %s: %v, and not %v", name, what, err, want)
			}
			t.Logf("%s, %s: %v", name, what, err)
		}
		check("to a closed port", ErrUnreachable, peer.user, 9)
		if peer.forbids {
			check("to a forbidden port", ErrNotAllowed, peer.user, 7000)
		}
		if peer.user.User != "" {
			check("without password", ErrPasswordWanted, Config{}, 443)
			check("with a wrong password", ErrPasswordWrong, bad, 443)
		}
	}
	d := &Dialer{Config: Config{Protocol: SOCKS5}, Timeout: 200 * time.Millisecond, Dial: func(context.Context) (net.Conn, error) { return net.Dial("tcp", "127.0.0.1:3128") }}
	if _, err := d.Connect(t.Context(), "localhost", 443); !errors.Is(err, ErrNotProxy) && !errors.Is(err, ErrNoAnswer) {
		t.Errorf("SOCKS5 to squid: %v", err)
	}
}

// startSquids runs squid on port 3128 for everyone, on 3129 with Basic and on
// 3130 with Digest.
func startSquids(t *testing.T) {
	const common = "acl to_far port 7000\nhttp_access deny to_far\nacl SSL_ports port 443 9\npid_filename none\n" +
		"access_log none\ncache_log /dev/null\nshutdown_lifetime 0\ncache_mem 1 MB\nnetdb_filename none\npinger_enable off\nvisible_hostname squid\n"
	const login = "acl known proxy_auth REQUIRED\nhttp_access allow known\n"
	dir := peerDir(t, map[string]string{"digest": "me:ab\n"})
	hash, err := exec.Command("openssl", "passwd", "-apr1", "ab").Output()
	if err != nil {
		t.Fatal(err)
	}
	testkit.WriteFile(t, dir+"/basic", "me:"+string(hash))
	for port, rules := range map[string]string{
		"3128": "http_access allow all\n",
		"3129": "auth_param basic program /usr/lib/squid/basic_ncsa_auth " + dir + "/basic\nauth_param basic children 1\nauth_param basic realm a, b\n" + login,
		"3130": "auth_param digest program /usr/lib/squid/digest_file_auth " + dir + "/digest\nauth_param digest children 1\nauth_param digest realm r\n" +
			"auth_param basic program /usr/lib/squid/basic_ncsa_auth /dev/null\nauth_param basic realm r\n" + login,
	} {
		conf := filepath.Join(dir, port)
		testkit.WriteFile(t, conf, "http_port 127.0.0.1:"+port+"\n"+common+rules+"coredump_dir "+dir+"\n")
		startPeer(t, "127.0.0.1:"+port, "squid", "-N", "-f", conf, "-n", "p"+port)
	}
}
