package main

import (
	"regexp"
	"strings"
	"syscall"
	"testing"

	"purr/internal/testkit"
)

// A dialer sends to a group on the interface that is given with it, although
// the routes lead to another one: also under -n, with -s, through -L and in
// JSON, and an echo on the group answers it. What is no interface is an error,
// and a port check, which has none, refuses one.
func TestGroupDialledOnInterface(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, twoLinks+`
	ip addr add 10.9.0.9/24 dev d0
	ip route add 239.0.0.0/8 dev e0`)
	there := startPurr(t, opts{}, "-u", "-l", "-k", "--echo", "239.9.9.9%d0", "0")
	_, port := there.bound()
	other := startPurr(t, opts{}, "-v", "-u", "-l", "-k", "239.9.9.9%e0", port)
	other.waitErr(regexp.MustCompile(`Bound on 239\.9\.9\.9 `))
	for options, said := range map[string]string{
		"-v":          "sending to 239.9.9.9%d0 port " + port + " [udp/",
		"-n":          "",
		"-s 10.9.0.9": "",
		"--json":      `"address":"239.9.9.9","port":` + port,
		"-4":          "",
	} {
		p := startPurr(t, opts{stdin: strings.NewReader("on d0")}, append(words(options), "-u", "-W", "1", "-w", "20", "239.9.9.9%d0", port)...)
		p.ends(0)
		p.printed("on d0")
		if !strings.Contains(p.said(), said) {
			t.Errorf("%s: said %q", options, p.said())
		}
	}
	tunnel := startPurr(t, opts{}, "-u", "-l", "-L", "udp:239.9.9.9%d0:"+port, "127.0.0.1", "0")
	p := startPurr(t, opts{stdin: strings.NewReader("on d0")}, "-u", "-W", "1", "-w", "20", "127.0.0.1", tunnel.port())
	p.ends(0)
	p.printed("on d0")
	for args, words := range map[string]string{
		"-u 239.9.9.9%none ":  "connect to 239.9.9.9%none port " + port + " (udp) failed: No such network interface",
		"-u 239.9.9.9%d1 ":    "connect to 239.9.9.9%d1 port " + port + " (udp) failed: ",
		"-z -u 239.9.9.9%d0 ": "hosts: 239.9.9.9%d0 is a group, and a port check follows the routes: say 239.9.9.9 without %d0",
		"-u -n 10.9.0.9%d0 ":  "option -n looks no names up",
		"-n 239.9.9.9%d0 ":    "option -n looks no names up",
		"-u -6 239.9.9.9%d0 ": "getaddrinfo",
		"-n -l 239.9.9.9%d0 ": "option -n looks no names up",
	} {
		p := startPurr(t, opts{stdin: strings.NewReader("nowhere")}, strings.Fields(args+port)...)
		if status := p.status(); status != 1 && status != 2 {
			t.Errorf("%s: status %d", args, status)
		}
		p.complains(words)
	}
	p = startPurr(t, opts{stdin: strings.NewReader("by the route")}, "-u", "-q", "0", "239.9.9.9", port)
	p.ends(0)
	other.waitOut("by the route")
	other.signal(syscall.SIGTERM)
	other.ends(128 + int(syscall.SIGTERM))
	other.printed("by the route") // and nothing that was meant for d0
}
