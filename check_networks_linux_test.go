package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// TestCheckNetworks has the statuses that routers and silence cause, over TCP
// and UDP, the same with and without -v.
func TestCheckNetworks(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, testkit.Routers)
	// IPv4 routers send few errors at a time, whatever icmp_ratelimit is
	// (ip_error, error_burst): no more than five of these may need one.
	for _, c := range []struct {
		args   string
		status int
		says   string // on stderr with -v over TCP, on stdout over UDP
	}{
		{"-z 10.0.2.2 81", 1, "failed: Connection refused"},
		{"-z 10.0.9.1 81", 4, `failed: No route to host (icmp 3/13 administratively prohibited, from 10.0.1.254)`},
		{"-z fd00:8::1 81", 4, "icmp6 1/0 no route, from fd00:1::ff"},
		{"-z fd00:9::1 81", 4, "icmp6 1/1 administratively prohibited, from fd00:1::ff"},
		{"-z -w 0.5 10.0.7.1 81", 3, "timed out: Operation now in progress"},
		{"-z -w 0.5 10.0.7.1 1-1000", 3, "timed out"},
		{"-z --wait-for 1 fd00:9::1 81", 4, "prohibited"},
		{"-z --wait-for 1 -w 0.3 10.0.7.1 81", 3, "timed out"},
		{"-zu 10.0.2.2 9999", 1, "closed"},
		{"-zu 10.0.9.1 53", 4, "icmp 3/13 administratively prohibited, from 10.0.1.254"},
		{"-zu -w 1 10.0.7.1 53", 3, "no-answer"},
		{"-zu -w 1 10.0.7.1 53 123 161", 3, "no-answer"},
		{"-zu fd00:9::1 53", 4, "icmp6 1/1"},
		{"-zu -c 2 -i 0.2 -w 1 fd00:9::1 9", 4, "prohibited"},
		{"-zu -c 2 -i 0.2 -w 1 10.0.7.1 9", 3, "100 % lost"},
	} {
		for _, v := range []string{"", "-v "} {
			t.Run(v+c.args, func(t *testing.T) {
				t.Parallel()
				p := startPurr(t, opts{}, strings.Fields(v+c.args)...)
				p.ends(c.status)
				if !strings.Contains(p.out.String()+p.err.String(), c.says) && (v != "" || strings.HasPrefix(c.args, "-zu")) {
					t.Errorf("no %q%s", c.says, p.heard())
				}
				if v == "" && !strings.Contains(c.args, "wait-for") && p.err.String() != "" {
					t.Errorf("said %q", p.err.String())
				}
			})
		}
	}
	t.Run("hosts", func(t *testing.T) { // one answers for both, unless all must be open
		p := startPurr(t, opts{stdin: strings.NewReader("fd00:9::1\n10.0.2.2\n")}, "-z", "-", "81")
		p.ends(4)
	})
}

// twelve are the targets of the table in docs/compared.md: the listener or
// fault there, and purr's expected output.
var twelve = []struct {
	what, host, port string
	says             string
	status           int
}{
	{"DNS server (dnsmasq)", "10.0.2.2", "53", `open .* dns +REFUSED`, 0},
	{"TFTP server (tftpd-hpa)", "10.0.2.2", "69", `open .* tftp .*from port \d+`, 0},
	{"NTP server (chrony)", "10.0.2.2", "123", `open .* ntp +stratum 10`, 0},
	{"SNMP agent (snmpd)", "10.0.2.2", "161", `open .* snmp +engine`, 0},
	{"HTTP/3 server (caddy)", "10.0.2.2", "443", `open .* quic +versions v1`, 0},
	{"bound, never answers", "10.0.2.2", "9000", `no-answer`, 3},
	{"nobody listens", "10.0.2.2", "9999", `closed .* icmp 3/3 port unreachable, from 10\.0\.2\.2`, 1},
	{"router prohibits it", "10.0.9.1", "53", `filtered .* icmp 3/13 .*from 10\.0\.1\.254`, 4},
	{"router has no way", "10.0.8.1", "53", `filtered .* icmp 3/1 .*from 10\.0\.1\.254`, 4},
	{"host is switched off", "10.0.2.77", "53", `filtered .* icmp 3/1 .*from 10\.0\.1\.254`, 4},
	{"dropped silently", "10.0.7.1", "53", `no-answer`, 3},
	{"routing loop", "10.0.6.1", "53", `filtered .* icmp 11/0 ttl exceeded`, 4},
}

// TestTwelveTargets asks the twelve targets of that table. With
// PURR_TEST_COMPARE=1 nc.openbsd, ncat and nmap are asked as well, and the
// table is printed:
//
//	PURR_TEST_COMPARE=1 go test -count=1 -v -run '^TestTwelveTargets$' . |
//		grep '^ *|'
func TestTwelveTargets(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, testkit.Routers)
	startTwelve(t)
	rows := make([]string, len(twelve))
	t.Run("targets", func(t *testing.T) {
		for i, target := range twelve {
			t.Run(target.what, func(t *testing.T) {
				t.Parallel()
				args := []string{"-zu", target.host, target.port}
				if target.status != 3 { // one of the answers comes after three of the usual four seconds
					args = append(args, "-w", "20")
				}
				p := startPurr(t, opts{}, args...)
				p.ends(target.status)
				line := strings.TrimSpace(p.out.String())
				if !regexp.MustCompile(target.says).MatchString(line) {
					t.Errorf("purr says %q, want %q", line, target.says)
				}
				if os.Getenv("PURR_TEST_COMPARE") == "" {
					return
				}
				_, verdict, _ := strings.Cut(line, " ")
				rows[i] = fmt.Sprintf("| %s | %s | %s | %s | %s: %d |", target.what,
					tells(t, `succeeded!`, "nc.openbsd", "-zvu", target.host, target.port),
					tells(t, `Connection refused|TIMEOUT|No route|Host is unreachable|unreachable|sent successfully|\(\d+ bytes? sent|UDP packet sent successfully`, "ncat", "-zvu", target.host, target.port),
					tells(t, `(?m)^\d+/udp +(\S+)`, "nmap", "-sU", "-n", "-Pn", "--reason", "-p", target.port, target.host),
					strings.Join(strings.Fields(verdict), " "), p.status())
			})
		}
	})
	for _, row := range rows {
		if row != "" {
			fmt.Println(row)
		}
	}
}

// tells runs a program and returns the last group of words in its output, with
// its status.
func tells(t *testing.T, words, program string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not installed", program)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	said := "nothing"
	if m := regexp.MustCompile(words).FindStringSubmatch(out.String()); m != nil {
		said = m[len(m)-1]
	}
	t.Logf("%s %s: %v\n%s", program, strings.Join(args, " "), cmd.ProcessState, out.String())
	return fmt.Sprintf("%s: %d", said, cmd.ProcessState.ExitCode())
}

// startTwelve starts the listeners in B, and waits until they listen.
func startTwelve(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "purr-twelve-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	testkit.WriteCert(t, dir)
	for name, text := range map[string]string{
		"chrony.conf": "local stratum 10\nallow 10.0.0.0/8\nport 123\ncmdport 0\npidfile DIR/pid\nbindcmdaddress /\n",
		"snmpd.conf":  "rocommunity public\nagentaddress udp:161\n[snmp] persistentDir DIR\n",
		"Caddyfile":   strings.ReplaceAll(testkit.Caddyfile, "10.9.0.2", "10.0.2.2"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []struct{ pkg, line string }{
		{"dnsmasq-base", "dnsmasq -k -C /dev/null --no-resolv --no-hosts --user=root --pid-file=DIR/dns.pid --bind-interfaces --interface=b0"},
		{"tftpd-hpa", "in.tftpd -L -s -a 10.0.2.2:69 -u root DIR"},
		{"chrony", "chronyd -d -x -U -u root -f DIR/chrony.conf"},
		{"snmpd", "snmpd -f -Lo -C -c DIR/snmpd.conf -p DIR/snmpd.pid"},
		{"caddy", "caddy run --config DIR/Caddyfile --adapter caddyfile"},
		{"", purrPath(t) + " -u -l -k -d 10.0.2.2 9000"},
	} {
		words := strings.Fields(strings.ReplaceAll(s.line, "DIR", dir))
		path, err := exec.LookPath(words[0])
		if err != nil {
			testkit.Missing(t, "the Debian package "+s.pkg+" ("+words[0]+")")
		}
		cmd := exec.Command("ip", append([]string{"netns", "exec", "B", path}, words[1:]...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, runAsPurr+"=1")
		stdin, keep, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = stdin
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stdin.Close()
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); keep.Close() })
	}
	for _, port := range []int{53, 69, 123, 161, 443, 9000} {
		testkit.Eventually(t, fmt.Sprintf("UDP port %d is bound in B", port), func() bool {
			out, _ := exec.Command("ip", "netns", "exec", "B", "cat", "/proc/net/udp", "/proc/net/udp6").Output()
			return strings.Contains(string(out), fmt.Sprintf(":%04X ", port))
		})
	}
	if _, err := net.Dial("udp", "10.0.2.2:9"); err != nil {
		t.Fatal(err)
	}
}
