package main

import (
	"net"
	"time"

	"purr/internal/access"
	"purr/internal/child"
	"purr/internal/dump"
	"purr/internal/fdio"
	"purr/internal/payload"
	"purr/internal/proxy"
	"purr/internal/sock"
	"purr/internal/sweep"
	"purr/internal/tlsconn"
	"purr/internal/tunnel"
)

// A config is the command line, checked. newConfig builds it; afterwards it is
// read-only.
type config struct {
	help, version, listPayloads bool
	helpText                    string // what --help prints

	netOptions
	listenOptions
	talkOptions
	waitOptions

	pass  bool // -F
	dump  dump.Options
	zero  bool // -z
	check checkConfig
	file  fileConfig
	key   keyConfig
	ssl   sslConfig
	pace  paceConfig
	push  pushConfig

	targetSSL sslConfig // of -L tls:; ssl is that of the peer

	verbose   int
	noSandbox bool
}

// netOptions are addresses, and what every socket is made with. A zero value or
// nil leaves the system's own.
type netOptions struct {
	network    string // "tcp", "udp", "unix", "unixgram" or "vsock"
	unix, udp  bool
	vsock      bool   // then unix is true, too, and path is "vsock:CID:PORT"
	ipv4, ipv6 bool   // only this family
	host       string // empty: every local address (listen only)
	ports      []int  // dial: one session each, in this order; listen: one
	path       string // of the Unix socket; "@name" is abstract
	source     string // -s in dial mode: local address, or path of a unixgram socket
	sourcePort int    // -p in dial mode; 0: the kernel chooses
	numeric    bool
	shuffle    bool // dial the ports in random order

	proxy  *proxy.Config // to dial through; nil: none
	server *proxy.Config // what a listener is, with its password; nil: no proxy

	inherited *sock.Inherited // to listen on; nil: none

	sendProxy int // version of the PROXY header to send; 0: none

	connectTimeout time.Duration // --connect-timeout, else -w; 0: the system's
	keepalive      net.KeepAliveConfig
	socket         sock.Options

	sourceText, portText string // -s and -p as typed; operands decide what they mean
}

// listenOptions are those of a listener.
type listenOptions struct {
	listen, keep  bool
	acceptTimeout time.Duration // for the first client; 0: no limit
	maxConns      int           // 0: as many as descriptors allow
	readyFD       int           // --ready-fd; 0: none
	portFile      string
	announce      bool // --test: print that it listens
	access        access.Rules
	acceptProxy   bool // each client begins with a PROXY header
}

// talkOptions are those of a conversation. Durations and counts of 0 mean no
// limit.
type talkOptions struct {
	noStdin, sendOnly bool
	noShutdown        bool
	stays             bool // the end of the peer does not end it
	idleFails         bool // --idle-timeout is a failure
	shutdownAtOnce    bool // -N, -q 0: no answer is waited for
	passesOn          bool // the same where it does no harm
	echo, upper       bool
	broker, chat      bool // --broker, which --chat implies
	echoAny           bool // --echo-any: also what may be a loop of echoes
	crlf, telnet      bool
	exec              *child.Command // --exec, --sh-exec; nil: none
	execGrace         time.Duration  // --exec-grace
	sendFile          string
	tunnel            *tunnel.Target // -L; nil: none
	input             *fdio.Input    // of --send-file
	interactive       bool
	quitWord          string

	idleTimeout  time.Duration // --idle-timeout, else -w
	quitAfter    time.Duration // -q; negative: no limit
	quitAtOnce   bool          // -w 0, -u -q 0: no answer is waited for after the end of stdin
	receiveLimit int           // -W
	interval     time.Duration // -i: between two lines sent, and between two ports
	delay        time.Duration // --delay: between two reads
}

// waitOptions are those of a repeated attempt, and the command after it.
type waitOptions struct {
	waitFor     time.Duration // --wait-for
	retries     int           // --retry; -1: not given
	command     []string      // to be run in place of purr once there is an answer
	commandPath string        // command[0] as found in PATH
}

// A checkConfig is the options of -z.
type checkConfig struct {
	hosts        *sweep.Hosts
	hostsOnStdin bool // the hosts are still to be read
	all, any     bool
	banner       bool
	parallel     int // 0: the engine's own
	payload      payload.Choice
	expect       payload.Expect
	secret       []byte
	thorough     bool
	rate         int             // 0: the engine's own
	sends        []time.Duration // of requests; nil: the engine's own
	ping         bool
	pings        int     // 0: until a signal comes
	maxLoss      float64 // the share of pings that may be lost
}

// A fileConfig is the options of raw files: --send-file and --recv-file.
type fileConfig struct {
	sum          bool   // hash the bytes of --send-file
	recv         string // --recv-file; empty: none
	direct       bool   // recv is a pipe or a device: write to it without a temporary file
	force        bool   // replace an existing file
	keepPartial  bool
	expectSize   int64  // -1: any
	expectSHA256 []byte // nil: any
}

// A keyConfig is the options of encryption.
type keyConfig struct {
	on     bool        // whether conversations are encrypted
	secret tlsconn.Key // unless it is still on stdin
	file   string      // --key-file; "-": stdin's first line
	fresh  bool        // --key-new: secret was made for this run

	variableIgnored bool // whether PURR_KEY is set beside --key-file
}

// An sslConfig is the options of TLS with certificates.
type sslConfig struct {
	on, insecure      bool
	certFile, keyFile string
	trustFile         string // has the roots; empty: the system's
	clientCA          string
	serverName        string // empty: the host
	alpn              []string
	pin               *tlsconn.Pin

	certs   tlsconn.Certs
	selfPin *tlsconn.Pin // of a certificate that was made for this run
}

// A paceConfig is the options of progress, pace and the form of messages.
type paceConfig struct {
	progress, noProgress bool
	quiet                bool  // no bar, and no last lines of file transfers
	json                 bool  // results (-z) and events (everything else) are JSON
	rate                 int64 // bytes sent a second, all peers together; 0: no limit
}

// A pushConfig is the options of --push and --pull.
type pushConfig struct {
	push, pull   bool
	paths        []string // offered by --push
	dir          string   // receives the files of --pull
	rename       bool     // a name that exists gets a number
	noResume     bool
	live         bool          // a file may grow while it is sent
	qr           bool          // draw the address of the page for browsers
	maxSize      int64         // 0: no limit
	helloTimeout time.Duration // until the peer's protocol is known
	silence      time.Duration // without a sign of life of the peer
}

// moves reports whether checked files are pushed or pulled.
func (c pushConfig) moves() bool { return c.push || c.pull }

// newDefaults returns a config with the default of every option.
func newDefaults() *config {
	c := &config{}
	c.quitAfter, c.retries = -1, -1
	c.execGrace = defaultGrace
	c.keepalive.Enable = true
	c.check.maxLoss = 1
	c.file.expectSize = -1
	c.push.helloTimeout, c.push.silence = defaultHello, defaultSilence
	return c
}
