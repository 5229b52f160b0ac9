package main

import (
	"path/filepath"
	"testing"
	"time"

	"purr/internal/testkit"
)

// lookingUp runs a script in namespaces of its own, in which $1 is /etc/hosts
// and the only name server 127.0.0.1.
func lookingUp(t *testing.T, script string) *process {
	t.Helper()
	rootOnly(t)
	dir := t.TempDir()
	hosts, resolver := filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf")
	testkit.WriteFile(t, hosts, "127.0.0.1 localhost\n")
	testkit.WriteFile(t, resolver, "nameserver 127.0.0.1\n")
	prepare := `ip link set lo up && mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf || exit 99
		`
	return shell(t, opts{}, `exec unshare -m -n sh -c "$1" sh "$2" "$3"`, prepare+script, hosts, resolver)
}

// -w limits the lookup of a name, too.
func TestLookupTimeout(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	p := lookingUp(t, `purr -u -l -k -d --port-file "$1.port" 127.0.0.1 53 >/dev/null 2>&1 & # which never answers
		until [ -s "$1.port" ]; do sleep 0.05; done
		purr -w 1 late.test 80 </dev/null; status=$?; kill $!; exit $status`)
	p.ends(1)
	p.complains(`getaddrinfo for host "late.test" port 80: no answer within 1s`)
	if took := time.Since(begun); took > 6*time.Second { // without a limit it takes 10 s
		t.Errorf("%v", took)
	}
}

// --wait-for finds a name that is added to /etc/hosts meanwhile.
func TestWaitForName(t *testing.T) {
	t.Parallel()
	p := lookingUp(t, `purr -l 127.0.0.1 7777 </dev/null >/dev/null 2>&1 &
		(sleep 0.5; echo 127.0.0.1 late.test >>"$1") &
		exec purr -z --wait-for 3 late.test 7777 </dev/null`)
	p.ends(0)
}

// A name behind -s takes the family that the destination has, over TCP and UDP
// and for -z.
func TestSourceFamily(t *testing.T) {
	t.Parallel()
	needsIPv6(t)
	for _, to := range []string{"127.0.0.1", "::1"} {
		p := lookingUp(t, `printf '127.0.0.1 both.test\n::1 both.test\n' >>"$1"
			purr -l -k -d --port-file "$1.port" `+to+` 7777 >/dev/null 2>&1 &
			until [ -s "$1.port" ]; do sleep 0.05; done
			purr -N -s both.test `+to+` 7777 </dev/null && purr -z -s both.test `+to+` 7777 &&
			echo x | purr -u -w 1 -s both.test `+to+` 7778; status=$?; kill $!; exit $status`)
		p.ends(1) // the refusal of the datagram
		p.complains("Connection refused")
	}
}
