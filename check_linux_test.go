package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/payload"
	"purr/internal/testkit"
)

// listenTCP returns the address of a listener on loopback that sends greeting
// over every connection.
func listenTCP(t *testing.T, greeting string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if greeting != "" {
				c.Write([]byte(greeting))
			}
			go func() {
				c.Read(make([]byte, 1))
				c.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// openPorts listens on n ports of 127.0.0.1 and accepts all connections.
func openPorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		ports = append(ports, fmt.Sprint(listenTCP(t, "").Port()))
	}
	return ports
}

// The status of -z, which is silent without -v.
func TestCheckStatus(t *testing.T) {
	t.Parallel()
	open, closed := openPorts(t, 2), closedPorts(t, 2)
	for _, c := range []struct {
		args   string
		status int
	}{
		{"-z 127.0.0.1 " + open[0], 0},
		{"-z 127.0.0.1:" + open[0], 0},
		{"-z 127.0.0.1 " + closed[0], 1},
		{"-z 127.0.0.1 " + closed[0] + " " + open[0], 0},
		{"-z --any 127.0.0.1 " + closed[0] + "," + open[0], 0},
		{"-z --all 127.0.0.1 " + closed[0] + "," + open[0], 1},
		{"-z --all 127.0.0.1 " + open[0] + "," + open[1], 0},
		{"-z -r --parallel 1 127.0.0.1 " + closed[0] + "," + open[0], 0},
		{"-zw1 127.0.0.1 " + open[0], 0},
		{"-z -n -d -N -q 0 127.0.0.1 " + open[0], 0},
		{"-z -i 0.01 127.0.0.1 " + closed[0] + " " + open[0], 0},
		{"-z -s 127.0.0.1 127.0.0.1 " + open[0], 0},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, strings.Fields(c.args)...)
			p.ends(c.status)
			p.printed("")
			p.quiet()
		})
	}
}

// With -v the lines and their order are nc.openbsd's, and so is the status.
func TestCheckLikeNC(t *testing.T) {
	t.Parallel()
	nc := testkit.Program(t, "nc.openbsd", "netcat-openbsd")
	open, closed := openPorts(t, 2), closedPorts(t, 2)
	for _, args := range []string{
		"-zv 127.0.0.1 " + open[0],
		"-zv 127.0.0.1 " + closed[0],
		"-z 127.0.0.1 " + closed[0],
		"-zv 127.0.0.1 " + open[1] + " " + closed[1] + " " + open[0],
		"-zvn 127.0.0.1 " + open[0] + " " + closed[0],
		"-zv -4 localhost " + closed[0] + " " + open[0],
		"-zv -w 1 localhost " + open[0],
		"-vz -w1 -- 127.0.0.1 " + open[0],
		"-zv 127.0.0.1 1-20",
		"-zv no..such 80",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			theirs := start(t, opts{}, nc, strings.Fields(args)...)
			want := theirs.status()
			ours := startPurr(t, opts{}, strings.Fields(args)...)
			ours.ends(want)
			said := strings.ReplaceAll(theirs.err.String(), "nc.openbsd: ", "purr: ")
			said = strings.ReplaceAll(said, nc+": ", "purr: ")
			if got := ours.err.String(); got != said {
				t.Errorf("nc says\n%spurr says\n%s", said, got)
			}
		})
	}
}

// Each port has one object, in the order of the command line.
func TestCheckJSON(t *testing.T) {
	t.Parallel()
	open, closed := openPorts(t, 1), closedPorts(t, 1)
	p := startPurr(t, opts{}, "-z", "--json", "-r", "localhost", closed[0], open[0], closed[0]+","+open[0], "1-3")
	p.ends(0)
	p.quiet()
	want := []string{closed[0] + " closed", open[0] + " open", "1 closed", "2 closed", "3 closed"}
	var got []string
	for line := range strings.Lines(p.out.String()) {
		var o struct {
			V     int
			Host  string
			Port  int
			State string
		}
		if err := json.Unmarshal([]byte(line), &o); err != nil || o.V != 1 || o.Host != "localhost" {
			t.Fatalf("%s: %v", line, err)
		}
		got = append(got, fmt.Sprint(o.Port, " ", o.State))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	p = startPurr(t, opts{}, "-z", "--json", "no..such", "80")
	p.ends(1)
	p.printed(`{"v":1,"host":"no..such","port":80,"protocol":"tcp","state":"local-error","rtt_us":null,"error":"getaddrinfo for host \"no..such\" port 80: Name or service not known"}` + "\n")
	p = startPurr(t, opts{}, "-zu", "--json", "-w", "0.2", "no..such", "53")
	p.ends(1)
	if o := map[string]any{}; json.Unmarshal([]byte(p.out.String()), &o) != nil || o["state"] != "local-error" || o["address"] != nil {
		t.Errorf("%s", p.out.String())
	}
}

// Each ping has one object, and their sums.
func TestPingJSON(t *testing.T) {
	t.Parallel()
	echo := startPurr(t, opts{}, "-v", "-u", "-l", "-k", "--echo", "127.0.0.1", "0")
	p := startPurr(t, opts{}, "-zu", "-c", "2", "-i", "0.01", "--json", "127.0.0.1", echo.port())
	p.ends(0)
	p.quiet()
	head := regexp.QuoteMeta(`{"v":1,"host":"127.0.0.1","port":` + echo.port() + `,"protocol":"udp","event":`)
	want := `^` + head + `"answer","seq":1,"rtt_us":\d+,"clock":"\w+".*\}\n` + head + `"answer","seq":2,.*\}\n` +
		head + `"summary","payload":"echo","sent":2,"answered":2,"lost":0,.*"directions":\{"first":2,"lost_there":0,"lost_back":0\}\}\n$`
	if !regexp.MustCompile(want).MatchString(p.out.String()) {
		t.Errorf("%s", p.out.String())
	}
	for line := range strings.Lines(p.out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

// A banner cannot act on the terminal.
func TestCheckBanner(t *testing.T) {
	t.Parallel()
	port := fmt.Sprint(listenTCP(t, "220 cats\x1b[2J\r\n").Port())
	p := startPurr(t, opts{}, "-z", "--banner", "-w", "20", "127.0.0.1", port, closedPorts(t, 1)[0])
	p.ends(0)
	p.printed("127.0.0.1 " + port + `: 220 cats\x1b[2J\r\n` + "\n")
	p.quiet()
	p = startPurr(t, opts{stdout: devFull(t)}, "-z", "--banner", "127.0.0.1", port)
	p.ends(1)
	p.complains("write to stdout", "no space left")
}

func devFull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		testkit.NotHere(t, "/dev/full")
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Hosts come from stdin and from a file.
func TestCheckHosts(t *testing.T) {
	t.Parallel()
	port := openPorts(t, 1)[0]
	list := "# machines\n127.0.0.1\n\n localhost # again\n127.0.0.1\n"
	want := "Connection to 127.0.0.1 " + port + " port [tcp/*] succeeded!\n" +
		"Connection to localhost (127.0.0.1) " + port + " port [tcp/*] succeeded!\n"
	for _, host := range []string{"-", "@" + testkit.TempFile(t, list)} {
		p := startPurr(t, opts{stdin: strings.NewReader(list)}, "-z4v", "--all", host, port)
		p.ends(0)
		if got := p.err.String(); regexp.MustCompile(`\[tcp/[^]]*\]`).ReplaceAllString(got, "[tcp/*]") != want {
			t.Errorf("%s: said %q", host, got)
		}
	}
	p := startPurr(t, opts{stdin: strings.NewReader("no..such\n127.0.0.1\n")}, "-z", "-", port, "1")
	p.ends(0)
	p.complains("no..such")
	p = startPurr(t, opts{}, "-z", "-", port)
	p.ends(1)
	p.complains("hosts on stdin", "none")
	for _, c := range []struct{ host, said string }{{"@/nonexistent", "no such file"}, {"@" + testkit.TempFile(t, "a b\n"), "one host per line"}, {"@/dev/null", "none"}} {
		p := startPurr(t, opts{}, "-z", c.host, port)
		p.ends(2)
		p.complains(c.said)
	}
}

// -zu prints "open" only for a port that answered. The status is the same with
// and without -v.
func TestCheckUDP(t *testing.T) {
	t.Parallel()
	echo := startPurr(t, opts{stdout: devNull(t)}, "-u", "-l", "-k", "--echo", "127.0.0.1", "0")
	_, open := echo.bound()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	mute, closed := portOf(t, silent.LocalAddr()), freePort(t, "udp")
	for _, c := range []struct {
		args   string
		status int
		line   string
	}{
		{"127.0.0.1 " + open, 0, `^127\.0\.0\.1:\d+/udp +open +\d`},
		{"localhost " + open, 0, `^127\.0\.0\.1:\d+/udp +open +\d`},
		{"127.0.0.1 " + closed, 1, `^127\.0\.0\.1:\d+/udp +closed +\d`},
		{"-w 0.3 127.0.0.1 " + mute, 3, `^127\.0\.0\.1:\d+/udp +no-answer +\d\.\d s `},
		{"-w 1 127.0.0.1 " + mute + "," + open, 3, `no-answer.*\n.*open`},
		{"-w 1 --any 127.0.0.1 " + mute + "," + open, 0, `no-answer.*\n.*open`},
		{"--payload text:hello --expect regex:^hello$ 127.0.0.1 " + open, 0, `open .*hello`},
		{"--payload hex:00ff --expect prefix-hex:01 127.0.0.1 " + open, 5, `open .*not as expected`},
		{"--payload - 127.0.0.1 " + open, 0, `open .*from stdin`},
	} {
		for _, v := range []string{"", "-v "} {
			t.Run(v+c.args, func(t *testing.T) {
				t.Parallel()
				p := startPurr(t, opts{stdin: strings.NewReader("from stdin")}, strings.Fields("-zu "+v+c.args)...)
				p.ends(c.status)
				if !regexp.MustCompile(c.line).MatchString(p.out.String()) {
					t.Errorf("stdout %q, want %s", p.out.String(), c.line)
				}
				succeeded := strings.Count(p.err.String(), "port [udp/")
				if want := len(regexp.MustCompile(`/udp +open `).FindAllString(p.out.String(), -1)); v != "" && c.status != 5 && succeeded != want || (v == "" || c.status == 5) && succeeded != 0 {
					t.Errorf("said %q", p.err.String())
				}
			})
		}
	}
}

func devNull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Pings of an echo are counted there; --max-loss and Ctrl-C.
func TestCheckPing(t *testing.T) {
	t.Parallel()
	echo := startPurr(t, opts{}, "-u", "-l", "-k", "--echo", "127.0.0.1", "0")
	_, port := echo.bound()
	p := startPurr(t, opts{}, "-zu", "-c", "4", "-i", "0.05", "127.0.0.1", port)
	p.ends(0)
	p.quiet()
	if !regexp.MustCompile(`(?s)^seq=1 .*seq=4 .*\n4 sent, 4 answered, 0 % lost, 0 duplicate, 0 late, 0 reordered; rtt .*\nof the first 4: 0 lost on the way there, 0 on the way back\n$`).MatchString(p.out.String()) {
		t.Errorf("printed %q", p.out.String())
	}
	echo.waitOut(`00000004 00000000`) // the copy is as received, its count still zero
	p = startPurr(t, opts{}, "-zu", "-c", "0", "-i", "0.05", "localhost", port)
	p.waitOut(`seq=2 `)
	p.signal(syscall.SIGINT)
	p.endsWithin(130, testkit.Promptly()+time.Second)
	if !strings.Contains(p.out.String(), " lost, ") {
		t.Errorf("no sums after Ctrl-C: %q", p.out.String())
	}
	p = startPurr(t, opts{}, "-zu", "-c", "2", "-i", "0.05", "-w", "0.2", "127.0.0.1", freePort(t, "udp"))
	p.ends(1)
}

// --max-loss turns lost pings into status 1.
func TestCheckPingLoss(t *testing.T) {
	t.Parallel()
	for loss, status := range map[string]int{"60%": 0, "10": 1} {
		t.Run(loss, func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, "-zu", "-c", "4", "-i", "0.02", "-w", "1", "--max-loss", loss, "127.0.0.1", lossyPort(t))
			p.ends(status)
			if !regexp.MustCompile(`50 % lost.*\nof the first [34]: 0 lost on the way there, [12] on the way back`).MatchString(p.out.String()) {
				t.Errorf("printed %q", p.out.String())
			}
		})
	}
}

// lossyPort is a UDP port that counts pings and answers every other one.
func lossyPort(t *testing.T) string {
	t.Helper()
	lossy, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lossy.Close() })
	go func() {
		b := make([]byte, 1500)
		var c payload.PingCounter
		for i := 0; ; i++ {
			n, from, err := lossy.ReadFrom(b)
			if err != nil {
				return
			}
			if c.Stamp(from.(*net.UDPAddr).AddrPort(), b[:n]); i%2 == 0 {
				lossy.WriteTo(b[:n], from)
			}
		}
	}()
	return portOf(t, lossy.LocalAddr())
}

// Ctrl-C ends a scan at once.
func TestCheckInterrupted(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"-z --banner -w 60 127.0.0.1 TCP",
		"-zu -w 60 127.0.0.1 UDP",
		"-zu -w 60 127.0.0.1 UDP " + silentPort(t),
		"-zu --wait-for 60 127.0.0.1 UDP",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer tcp.Close()
			udp, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer udp.Close()
			args := strings.NewReplacer("TCP", portOf(t, tcp.Addr()), "UDP", portOf(t, udp.LocalAddr())).Replace(args)
			p := startPurr(t, opts{}, strings.Fields(args)...)
			if strings.HasPrefix(args, "-zu") {
				_, _, err = udp.ReadFrom(make([]byte, 1500))
			} else {
				var c net.Conn
				if c, err = tcp.Accept(); err == nil {
					defer c.Close()
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			p.signal(syscall.SIGINT)
			p.endsWithin(130, testkit.Promptly())
			p.quiet()
			p.printed("")
		})
	}
}

// silentPort is a UDP port that is bound and never answers.
func silentPort(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return portOf(t, c.LocalAddr())
}

// A Unix socket is there, dead, or absent.
func TestCheckUnix(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.SocketDir(t), "s")
	p := startPurr(t, opts{}, "-z", "-U", path)
	p.ends(1)
	p.quiet()
	p = startPurr(t, opts{}, "-zv", "-U", path)
	p.ends(1)
	p.complains(path, "No such file")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	startPurr(t, opts{}, "-z", "-U", path).ends(0)
}

// Each illegal combination is an error before anything is opened.
func TestCheckConflicts(t *testing.T) {
	t.Parallel()
	for args, word := range map[string]string{
		"-z":                                  "no host and port",
		"-z -l 9000":                          "-l",
		"-z -u -U x":                          "-U",
		"-z --echo h 1":                       "--echo",
		"-z --send-file go.mod h 1":           "--payload",
		"-z --interactive h 1":                "--interactive",
		"-z -W 1 h 1":                         "-W",
		"-z --idle-timeout 1 h 1":             "--idle-timeout",
		"-z -T ef h 1":                        "-T",
		"-z --all --any h 1":                  "--any",
		"--all h 1":                           "--all",
		"--banner h 1":                        "--banner",
		"-zu --banner h 1":                    "--banner",
		"-z --json -U path":                   "--json",
		"--parallel 2 h 1":                    "--parallel",
		"-z --payload dns h 1":                "--payload",
		"-z --expect dns h 1":                 "--expect",
		"-z --rate 5 h 1":                     "--rate",
		"-zu --rate 5k h 1":                   "datagrams a second",
		"-zu --rate 1000001 h 1":              "datagrams a second",
		"-z --progress h 1":                   "--progress",
		"-z --quiet h 1":                      "--quiet",
		"-z --thorough h 1":                   "--thorough",
		"-z --secret-file go.mod h 1":         "--secret-file",
		"-zu --secret-file /nonexistent h 1":  "no such file",
		"-zu --secret-file /dev/null h 1":     "no secret",
		"-zu --payload nosuch h 1":            "nosuch",
		"-zu --expect nosuch h 1":             "nosuch",
		"-zu -i 1 h 1":                        "--rate",
		"-z -c 3 h 1":                         "-c counts pings",
		"--count 3 h 1":                       "--count needs -z -u",
		"--lua-exec ls h 1":                   "Lua is not built in",
		"-zu -c ls h 1":                       "invalid",
		"-zu -c 3 h 1 2":                      "one port",
		"-zu -c 3 - 1":                        "one host",
		"-zu --max-loss 5% h 1":               "--max-loss",
		"-zu -c 3 --max-loss 500 h 1":         "500",
		"-zu --payload - - 1":                 "stdin",
		"--wait-for 1 -l 9000":                "--accept-timeout",
		"--wait-for 1 -u h 1":                 "-zu",
		"--wait-for 1 -- h 1":                 "nobody to wait for",
		"--wait-for 1 h 1 -- /nonexistent/x":  "no such file",
		"--ready-fd 3 h 1":                    "--ready-fd",
		"--ready-fd 1 -l 0":                   "too small",
		"--port-file x h 1":                   "--port-file",
		"--list-payloads h 1":                 "--list-payloads",
		"-l --port-file /dev/null 0":          "regular file",
		"-l --port-file /nonexistent/f 0":     "no such file",
		"-l --ready-fd 987 0":                 "not open",
		"-z nosuch 1-":                        "port number",
		"-z --parallel 0 h 1":                 "too small",
		"-z --wait-for 5 -c 1 -u h 1":         "-c",
		"-z --payload text:x --wait-for 1 h1": "--payload",
	} {
		p := startPurr(t, opts{}, strings.Fields(args)...)
		p.ends(2)
		p.complains(word)
		p.printed("")
	}
}

func TestListPayloads(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "--list-payloads")
	p.ends(0)
	if lines := strings.Split(p.out.String(), "\n"); len(lines) < 20 || !strings.HasPrefix(lines[0], "dns ") {
		t.Errorf("%q", p.out.String())
	}
}

// An error of this machine is printed even without -v, once.
func TestCheckLocalError(t *testing.T) {
	t.Parallel()
	ports := closedPorts(t, 2)
	p := startPurr(t, opts{}, "-z", "-s", "203.0.113.9", "127.0.0.1", ports[0], ports[1])
	p.ends(1)
	p.complains("127.0.0.1 port "+ports[0], "Cannot assign requested address")
	p = startPurr(t, opts{}, "-z", "-s", "::1", "127.0.0.1", ports[0])
	p.ends(1)
	p.complains("from ::1", "Address family")
}
