package main

import (
	"flag"
	"io"
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
	banner, json bool
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
	retry, readyFD, parallel, rate              number
	pings                                       pingCount
	maxLoss                                     percent
	secretFile                                  string

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
		retry:    number{what: "number of retries", low: 0, high: 1<<31 - 1},
		readyFD:  number{what: "file descriptor", low: 3, high: 1 << 20},
		parallel: number{what: "number at once", low: 1, high: 65535},
		rate:     number{what: "rate", low: 1, high: 1_000_000},
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
		text(&c.sendFile, "send-file"),
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
	f.flags = append(f.flags, f.checkFlags()...)
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
		toggle(&c.json, "json"),
		f.value(&f.parallel, "parallel"),
		toggle(&f.config.listPayloads, "list-payloads"),
		f.value(&c.payload, "payload"),
		f.value(&c.expect, "expect"),
		text(&f.secretFile, "secret-file"),
		toggle(&c.thorough, "thorough"),
		f.value(&f.rate, "rate"),
		f.value(&f.pings, "count", "c"),
		f.value(&f.maxLoss, "max-loss"),
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
	c.noStdin = c.noStdin || f.recvOnly
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
	c.check.parallel, c.check.rate = f.parallel.n, f.rate.n
	c.check.ping, c.check.pings = f.pings.set, f.pings.n
	c.check.maxLoss = 1
	if f.maxLoss.set {
		c.check.maxLoss = f.maxLoss.share
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

// A rule forbids a combination of options.
type rule struct {
	broken bool
	says   string
}

// conflict returns the first illegal combination of options, or nil. Every
// one stands below and nowhere else.
func (f *flagSet) conflict() error {
	for _, rule := range slices.Concat(f.checkRules(), f.waitRules(), f.generalRules()) {
		if rule.broken {
			return usageErrorf("%s", rule.says)
		}
	}
	return nil
}

func (f *flagSet) generalRules() []rule {
	c := f.config
	return []rule{
		{c.ipv4 && c.ipv6, "options -4 and -6 exclude each other: leave both out to use whichever answers"},
		{c.unix && c.ipv4, "options -U and -4 exclude each other: a Unix socket has no IP address, leave -4 out"},
		{c.unix && c.ipv6, "options -U and -6 exclude each other: a Unix socket has no IP address, leave -6 out"},
		{c.unix && c.portText != "", "options -U and -p exclude each other: a Unix socket has a path and no port, leave -p out"},
		{c.unix && !(c.udp && !c.listen) && c.sourceText != "", "option -s goes with -U only in \"purr -u -U -s OWN_PATH PATH\": give the path as the operand"},
		{c.keep && !c.listen, "option -k needs -l: to keep a connection alive, say --keepalive; to listen again after each client, say -l -k"},
		{f.conns.set && !c.keep, "option --max-conns needs -l -k: without -k there is only one connection"},
		{f.conns.set && c.udp, "options --max-conns and -u exclude each other: datagrams have no connections to count"},
		{f.accept.set && !c.listen, "option --accept-timeout needs -l: for a dialer, say --connect-timeout"},
		{f.connect.set && c.listen, "options --connect-timeout and -l exclude each other: for a listener, say --accept-timeout"},
		{f.connect.set && c.udp, "options --connect-timeout and -u exclude each other: UDP has no connection to wait for, -w limits the wait for an answer"},
		{c.sendOnly && c.noStdin, "options --send-only and --recv-only (or -d) exclude each other: leave both out to do both"},
		{c.noStdin && c.sendFile != "", "options -d (or --recv-only) and --send-file exclude each other: --send-file reads no stdin anyway, leave -d out"},
		{c.noStdin && c.interactive, "options -d (or --recv-only) and --interactive exclude each other: the line editor reads stdin"},
		{c.noStdin && c.quitWord != "", "options -d (or --recv-only) and --quit-word exclude each other: the word is read from stdin"},
		{c.sendOnly && c.interactive, "options --send-only and --interactive exclude each other: leave one out"},
		{f.halfClose && c.noShutdown, "options -N and --no-shutdown (or -q -1) exclude each other: -N is what purr does anyway"},
		{c.echo && c.sendFile != "", "options --echo and --send-file exclude each other: an echo sends only what it received"},
		{c.echo && (c.sendOnly || f.recvOnly), "options --echo and --send-only or --recv-only exclude each other: an echo does both"},
		{c.echo && (c.interactive || c.quitWord != ""), "options --echo and --interactive or --quit-word exclude each other: an echo reads no stdin"},
		{c.echo && (c.crlf || f.interval.set), "options --echo and -C or -i exclude each other: they change what is read from stdin, and an echo reads none"},
		{c.sendFile != "" && c.udp, "options --send-file and -u exclude each other: datagrams have no end and may get lost; use TCP, or \"purr -u HOST PORT <FILE\""},
		{c.sendFile != "" && (c.interactive || c.quitWord != ""), "options --send-file and --interactive or --quit-word exclude each other: --send-file reads no stdin"},
		{c.sendFile != "" && (c.crlf || f.interval.set), "options --send-file and -C or -i exclude each other: --send-file sends exactly the file; for changed lines say \"purr ... <FILE\""},
		{c.interactive && c.keep, "options --interactive and -k exclude each other: the line editor talks to one peer"},
		{c.quitWord != "" && c.keep, "options --quit-word and -k exclude each other: the word ends one conversation"},
		{c.telnet && c.udp, "options -t and -u exclude each other: Telnet runs over TCP"},
		{c.telnet && c.echo, "options -t and --echo exclude each other: an echo answers with what it received"},
		{f.keepalive.set && c.network != "tcp", "option --keepalive needs TCP: leave out -u or -U"},
		{f.ttl.set && c.unix, "options -M and -U exclude each other: a Unix socket has no TTL"},
		{f.minTTL.set && c.unix, "options -m and -U exclude each other: a Unix socket has no TTL"},
		{f.tos.set && c.unix, "options -T and -U exclude each other: a Unix socket has no TOS"},
	}
}

// checkRules are those of -z and of what goes with it.
func (f *flagSet) checkRules() []rule {
	c, k := f.config, &f.config.check
	udp := c.zero && c.udp
	return []rule{
		{f.pings.set && !udp, "option -c needs -z -u (it counts pings): purr runs no commands; connect it to one with a FIFO (\"purr -l PORT <fifo | CMD >fifo\"), or use --echo or --upper"},
		{f.pings.set && f.pings.invalid, "option -c: the number of pings is invalid: " + f.pings.text + " (0: until a signal comes)"},
		{c.zero && c.listen, "options -z and -l exclude each other: -z only asks whether a port is open, leave one out"},
		{c.zero && c.udp && c.unix, "options -z, -u and -U exclude each other: nobody answers to an empty Unix datagram, leave -u out"},
		{c.zero && (c.echo || c.upper), "options -z and --echo or --upper exclude each other: -z exchanges no data"},
		{c.zero && c.sendFile != "", "options -z and --send-file exclude each other: -z sends nothing; for a payload over UDP, say -zu --payload file:PATH"},
		{c.zero && (c.interactive || c.quitWord != "" || c.crlf || c.telnet), "options -z and --interactive, --quit-word, -C or -t exclude each other: -z exchanges no data"},
		{c.zero && f.limit.set, "options -z and -W exclude each other: -z exchanges no data; for the number of UDP pings, say -zu -c"},
		{c.zero && f.idle.set, "options -z and --idle-timeout exclude each other: -w limits the wait for each port"},
		{c.zero && (f.ttl.set || f.minTTL.set || f.tos.set || f.receiveBuf.set || f.sendBuf.set || c.broadcast || f.keepalive.set), "options -z and -M, -m, -T, -I, -O, -b or --keepalive exclude each other: -z exchanges no data, leave them out"},
		{c.zero && f.interval.set && c.unix, "options -z -U and -i exclude each other: there is only one path to ask"},
		{udp && f.interval.set && !f.pings.set, "option -i needs -c with -z -u: for fewer datagrams a second, say --rate"},
		{(k.all || k.any) && !c.zero, "options --all and --any need -z: they say which ports must be open"},
		{k.all && k.any, "options --all and --any exclude each other: one open port is enough, or all must be open"},
		{(k.all || k.any) && c.unix, "options --all or --any and -U exclude each other: there is only one path to ask"},
		{k.banner && (!c.zero || c.udp || c.unix), "option --banner needs -z over TCP: -zu shows the answer anyway"},
		{k.json && !c.zero, "option --json needs -z: it is how the result of a port check is printed"},
		{k.json && c.unix, "options --json and -U exclude each other: the status says whether somebody answers"},
		{k.json && f.pings.set, "options --json and -c exclude each other: pings are printed as text, leave --json out"},
		{f.parallel.set && (!c.zero || c.unix), "option --parallel needs -z over TCP or UDP: it is how many ports are asked at once"},
		{f.parallel.set && f.pings.set, "options --parallel and -c exclude each other: pings go to one port"},
		{f.parallel.set && c.zero && !c.udp && f.interval.set, "options --parallel and -i exclude each other: -i asks one port after the other"},
		{k.payload.text != "" && !udp, "option --payload needs -z -u: to send data over a connection, pipe it into \"purr HOST PORT\""},
		{k.expect.given() && !udp, "option --expect needs -z -u: over TCP, pipe the answer of \"purr HOST PORT\" into grep(1)"},
		{f.secretFile != "" && !udp, "option --secret-file needs -z -u: it is for probes of RADIUS and SNMP"},
		{(k.thorough || f.rate.set) && !udp, "options --thorough and --rate need -z -u: for a slower scan over TCP, say --parallel or -i"},
		{f.pings.set && (k.thorough || f.rate.set || k.all || k.any), "options -c and --thorough, --rate, --all or --any exclude each other: pings go to one port, -i says how often"},
		{f.pings.set && k.expect.given(), "options -c and --expect exclude each other: pings count any answer that matches the payload"},
		{f.maxLoss.set && !f.pings.set, "option --max-loss needs -z -u -c: it is about pings"},
	}
}

// waitRules are those of waiting, and of being waited for.
func (f *flagSet) waitRules() []rule {
	c := f.config
	waiting := f.waitFor.set || f.retry.set
	return []rule{
		{waiting && c.listen, "options --wait-for or --retry and -l exclude each other: a listener waits anyway, --accept-timeout limits it"},
		{waiting && c.udp && !c.zero, "options --wait-for or --retry and -u exclude each other: a UDP port is there once it answers; say \"purr -zu --wait-for TIME HOST PORT -- purr -u HOST PORT\""},
		{waiting && f.pings.set, "options --wait-for or --retry and -c exclude each other: pings try again anyway"},
		{f.readyFD.set && !c.listen, "option --ready-fd needs -l: a dialer has nothing to announce"},
		{c.portFile != "" && !c.listen, "option --port-file needs -l: a dialer has nothing to announce"},
	}
}
