package main

import (
	"flag"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// A config is the command line, checked. newConfig builds it; afterwards it is
// read-only.
type config struct {
	help, version, listPayloads bool

	// Where to.
	network      string // "tcp", "udp", "unix" or "unixgram"
	ipv4, ipv6   bool   // only this family
	listen, keep bool
	host         string // empty: every local address (listen only)
	ports        []int  // dial: one session each, in this order; listen: one
	path         string // of the Unix socket; "@name" is abstract
	source       string // -s in dial mode: local address, or path of a unixgram socket
	sourcePort   int    // -p in dial mode; 0: the kernel chooses
	numeric      bool

	// What is said with the peer.
	noStdin, sendOnly bool
	noShutdown        bool
	echo, upper       bool
	crlf, telnet      bool
	sendFile          string
	interactive       bool
	quitWord          string

	// When it ends. Durations and counts of 0 mean no limit.
	wait           time.Duration // -w
	idleTimeout    time.Duration // --idle-timeout, else -w
	connectTimeout time.Duration // --connect-timeout, else -w
	acceptTimeout  time.Duration
	quitAfter      time.Duration // -q; negative: no limit
	receiveLimit   int           // -W
	maxConns       int
	interval       time.Duration // -i

	// Before it begins, and around it.
	waitFor     time.Duration // --wait-for
	retries     int           // --retry; -1: not given
	command     []string      // what to become once there is an answer
	commandPath string        // command[0] as found in PATH
	readyFD     int           // --ready-fd; 0: none
	portFile    string
	zero        bool // -z
	check       checkConfig

	// Files, keys, and how fast.
	file fileConfig
	key  keyConfig
	pace paceConfig
	push pushConfig

	// Socket options; a nil or zero value leaves the system's own.
	broadcast            bool
	receiveBuf, sendBuf  int
	ttl, minTTL          int
	tos                  *int
	keepalive            net.KeepAliveConfig
	verbose              int
	shuffle, unix, udp   bool
	sourceText, portText string // -s and -p as typed; operands decide what they mean
}

// A checkConfig is what -z asks, and how it says what it finds.
type checkConfig struct {
	hosts        []string
	hostsOnStdin bool // they are still to be read
	all, any     bool
	banner       bool
	parallel     int // 0: the engine's own
	payload      payloadChoice
	expect       probeExpect
	secret       []byte
	thorough     bool
	rate         int // 0: the engine's own
	ping         bool
	pings        int     // 0: until a signal comes
	maxLoss      float64 // the share of pings that may be lost
}

// A fileConfig is about raw files: --send-file and --recv-file.
type fileConfig struct {
	sum          bool   // hash what --send-file sends
	recv         string // --recv-file; empty: none
	direct       bool   // recv is a pipe or a device: write to it, and not beside it
	force        bool   // replace what has the name already
	keepPartial  bool
	expectSize   int64  // -1: any
	expectSHA256 []byte // nil: any
}

// A keyConfig is about encryption.
type keyConfig struct {
	on     bool      // whether conversations are encrypted
	secret sharedKey // unless it is still on stdin
	file   string    // --key-file; "-": stdin's first line
	fresh  bool      // --key-new: secret was made for this run

	fileShared      fs.FileMode // of a key file that other users may read or change
	variableIgnored bool        // whether PURR_KEY is set beside --key-file
}

// A paceConfig is about progress and pace, and the form in which they are told.
type paceConfig struct {
	progress, noProgress bool
	quiet                bool  // also no last lines of file transfers
	json                 bool  // results (-z) and events (everything else) are JSON
	rate                 int64 // bytes sent a second, all peers together; 0: no limit
}

// A pushConfig is what --push and --pull do.
type pushConfig struct {
	push, pull   bool
	paths        []string // what --push offers
	dir          string   // where --pull stores
	rename       bool     // a name that exists gets a number
	noResume     bool
	live         bool          // a file may grow while it is sent
	maxSize      int64         // 0: no limit
	helloTimeout time.Duration // until a peer has shown what it is
	silence      time.Duration // for as long as a peer may not be heard of
}

// moves reports whether checked files are pushed or pulled.
func (c pushConfig) moves() bool { return c.push || c.pull }

// A flagSet is the flag table together with the values that need checking
// after parsing.
type flagSet struct {
	config *config
	flags  []cli.Flag

	wait, idle, connect, accept, interval, quit seconds
	limit, conns, ttl, minTTL                   number
	receiveBuf, sendBuf                         byteSize
	tos                                         typeOfService
	keepalive                                   keepalive
	halfClose, recvOnly, debug                  bool
	waitFor                                     seconds
	retry, readyFD, parallel                    number
	rate                                        sendRate
	pings                                       pingCount
	maxLoss                                     percent
	secretFile                                  string
	hello                                       seconds
	maxSize, expectSize                         fileSize
	sendFile, recvFile                          fileName
	expectSHA256                                sha256Sum

	invalid error // the first value that could not be read
}

// checked keeps a value's error back until parsing is over: cli would wrap it
// in words of its own, with a name that the user has not typed.
type checked struct {
	cli.Generic
	name    string
	flagSet *flagSet
}

func (v checked) Set(text string) error {
	if err := v.Generic.Set(text); err != nil && v.flagSet.invalid == nil {
		v.flagSet.invalid = usageErrorf("option %s: %w", v.name, err)
	}
	return nil
}

// dashed writes an option's names as the user types them: "-w/--wait".
func dashed(names []string) string {
	var out []string
	for _, name := range names {
		if len(name) == 1 {
			out = append(out, "-"+name)
		} else {
			out = append(out, "--"+name)
		}
	}
	return strings.Join(out, "/")
}

// newFlagSet declares every option. A letter means what it means in OpenBSD
// nc; a long name is Ncat's where Ncat has one.
func newFlagSet() *flagSet {
	c := &config{}
	f := &flagSet{config: c,
		quit:  seconds{negative: true},
		limit: number{what: "receive limit", low: 1, high: 1<<31 - 1},
		conns: number{what: "connection limit", low: 1, high: 1<<31 - 1},
		ttl:   number{what: "ttl", low: 1, high: 255}, minTTL: number{what: "minimum ttl", low: 1, high: 255},
		retry:      number{what: "number of retries", low: 0, high: 1<<31 - 1},
		readyFD:    number{what: "file descriptor", low: 3, high: 1 << 20},
		parallel:   number{what: "number at once", low: 1, high: 65535},
		expectSize: fileSize{zero: true},
	}
	value := f.value
	f.flags = []cli.Flag{
		toggle(&c.help, "help", "h"),
		toggle(&c.version, "version"),
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Count: &c.verbose},

		toggle(&c.ipv4, "4"),
		toggle(&c.ipv6, "6"),
		toggle(&c.udp, "udp", "u"),
		toggle(&c.unix, "unixsock", "U"),
		toggle(&c.listen, "listen", "l"),
		toggle(&c.keep, "keep-open", "k"),
		text(&c.portText, "source-port", "p"),
		text(&c.sourceText, "source", "s"),
		toggle(&c.numeric, "nodns", "n"),
		toggle(&c.shuffle, "r"),

		toggle(&c.noStdin, "d"),
		toggle(&f.recvOnly, "recv-only"),
		toggle(&c.sendOnly, "send-only"),
		toggle(&f.halfClose, "N"),
		toggle(&c.noShutdown, "no-shutdown"),
		toggle(&c.echo, "echo"),
		toggle(&c.upper, "upper"),
		toggle(&c.crlf, "crlf", "C"),
		toggle(&c.telnet, "telnet", "t"),
		value(&f.sendFile, "send-file"),
		toggle(&c.interactive, "interactive"),
		text(&c.quitWord, "quit-word"),

		value(&f.wait, "wait", "w"),
		value(&f.idle, "idle-timeout"),
		value(&f.connect, "connect-timeout"),
		value(&f.accept, "accept-timeout"),
		value(&f.quit, "q"),
		value(&f.limit, "W"),
		value(&f.conns, "max-conns"),
		value(&f.interval, "i"),

		toggle(&c.broadcast, "b"),
		value(&f.receiveBuf, "I"),
		value(&f.sendBuf, "O"),
		value(&f.ttl, "M"),
		value(&f.minTTL, "m"),
		value(&f.tos, "T"),
		value(&f.keepalive, "keepalive"),
		toggle(&f.debug, "D"), // SO_DEBUG: accepted and without effect, as in nc for anybody but root

		value(&f.waitFor, "wait-for"),
		value(&f.retry, "retry"),
		value(&f.readyFD, "ready-fd"),
		text(&c.portFile, "port-file"),
	}
	f.flags = slices.Concat(f.flags, f.checkFlags(), f.fileFlags(), f.keyFlags(), f.paceFlags(), f.pushFlags())
	return f
}

// checkFlags are the options of -z.
func (f *flagSet) checkFlags() []cli.Flag {
	c := &f.config.check
	return []cli.Flag{
		toggle(&f.config.zero, "z"),
		toggle(&c.all, "all"),
		toggle(&c.any, "any"),
		toggle(&c.banner, "banner"),
		f.value(&f.parallel, "parallel"),
		toggle(&f.config.listPayloads, "list-payloads"),
		f.value(&c.payload, "payload"),
		f.value(&c.expect, "expect"),
		text(&f.secretFile, "secret-file"),
		toggle(&c.thorough, "thorough"),
		f.value(&f.pings, "count", "c"),
		f.value(&f.maxLoss, "max-loss"),
	}
}

// fileFlags are the options of raw files.
func (f *flagSet) fileFlags() []cli.Flag {
	c := &f.config.file
	return []cli.Flag{
		toggle(&c.sum, "sum"),
		f.value(&f.recvFile, "recv-file"),
		f.value(&f.expectSize, "expect-size"),
		f.value(&f.expectSHA256, "expect-sha256"),
		toggle(&c.keepPartial, "keep-partial"),
		toggle(&c.force, "force"),
	}
}

// keyFlags are the options of encryption.
func (f *flagSet) keyFlags() []cli.Flag {
	c := &f.config.key
	return []cli.Flag{
		text(&c.file, "key-file"),
		toggle(&c.fresh, "key-new"),
	}
}

// paceFlags are the options of progress and pace.
func (f *flagSet) paceFlags() []cli.Flag {
	c := &f.config.pace
	return []cli.Flag{
		toggle(&c.progress, "progress"),
		toggle(&c.noProgress, "no-progress"),
		toggle(&c.quiet, "quiet"),
		toggle(&c.json, "json"),
		f.value(&f.rate, "rate"),
	}
}

// pushFlags are the options of --push and --pull.
func (f *flagSet) pushFlags() []cli.Flag {
	c := &f.config.push
	return []cli.Flag{
		toggle(&c.push, "push"),
		toggle(&c.pull, "pull"),
		toggle(&c.rename, "rename"),
		toggle(&c.noResume, "no-resume"),
		toggle(&c.live, "live"),
		f.value(&f.maxSize, "max-size"),
		f.value(&f.hello, "hello-timeout"),
	}
}

func toggle(to *bool, name string, aliases ...string) cli.Flag {
	return &cli.BoolFlag{Name: name, Aliases: aliases, Destination: to}
}

func text(to *string, name string, aliases ...string) cli.Flag {
	return &cli.StringFlag{Name: name, Aliases: aliases, Destination: to}
}

func (f *flagSet) value(to cli.Generic, name string, aliases ...string) cli.Flag {
	return &cli.GenericFlag{Name: name, Aliases: aliases, Value: checked{to, dashed(append(aliases, name)), f}}
}

// newConfig reads the command line (without the program's name). An error is a
// usageError; nothing has been opened, bound or created.
func newConfig(args []string) (*config, error) {
	f := newFlagSet()
	args, behind, err := getoptArgs(f.flags, args)
	if err != nil {
		return nil, err
	}
	// cli's flags and Go's flag.FlagSet, without cli's App: to set one up takes
	// longer than to connect, and it has ideas of its own about words such as
	// "help".
	set := flag.NewFlagSet("purr", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, fl := range f.flags {
		if err := fl.Apply(set); err != nil {
			return nil, err
		}
	}
	if err := set.Parse(args); err != nil {
		return nil, usageError{err}
	}
	if f.config.help || f.config.version {
		return f.config, nil
	}
	if f.invalid != nil {
		return nil, f.invalid
	}
	f.settle()
	operands := set.Args()
	if f.config.waits() {
		f.config.command = operands[len(operands)-behind:]
		operands = operands[:len(operands)-behind]
	}
	if err := f.conflict(); err != nil {
		return nil, err
	}
	if f.config.listPayloads {
		if len(operands) > 0 {
			return nil, usageErrorf("option --list-payloads takes no operands: say \"purr --list-payloads\"")
		}
		return f.config, nil
	}
	if err := f.config.setOperands(operands); err != nil {
		return nil, err
	}
	return f.config, f.checkFiles()
}

// settle moves the parsed values into the config, where each default stands
// in for what was not said.
func (f *flagSet) settle() {
	c := f.config
	c.verbose++ // cli takes one off for the alias, which nothing sets here
	c.sendFile, c.file.recv = f.sendFile.path, f.recvFile.path
	c.file.expectSize, c.file.expectSHA256 = -1, f.expectSHA256.sum
	if f.expectSize.set {
		c.file.expectSize = f.expectSize.n
	}
	c.noStdin = c.noStdin || f.recvOnly || c.file.recv != ""
	c.wait, c.idleTimeout, c.connectTimeout = f.wait.d, f.wait.d, f.wait.d
	if f.idle.set {
		c.idleTimeout = f.idle.d
	}
	if f.connect.set {
		c.connectTimeout = f.connect.d
	}
	c.acceptTimeout, c.interval = f.accept.d, f.interval.d
	c.quitAfter = -1
	if f.quit.set && f.quit.d > 0 {
		c.quitAfter = f.quit.d
	}
	if f.quit.set && f.quit.d < 0 {
		c.noShutdown = true
	}
	c.receiveLimit, c.maxConns = f.limit.n, f.conns.n
	c.receiveBuf, c.sendBuf = f.receiveBuf.n, f.sendBuf.n
	c.ttl, c.minTTL = f.ttl.n, f.minTTL.n
	if f.tos.set {
		c.tos = &f.tos.n
	}
	c.keepalive = net.KeepAliveConfig{Enable: true}
	if f.keepalive.set {
		c.keepalive = f.keepalive.config
	}
	c.waitFor, c.retries, c.readyFD = f.waitFor.d, -1, f.readyFD.n
	if f.retry.set {
		c.retries = f.retry.n
	}
	c.check.parallel = f.parallel.n
	if c.zero {
		c.check.rate = int(f.rate.n) // a rule keeps it small
	} else {
		c.pace.rate = f.rate.n
	}
	c.check.ping, c.check.pings = f.pings.set, f.pings.n
	c.check.maxLoss = 1
	if f.maxLoss.set {
		c.check.maxLoss = f.maxLoss.share
	}
	c.push.maxSize = f.maxSize.n
	c.push.helloTimeout, c.push.silence = defaultHello, defaultSilence
	if f.hello.set {
		c.push.helloTimeout = f.hello.d
	}
	if f.idle.set {
		c.push.silence = f.idle.d
	}
	c.network = "tcp"
	switch {
	case c.unix && c.udp:
		c.network = "unixgram"
	case c.unix:
		c.network = "unix"
	case c.udp:
		c.network = "udp"
	}
}
