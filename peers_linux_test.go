package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// purr and the other netcats, each on both ends.

// A netcat holds another program's command lines for purr's features. PORT,
// PATH and the rest of a command are words for the shell.
type netcat struct {
	program, pkg string
	// Sends stdin to a listener and ends by itself.
	dialSend string
	// Receives to stdout from a listener and ends by itself; stdin is /dev/null.
	dialReceive string
	// Serve one client, in either direction.
	listenSend, listenReceive string
	// Sends a line and prints the answer.
	ask string
}

// The flags are those that make each of them end by itself.
var netcats = []netcat{
	{
		program: "nc.openbsd", pkg: "netcat-openbsd",
		dialSend: "-N 127.0.0.1 PORT", dialReceive: "-d 127.0.0.1 PORT",
		listenSend: "-N -l 127.0.0.1 PORT", listenReceive: "-l 127.0.0.1 PORT", ask: "-N 127.0.0.1 PORT",
	},
	{
		program: "nc.traditional", pkg: "netcat-traditional",
		dialSend: "-q 0 127.0.0.1 PORT", dialReceive: "127.0.0.1 PORT",
		listenSend: "-q 0 -l -s 127.0.0.1 -p PORT", listenReceive: "-l -s 127.0.0.1 -p PORT", ask: "-q 30 127.0.0.1 PORT",
	},
	{
		program: "ncat", pkg: "ncat",
		dialSend: "127.0.0.1 PORT", dialReceive: "--recv-only 127.0.0.1 PORT",
		listenSend: "-l --send-only 127.0.0.1 PORT", listenReceive: "-l 127.0.0.1 PORT", ask: "127.0.0.1 PORT",
	},
	{
		program: "socat", pkg: "socat",
		dialSend: "-u - TCP:127.0.0.1:PORT", dialReceive: "-u TCP:127.0.0.1:PORT -",
		listenSend: "-u - TCP-LISTEN:PORT,bind=127.0.0.1", listenReceive: "-u TCP-LISTEN:PORT,bind=127.0.0.1 -", ask: "-t 30 - TCP:127.0.0.1:PORT",
	},
	{
		program: "busybox", pkg: "busybox",
		dialSend: "nc 127.0.0.1 PORT", dialReceive: "nc 127.0.0.1 PORT",
		listenSend: "nc -l -p PORT 127.0.0.1", listenReceive: "nc -l -p PORT 127.0.0.1", ask: "nc 127.0.0.1 PORT",
	},
	{
		program:  "purr",
		dialSend: "127.0.0.1 PORT", dialReceive: "127.0.0.1 PORT",
		listenSend: "-l 127.0.0.1 PORT", listenReceive: "-l 127.0.0.1 PORT", ask: "127.0.0.1 PORT",
	},
}

// command is the shell's words for one of a netcat's jobs.
func (n netcat) command(t testing.TB, words, port string) string {
	t.Helper()
	if n.program != "purr" {
		testkit.Program(t, n.program, n.pkg)
	}
	return n.program + " " + strings.ReplaceAll(words, "PORT", port)
}

// oddTree makes a tree of a few megabytes: names with everything in them,
// links, modes, empty files, a file that is larger than all buffers.
func oddTree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	random := rand.New(rand.NewPCG(1, 2))
	write := func(name string, size int) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		if err := os.WriteFile(path, b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{
		"plain", "with space", " leading", "trailing ", "-rf", "--help", "new\nline", "tab\there", "quote'\"`$(x)",
		"back\\slash", "ümläut-ß-é", "\xff\xfe not utf-8", "*", "?", "[a]", "#", "~", ".hidden", "..dots", strings.Repeat("long", 60),
	} {
		write(name, i*997)
		write(filepath.Join("sub", name, name), i)
	}
	for i := range 200 {
		write(fmt.Sprintf("many/%d/%d", i%7, i), i*31)
	}
	write("empty", 0)
	write("big", 3<<20)
	if err := os.Symlink("plain", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "plain"), filepath.Join(dir, "hard")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The main job: tar c DIR | X into Y | tar x, with purr on one end or both and
// every netcat on the other. The tree is the same, and both ends end by
// themselves with status 0.
func TestMoveTree(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "tar", "tar")
	tree := oddTree(t)
	for _, peer := range netcats {
		self := netcats[len(netcats)-1]
		jobs := []struct {
			name          string
			listener      netcat
			listens       string
			dialler       netcat
			dials         string
			listenerSends bool
		}{
			{"purr dials to " + peer.program, peer, peer.listenReceive, self, self.dialSend, false},
			{peer.program + " dials to purr", self, self.listenReceive, peer, peer.dialSend, false},
			{"purr listens and sends to " + peer.program, self, self.listenSend, peer, peer.dialReceive, true},
			// -d: a stock listener loses what it has not sent when its client
			// half-closes, as one with nothing to send does at once.
			{peer.program + " listens and sends to purr", peer, peer.listenSend, self, "-d " + self.dialReceive, true},
		}
		for _, j := range jobs {
			t.Run(j.name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				port := freePort(t, "tcp")
				// A pipeline's status is its last command's; each netcat's own
				// goes into a file. tar ends at the archive's end mark, and need
				// not have read what pads it.
				send := func(c string) string { return `tar c -C "$1" . | { ` + c + `; echo $? >"$2/sent"; }` }
				receive := func(c string) string {
					return `{ ` + c + ` </dev/null; echo $? >"$2/received"; } | { tar x -C "$2/copy" && cat >/dev/null; }`
				}
				if err := os.Mkdir(filepath.Join(dir, "copy"), 0o755); err != nil {
					t.Fatal(err)
				}
				listens, dials := receive(j.listener.command(t, j.listens, port)), send(j.dialler.command(t, j.dials, port))
				if j.listenerSends {
					listens, dials = send(j.listener.command(t, j.listens, port)), receive(j.dialler.command(t, j.dials, port))
				}
				listener := shell(t, opts{}, listens, tree, dir)
				awaitPort(t, "tcp", port)
				dialler := shell(t, opts{}, dials, tree, dir)
				dialler.ends(0)
				listener.ends(0)
				for _, end := range []string{"sent", "received"} {
					if b, err := os.ReadFile(filepath.Join(dir, end)); err != nil || string(b) != "0\n" {
						t.Errorf("%s with status %q (%v)\n%s\n%s", end, b, err, listener.heard(), dialler.heard())
					}
				}
				if out, err := exec.Command("diff", "-r", tree, filepath.Join(dir, "copy")).CombinedOutput(); err != nil {
					t.Errorf("the trees differ: %v\n%.2000s", err, out)
				}
			})
		}
	}
}

// A file listened for with a client of each kind whose stdin is /dev/null, and
// which may half-close at once: full size.
func TestServeFileToStockClients(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	path := testkit.TempFile(t, content)
	for _, peer := range netcats {
		for _, flags := range []string{"-l", "-l --send-file F"} {
			t.Run(peer.program+" "+flags, func(t *testing.T) {
				t.Parallel()
				o, args := opts{}, []string{"-l", "127.0.0.1", "0"}
				if flags == "-l" {
					o.stdin = opened(t, path)
				} else {
					args = []string{"-l", "--send-file", path, "127.0.0.1", "0"}
				}
				server := startPurr(t, o, args...)
				client := shell(t, opts{}, peer.command(t, peer.ask, server.port()))
				client.ends(0)
				server.ends(0)
				if client.out.String() != content {
					t.Errorf("%d of %d bytes arrived, or others", client.out.Len(), len(content))
				}
			})
		}
	}
}

// 8 MiB to a listener of each kind that half-closes at once because its stdin
// is /dev/null.
func TestPushFileToStockServers(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	path := testkit.TempFile(t, content)
	for _, peer := range netcats {
		for _, stdin := range []string{"file", "pipe", "--send-file"} {
			t.Run(peer.program+" "+stdin, func(t *testing.T) {
				t.Parallel()
				port := freePort(t, "tcp")
				server := shell(t, opts{}, peer.command(t, strings.Replace(peer.listenReceive, "-u ", "-t 30 ", 1), port))
				awaitPort(t, "tcp", port)
				o, args := opts{}, []string{"127.0.0.1", port}
				switch stdin {
				case "file":
					o.stdin = opened(t, path)
				case "pipe":
					o.stdin = strings.NewReader(content)
				default:
					args = append([]string{"--send-file", path}, args...)
				}
				client := startPurr(t, o, args...)
				client.ends(0)
				if stdin == "--send-file" {
					client.complains("sent 8388608 bytes; the other end's system acknowledged all of them and closed")
				} else {
					client.quiet()
				}
				if strings.HasPrefix(server.name, "sh -c socat") {
					server.status()
				} else {
					server.ends(0)
				}
				if server.out.String() != content {
					t.Errorf("%d of %d bytes arrived, or others", server.out.Len(), len(content))
				}
			})
		}
	}
}

// One question, one answer, with purr as the server and as the client.
func TestAskAndAnswer(t *testing.T) {
	t.Parallel()
	for _, peer := range netcats {
		t.Run(peer.program+" asks the upper-case server", func(t *testing.T) {
			t.Parallel()
			server := startPurr(t, opts{}, "-l", "-k", "--echo", "--upper", "127.0.0.1", "0")
			for range 2 {
				client := shell(t, opts{}, "printf 'hello\nworld\n' | "+peer.command(t, peer.ask, server.port()))
				client.ends(0)
				client.printed("HELLO\nWORLD\n")
			}
			server.runs()
		})
		t.Run(peer.program+" asks the one-shot server", func(t *testing.T) {
			t.Parallel()
			server := startPurr(t, opts{stdin: strings.NewReader("Thank you\n")}, "-l", "127.0.0.1", "0")
			// Its stdin is a file, which can be read at once: busybox ends with
			// the server's FIN, whatever it has not sent by then.
			client := shell(t, opts{stdin: opened(t, testkit.TempFile(t, "hello\n"))}, peer.command(t, peer.ask, server.port()))
			client.ends(0)
			client.printed("Thank you\n")
			server.ends(0)
			server.printed("hello\n")
		})
		t.Run("purr asks "+peer.program, func(t *testing.T) {
			t.Parallel()
			port := freePort(t, "tcp")
			listen := peer.listenReceive
			switch peer.program { // both directions
			case "socat":
				listen = "-t 30 - TCP-LISTEN:PORT,bind=127.0.0.1"
			case "nc.openbsd":
				listen = "-N -l 127.0.0.1 PORT"
			case "nc.traditional":
				listen = "-q 30 -l -s 127.0.0.1 -p PORT"
			}
			// A file, too: some end with the client's FIN, whatever they have not
			// read by then.
			server := shell(t, opts{stdin: opened(t, testkit.TempFile(t, "Thank you\n"))}, peer.command(t, listen, port))
			awaitPort(t, "tcp", port)
			client := startPurr(t, opts{stdin: strings.NewReader("hello\n")}, "127.0.0.1", port)
			client.ends(0)
			server.ends(0)
			client.printed("Thank you\n")
			server.printed("hello\n")
		})
	}
}

// Datagrams, with those that have them.
func TestDatagramPeers(t *testing.T) {
	t.Parallel()
	for _, peer := range []struct{ program, pkg, ask, listen string }{
		{"nc.openbsd", "netcat-openbsd", "-u -w 30 127.0.0.1 PORT", "-u -l 127.0.0.1 PORT"},
		{"nc.traditional", "netcat-traditional", "-u -q 30 127.0.0.1 PORT", "-u -l -s 127.0.0.1 -p PORT"},
		{"socat", "socat", "-t 30 - UDP:127.0.0.1:PORT", "- UDP-LISTEN:PORT,bind=127.0.0.1"},
		{"ncat", "ncat", "-u -i 30 127.0.0.1 PORT", "-u -l 127.0.0.1 PORT"},
	} {
		t.Run(peer.program+" asks", func(t *testing.T) {
			t.Parallel()
			program := testkit.Program(t, peer.program, peer.pkg)
			server := startPurr(t, opts{}, "-u", "-l", "-k", "--echo", "--upper", "127.0.0.1", "0")
			// ncat ends with its stdin, before an answer can come: it stays open.
			client := start(t, opts{openStdin: true}, program, strings.Fields(strings.ReplaceAll(peer.ask, "PORT", server.port()))...)
			writeAll(t, client.stdin, "hello\n")
			client.waitOut("HELLO\n")
			client.kill()
			server.runs()
		})
		t.Run("purr asks "+peer.program, func(t *testing.T) {
			t.Parallel()
			program := testkit.Program(t, peer.program, peer.pkg)
			port := freePort(t, "udp")
			server := start(t, opts{openStdin: true}, program, strings.Fields(strings.ReplaceAll(peer.listen, "PORT", port))...)
			awaitPort(t, "udp", port)
			client := startPurr(t, opts{openStdin: true}, "-u", "127.0.0.1", port)
			writeAll(t, client.stdin, "question\n")
			server.waitOut("question\n")
			writeAll(t, server.stdin, "answer\n")
			client.waitOut("answer\n")
			_ = client.stdin.Close()
			client.ends(0)
			client.printed("answer\n")
			server.kill()
		})
	}
}

// Unix sockets, with those that have them.
func TestUnixPeers(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(quick)
	for _, peer := range []struct{ program, pkg, dial, listen string }{
		{"nc.openbsd", "netcat-openbsd", "-N -U PATH", "-N -l -U PATH"},
		{"ncat", "ncat", "-U PATH", "-l -U PATH"},
		{"socat", "socat", "-t 30 - UNIX-CONNECT:PATH", "-t 30 - UNIX-LISTEN:PATH"},
	} {
		t.Run(peer.program+" dials", func(t *testing.T) {
			t.Parallel()
			program := testkit.Program(t, peer.program, peer.pkg)
			path := filepath.Join(testkit.SocketDir(t), "s")
			server := startPurr(t, opts{stdin: strings.NewReader("answer")}, "-v", "-l", "-U", path)
			server.waitErr(listeningOn)
			client := start(t, opts{stdin: strings.NewReader(content)}, program, strings.Fields(strings.ReplaceAll(peer.dial, "PATH", path))...)
			client.ends(0)
			server.ends(0)
			client.printed("answer")
			server.printed(content)
			testkit.Absent(t, path)
		})
		t.Run("purr dials "+peer.program, func(t *testing.T) {
			t.Parallel()
			program := testkit.Program(t, peer.program, peer.pkg)
			path := filepath.Join(testkit.SocketDir(t), "s")
			server := start(t, opts{stdin: strings.NewReader("answer")}, program, strings.Fields(strings.ReplaceAll(peer.listen, "PATH", path))...)
			awaitUnix(t, path)
			client := startPurr(t, opts{stdin: strings.NewReader(content)}, "-U", path)
			client.ends(0)
			server.ends(0)
			client.printed("answer")
			server.printed(content)
		})
		t.Run("purr replaces what a killed "+peer.program+" left", func(t *testing.T) {
			t.Parallel()
			program := testkit.Program(t, peer.program, peer.pkg)
			path := filepath.Join(testkit.SocketDir(t), "s")
			server := start(t, opts{openStdin: true}, program, strings.Fields(strings.ReplaceAll(peer.listen, "PATH", path))...)
			awaitUnix(t, path)
			server.kill()
			ours := startPurr(t, opts{}, "-v", "-l", "-U", path)
			ours.waitErr(listeningOn)
		})
	}
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		program := testkit.Program(t, "nc.openbsd", "netcat-openbsd")
		path := filepath.Join(testkit.SocketDir(t), "s")
		server := startPurr(t, opts{}, "-v", "-u", "-l", "-k", "--echo", "--upper", "-U", path)
		server.waitErr(boundOn)
		client := start(t, opts{stdin: strings.NewReader("hello")}, program, "-u", "-U", "-W", "1", path)
		client.ends(0)
		client.printed("HELLO")

		theirs := filepath.Join(testkit.SocketDir(t), "t")
		nc := start(t, opts{}, program, "-u", "-l", "-U", theirs)
		awaitUnix(t, theirs)
		// nc peeks at a datagram, and connects to where that came from, before it
		// reads it: purr has to be there still.
		ours := startPurr(t, opts{openStdin: true}, "-u", "-U", theirs)
		writeAll(t, ours.stdin, "from purr")
		nc.waitOut("from purr")
		_ = ours.stdin.Close()
		ours.ends(0)
		nc.kill()
	})
	t.Run("socat datagrams", func(t *testing.T) {
		t.Parallel()
		program := testkit.Program(t, "socat", "socat")
		path := filepath.Join(testkit.SocketDir(t), "s")
		server := startPurr(t, opts{}, "-v", "-u", "-l", "-k", "--echo", "--upper", "-U", path)
		server.waitErr(boundOn)
		// A sender without a name gets no answer, and the server goes
		// on.
		nameless := start(t, opts{stdin: strings.NewReader("nameless")}, program, "-u", "-", "UNIX-SENDTO:"+path)
		nameless.ends(0)
		server.waitOut("nameless")
		own := filepath.Join(filepath.Dir(path), "own")
		client := start(t, opts{stdin: strings.NewReader("hello")}, program, "-t", "5", "-", "UNIX-SENDTO:"+path+",bind="+own)
		client.waitOut("HELLO")
		client.kill()
		server.runs()
	})
}

// Abstract names.
func TestAbstractNames(t *testing.T) {
	t.Parallel()
	name := fmt.Sprintf("@purr-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	dir := t.TempDir()
	server := startPurr(t, opts{stdin: strings.NewReader("answer"), dir: dir}, "-v", "-l", "-U", name)
	server.waitErr(listeningOn)
	client := startPurr(t, opts{stdin: strings.NewReader("question"), dir: dir}, "-U", name)
	client.ends(0)
	server.ends(0)
	client.printed("answer")
	server.printed("question")
	server.waitErr(regexp.MustCompile(regexp.QuoteMeta(name) + ": every user of this machine can connect to an abstract socket"))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("files were made: %v (%v)", entries, err)
	}
	// It is the name that others mean by it.
	if _, err := exec.LookPath("nc.openbsd"); err == nil {
		server = startPurr(t, opts{stdin: strings.NewReader("answer")}, "-v", "-l", "-U", name)
		server.waitErr(listeningOn)
		nc := start(t, opts{stdin: strings.NewReader("question")}, "nc.openbsd", "-N", "-U", name)
		nc.ends(0)
		nc.printed("answer")
		server.ends(0)
	}
	// A live one is not taken over.
	live := startPurr(t, opts{}, "-v", "-l", "-k", "-U", name)
	live.waitErr(listeningOn)
	second := startPurr(t, opts{}, "-l", "-U", name)
	second.ends(1)
	second.complains(name, "address already in use")
	// Datagrams.
	gram := startPurr(t, opts{}, "-v", "-u", "-l", "-k", "--echo", "--upper", "-U", name+"g")
	gram.waitErr(boundOn)
	client = startPurr(t, opts{stdin: strings.NewReader("hello"), dir: dir}, "-u", "-U", "-w", "20", "-W", "1", name+"g")
	client.ends(0)
	client.printed("HELLO")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("files were made: %v (%v)", entries, err)
	}
}
