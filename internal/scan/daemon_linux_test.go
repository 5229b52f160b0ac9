package scan

import (
	"context"
	"encoding/hex"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/payload"
	"purr/internal/testkit"
)

// A daemon is a real server, from a Debian package, that a payload is asked of.
// It runs in the namespace "far", whose address is 10.9.0.2 on a link to ours.
type daemon struct {
	payload string
	pkg     string            // Debian package
	program string            // path or name
	args    string            // DIR is the test's directory
	files   map[string]string // written into DIR before; DIR is replaced in them
	mkdir   []string          // absolute, or in DIR
	to      string            // default 10.9.0.2 and the payload's port
	secret  string
	fact    string // a regular expression
	from    string // source of the answer, if not the target; "*" is another port
}

// daemons are started one at a time by TestDaemons. Debian 12 packages; the
// daemons in the table of docs/compared.md.
var daemons = []daemon{
	{payload: "dns", pkg: "dnsmasq-base", program: "dnsmasq", fact: `^REFUSED$`,
		args: "-k -C /dev/null --no-resolv --no-hosts --user=root --pid-file=DIR/pid --bind-interfaces --interface=v1"},
	{payload: "dns", pkg: "unbound", program: "unbound", fact: `^(NOERROR|SERVFAIL|REFUSED)`, args: "-d -c DIR/unbound.conf",
		files: map[string]string{"unbound.conf": "server:\n interface: 10.9.0.2\n access-control: 10.0.0.0/8 allow\n chroot: \"\"\n" +
			" username: \"\"\n directory: DIR\n pidfile: DIR/pid\n use-syslog: no\n local-zone: \".\" refuse\nremote-control:\n control-enable: no\n"}},
	{payload: "dns", pkg: "bind9", program: "named", fact: `^(NOERROR|SERVFAIL|REFUSED)`, args: "-g -c DIR/named.conf",
		files: map[string]string{"named.conf": "options { directory \"DIR\"; pid-file none; session-keyfile none; recursion no; dnssec-validation no;\n" +
			" listen-on { 10.9.0.2; }; listen-on-v6 { none; }; };\ncontrols { };\n"}},
	{payload: "ntp", pkg: "chrony", program: "chronyd", fact: `^stratum 10, offset [+-]\d+\.\d+ ms$`,
		args:  "-d -x -U -u root -f DIR/chrony.conf",
		files: map[string]string{"chrony.conf": "local stratum 10\nallow 10.0.0.0/8\nport 123\ncmdport 0\npidfile DIR/pid\nbindcmdaddress /\n"}},
	{payload: "snmp", pkg: "snmpd", program: "snmpd", fact: `^engine 8000[0-9a-f]+, boots \d+, up \S+$`,
		args: "-f -Lo -C -c DIR/snmpd.conf -p DIR/pid", files: snmpdFiles},
	{payload: "snmp2c", pkg: "snmpd", program: "snmpd", fact: `^sysUpTime \S+s$`, args: "-f -Lo -C -c DIR/snmpd.conf -p DIR/pid", files: snmpdFiles},
	{payload: "sip", pkg: "sip-tester", program: "sipp", fact: `^200 OK$`, args: "-sn uas -aa -i 10.9.0.2 -p 5060 -nostdin"},
	{payload: "tftp", pkg: "tftpd-hpa", program: "in.tftpd", fact: `^error 1 "File not found"$`, args: "-L -s -a 10.9.0.2:69 -u root DIR",
		from: "*"},
	{payload: "stun", pkg: "coturn", program: "turnserver", fact: `^public address 10\.9\.0\.1:\d+$`,
		args: "-S -n -L 10.9.0.2 -p 3478 --no-cli --no-tls --no-dtls --log-file stdout --pidfile DIR/pid"},
	{payload: "memcached", pkg: "memcached", program: "memcached", fact: `^VERSION \d`, args: "-u root -l 10.9.0.2 -p 0 -U 11211"},
	{payload: "rpcbind", pkg: "rpcbind", program: "rpcbind", fact: `^SUCCESS$`, args: "-f -w", mkdir: []string{"/run/rpcbind"}},
	{payload: "coap", pkg: "libcoap3-bin", program: "coap-server-notls", fact: `^reset$`, args: "-A 10.9.0.2 -p 5683"},
	{payload: "dtls", pkg: "gnutls-bin", program: "gnutls-serv", fact: `^HelloVerifyRequest$`, to: "10.9.0.2:4433",
		args: "--udp -p 4433 --x509keyfile DIR/key.pem --x509certfile DIR/cert.pem"},
	{payload: "dtls", pkg: "openssl", program: "openssl", fact: `^HelloVerifyRequest$`, to: "10.9.0.2:4434",
		args: "s_server -dtls -listen -accept 10.9.0.2:4434 -key DIR/key.pem -cert DIR/cert.pem"},
	{payload: "radius", pkg: "freeradius", program: "freeradius", fact: `^Access-Accept$`, secret: "testing123", args: "-f -l stdout -d DIR/raddb"},
	{payload: "quic", pkg: "caddy", program: "caddy", fact: `^versions v1\b`, args: "run --config DIR/Caddyfile --adapter caddyfile",
		files: map[string]string{"Caddyfile": testkit.Caddyfile}},
	{payload: "openvpn", pkg: "openvpn", program: "openvpn", fact: `^server reset, no tls-auth$`,
		args: "--mode server --tls-server --dev tun --dev-type tun --proto udp --lport 1194 --local 10.9.0.2 --ca DIR/cert.pem --cert DIR/cert.pem " +
			"--key DIR/key.pem --dh none --verb 3 --ifconfig-noexec --topology subnet"},
	{payload: "mumble", pkg: "mumble-server", program: "murmurd", fact: `^version \d+\.\d+\.\d+, 0/\d+ users$`, args: "-fg -ini DIR/mumble.ini",
		files: map[string]string{"mumble.ini": "database=DIR/mumble.sqlite\nport=64738\nlogfile=\nice=\nuname=root\n"}},
	{payload: "ssdp", pkg: "minidlna", program: "minidlnad", to: "239.255.255.250:1900", fact: `MiniDLNA`, from: "10.9.0.2",
		args: "-S -f DIR/dlna.conf -P DIR/pid", mkdir: []string{"media", "dlna"},
		files: map[string]string{"dlna.conf": "network_interface=v1\nport=8200\nmedia_dir=DIR/media\ndb_dir=DIR/dlna\nlog_dir=DIR/dlna\nnotify_interval=60\ninotify=no\n"}},
	{payload: "netbios", pkg: "samba", program: "nmbd", fact: `^LABHOST, \d+ names, mac `, args: "-F --no-process-group --debug-stdout -s DIR/smb.conf",
		mkdir: []string{"smb", "/run/samba"}, files: map[string]string{"smb.conf": "[global]\nnetbios name = LABHOST\nworkgroup = LAB\ninterfaces = 10.9.0.2/24\n" +
			"bind interfaces only = no\nprivate dir = DIR/smb\nlock directory=DIR/smb\nstate directory=DIR/smb\ncache directory=DIR/smb\n" +
			"pid directory=DIR/smb\nlog file=DIR/smb/log\n"}},
	{payload: "nat-pmp", pkg: "miniupnpd", program: "miniupnpd", fact: `^external address 1\.2\.3\.4, up \d+s$`, args: "-d -f DIR/upnp.conf", files: upnpFiles},
	{payload: "ssdp", pkg: "miniupnpd", program: "miniupnpd", fact: `MiniUPnPd`, args: "-d -f DIR/upnp.conf", files: upnpFiles},
	{payload: "mdns", pkg: "avahi-daemon", program: "avahi-daemon", fact: `^service types: [1-9]`,
		args: "-f DIR/avahi.conf --no-drop-root --no-chroot --no-rlimits", mkdir: []string{"/run/avahi-daemon"},
		files: map[string]string{"avahi.conf": "[server]\nuse-ipv6=no\nallow-interfaces=v1\nenable-dbus=no\ndisallow-other-stacks=no\n" +
			"[publish]\npublish-workstation=yes\npublish-hinfo=yes\n"}},
	{payload: "ike", pkg: "strongswan-charon", program: "/usr/lib/ipsec/charon", fact: `^NO_PROPOSAL_CHOSEN$`},
	{payload: "ike-nat", pkg: "strongswan-charon", program: "/usr/lib/ipsec/charon", fact: `^NO_PROPOSAL_CHOSEN$`},
	{payload: "echo", pkg: "openbsd-inetd", program: "inetd", fact: `^same bytes$`, args: "-i DIR/inetd.conf",
		files: map[string]string{"inetd.conf": "echo dgram udp wait root internal\n"}},
	{payload: "ipmi", pkg: "openipmi", program: "ipmi_sim", fact: `^IPMI supported$`, args: "-n -c DIR/lan.conf -f DIR/ipmi.emu -s DIR",
		files: map[string]string{"lan.conf": "name \"purr\"\nset_working_mc 0x20\n startlan 1\n  addr 10.9.0.2 623\n  priv_limit admin\n  allowed_auths_admin none md5\n" +
			" endlan\n user 1 true \"\" \"test\" user 10 none md5\n", "ipmi.emu": "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n"}},
}

var snmpdFiles = map[string]string{"snmpd.conf": "rocommunity public\nagentaddress udp:161\n[snmp] persistentDir DIR\n"}

var upnpFiles = map[string]string{"upnp.conf": "ext_ifname=x0\next_ip=1.2.3.4\nlistening_ip=v1\nenable_natpmp=yes\nenable_upnp=yes\n" +
	"uuid=00000000-0000-0000-0000-000000000001\n"}

// TestDaemons asks real servers. With PURR_TEST_RECORD=DIR it also writes each
// request and reply there, in hex.
func TestDaemons(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, `
		ip netns add far
		ip link add v0 type veth peer name v1 netns far
		ip addr add 10.9.0.1/24 dev v0
		ip link set v0 up
		ip route add 224.0.0.0/4 dev v0
		ip -n far link set lo up
		ip netns exec far sysctl -qw net.ipv4.icmp_ratemask=0
		ip -n far addr add 10.9.0.2/24 dev v1
		ip -n far link set v1 up
		ip -n far route add default via 10.9.0.1
		ip -n far link add x0 type veth peer name x1
		ip -n far addr add 1.2.3.4/24 dev x0
		ip -n far link set x0 up`)
	for _, d := range daemons {
		name := d.payload + "/" + d.pkg
		t.Run(name, func(t *testing.T) { d.ask(t) })
	}
}

// ask starts the daemon and asks it until it answers.
func (d *daemon) ask(t *testing.T) {
	path, err := exec.LookPath(d.program)
	if err != nil {
		testkit.Missing(t, "the Debian package "+d.pkg+" ("+d.program+")")
	}
	dir := d.prepare(t)
	fill := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	stdin, keep, err := os.Pipe() // some end with their stdin
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	cmd := exec.Command("ip", append([]string{"netns", "exec", "far", path}, strings.Fields(fill(d.args))...)...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, stdin, log, log
	cmd.Env = append(os.Environ(), "HOME="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	to := d.to
	p := payload.ByName(d.payload)
	if to == "" {
		to = netip.AddrPortFrom(netip.MustParseAddr("10.9.0.2"), p.Ports[0]).String()
	}
	o := UDPOptions{Secret: []byte(d.secret), Sends: []time.Duration{0}, Wait: 500 * time.Millisecond}
	if strings.HasPrefix(to, "239.") { // the answers to a multicast search are spread over a second
		o.Wait = 1200 * time.Millisecond
	}
	if err := o.Payload.Set(d.payload); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var r *Result
	for r == nil || r.State != Open && ctx.Err() == nil {
		start := time.Now()
		r = askOne(t, netip.MustParseAddrPort(to), o)
		if r.State != Open {
			time.Sleep(max(0, 50*time.Millisecond-time.Since(start))) // closed is known at once
		}
	}
	u := r.UDP
	t.Logf("%s asked %d bytes, answered %d: %s", d.pkg, len(p.Build(&payload.Target{Addr: r.Addr})), len(r.Reply), brief(r))
	if r.State != Open || u.Payload != d.payload || !regexp.MustCompile(d.fact).MatchString(u.Fact) {
		out, _ := os.ReadFile(log.Name())
		t.Fatalf("fact %q, want %s\n%s", u.Fact, d.fact, out[max(0, len(out)-2000):])
	}
	if d.from == "*" && u.From.Port() == r.Addr.Port() || d.from != "" && d.from != "*" && u.From.Addr().String() != d.from {
		t.Errorf("answer from %v, want %s", u.From, d.from)
	}
	if record := os.Getenv("PURR_TEST_RECORD"); record != "" {
		os.WriteFile(filepath.Join(record, d.payload+"-"+d.pkg+".hex"), []byte(hex.EncodeToString(u.Request)+"\n"+hex.EncodeToString(r.Reply)+"\n"), 0o644)
	}
}

// prepare makes the daemon's directory.
func (d *daemon) prepare(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "purr-daemon-") // t.TempDir's path is too long for some
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	for _, m := range d.mkdir {
		if !filepath.IsAbs(m) {
			m = filepath.Join(dir, m)
		}
		if err := os.MkdirAll(m, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range d.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(content, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(d.args, "DIR/cert.pem") || strings.Contains(d.files["Caddyfile"], "cert.pem") {
		testkit.WriteCert(t, dir)
	}
	if d.pkg == "freeradius" {
		testkit.MustRun(t, "cp -r /etc/freeradius/3.0 "+dir+"/raddb")
		testkit.MustRun(t, "mkdir -p /run/freeradius")
		clients, _ := os.ReadFile(dir + "/raddb/clients.conf")
		os.WriteFile(dir+"/raddb/clients.conf", append(clients, "client lab {\n ipaddr = 10.0.0.0/8\n secret = testing123\n}\n"...), 0o644)
		conf, _ := os.ReadFile(dir + "/raddb/radiusd.conf")
		os.WriteFile(dir+"/raddb/radiusd.conf", regexp.MustCompile(`(?m)^\t(user|group) = freerad`).ReplaceAll(conf, []byte("#")), 0o644)
	}
	return dir
}
