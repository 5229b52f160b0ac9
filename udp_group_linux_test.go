package main

import (
	"regexp"
	"strings"
	"syscall"
	"testing"

	"purr/internal/testkit"
)

// twoLinks makes the interfaces d0 and e0.
const twoLinks = `
	ip link add d0 type veth peer name d1
	ip link add e0 type veth peer name e1
	ip addr add 10.9.0.1/24 dev d0
	ip addr add 10.8.0.1/24 dev e0
	ip link set d0 up
	ip link set d1 up
	ip link set e0 up
	ip link set e1 up`

// A listener on a group with an interface hears what arrives there, also under
// -n; an interface that does not exist is an error.
func TestGroupOnInterface(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, twoLinks)
	there := startPurr(t, opts{}, "-v", "-u", "-l", "239.9.9.9%d0", "0")
	_, port := there.bound()
	here := startPurr(t, opts{}, "-v", "-n", "-u", "-l", "239.9.9.9%e0:"+port)
	here.waitErr(regexp.MustCompile(`Bound on 239\.9\.9\.9 `))
	for _, from := range []string{"10.9.0.1", "10.8.0.1"} {
		p := startPurr(t, opts{stdin: strings.NewReader("from " + from)}, "-u", "-q", "0", "-s", from, "239.9.9.9", port)
		p.ends(0)
	}
	for p, from := range map[*process]string{there: "10.9.0.1", here: "10.8.0.1"} {
		p.waitOut("from " + from)
		p.signal(syscall.SIGTERM)
		p.ends(128 + int(syscall.SIGTERM))
		p.printed("from " + from)
	}
	p := startPurr(t, opts{}, "-u", "-l", "239.9.9.9%none", port)
	p.ends(1)
	p.complains("bind to 239.9.9.9%none " + port + ": no such network interface")
}
