package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// A config is the command line, checked. newConfig builds it; afterwards it is
// read-only.
type config struct {
	help, version bool

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
	}
	toggle := func(to *bool, name string, aliases ...string) cli.Flag {
		return &cli.BoolFlag{Name: name, Aliases: aliases, Destination: to}
	}
	text := func(to *string, name string, aliases ...string) cli.Flag {
		return &cli.StringFlag{Name: name, Aliases: aliases, Destination: to}
	}
	value := func(to cli.Generic, name string, aliases ...string) cli.Flag {
		return &cli.GenericFlag{Name: name, Aliases: aliases, Value: checked{to, dashed(append(aliases, name)), f}}
	}
	f.flags = []cli.Flag{
		toggle(&c.help, "help", "h"), // these two are looked for before parsing
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
	}
	return f
}

// newConfig reads the command line (without the program's name). An error is a
// usageError; nothing has been opened, bound or created.
func newConfig(args []string) (*config, error) {
	f := newFlagSet()
	args, err := getoptArgs(f.flags, args)
	if err != nil {
		return nil, err
	}
	// cli has ideas of its own about a flag called help, whatever HideHelp says.
	for _, arg := range args[:slices.Index(args, "--")] {
		switch arg {
		case "--help":
			return &config{help: true}, nil
		case "--version":
			return &config{version: true}, nil
		}
	}
	var operands []string
	app := &cli.App{
		Name: "purr", HideHelp: true, HideHelpCommand: true, HideVersion: true,
		Writer: io.Discard, ErrWriter: io.Discard,
		Flags:          f.flags,
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return err },
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			operands = c.Args().Slice()
			return nil
		},
	}
	if err := app.Run(append([]string{"purr"}, args...)); err != nil {
		return nil, usageError{err}
	}
	if f.invalid != nil {
		return nil, f.invalid
	}
	f.settle()
	if err := f.conflict(); err != nil {
		return nil, err
	}
	if err := f.config.setOperands(operands); err != nil {
		return nil, err
	}
	return f.config, f.config.checkFile()
}

// settle moves the parsed values into the config, where each default stands
// in for what was not said.
func (f *flagSet) settle() {
	c := f.config
	c.verbose = max(c.verbose, 0) // cli counts from -1 when the flag is absent
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

// conflict returns the first illegal combination of options, or nil. Every
// one stands here and nowhere else.
func (f *flagSet) conflict() error {
	c := f.config
	for _, rule := range []struct {
		broken bool
		says   string
	}{
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
	} {
		if rule.broken {
			return usageErrorf("%s", rule.says)
		}
	}
	return nil
}

// setOperands reads the words that are no options: HOST PORT..., HOST:PORT,
// PORT (listen only), or the path of a Unix socket.
func (c *config) setOperands(words []string) error {
	switch {
	case c.unix:
		return c.setPath(words)
	case c.listen:
		return c.setListenAddress(words)
	}
	switch {
	case len(words) == 0:
		return usageErrorf("no host and port: say \"purr HOST PORT\", or \"purr -l PORT\" to listen")
	case len(words) == 1:
		host, port, err := net.SplitHostPort(words[0])
		if err != nil || host == "" {
			return usageErrorf("no port for host %s: say \"purr %s PORT\"", words[0], words[0])
		}
		words = []string{host, port}
	}
	c.host = words[0]
	if c.host == "" {
		return usageErrorf("the host is empty: say \"purr HOST PORT\"")
	}
	for _, word := range words[1:] {
		ports, err := parsePorts(c.network, word)
		if err != nil {
			return usageError{err}
		}
		c.ports = append(c.ports, ports...)
	}
	c.source = c.sourceText
	if c.portText == "" {
		return nil
	}
	port, err := parsePort(c.network, c.portText, 1)
	if err != nil {
		return usageErrorf("option -p: %w", err)
	}
	c.sourcePort = port
	return nil
}

// setListenAddress reads -l PORT, -l HOST PORT, -l HOST:PORT, -l -p PORT
// [HOST] and -l -s HOST PORT: every netcat has its own way to say it.
func (c *config) setListenAddress(words []string) error {
	port := c.portText
	switch {
	case len(words) > 2 || len(words) == 2 && port != "":
		return usageErrorf("too many operands: say \"purr -l PORT\", \"purr -l HOST PORT\" or \"purr -l -p PORT HOST\"")
	case len(words) == 2:
		c.host, port = words[0], words[1]
	case len(words) == 1 && port != "":
		c.host = words[0]
	case len(words) == 1:
		port = words[0]
		if h, p, err := net.SplitHostPort(words[0]); err == nil {
			c.host, port = h, p
		}
	case port == "":
		return usageErrorf("no port: say \"purr -l PORT\" (-l 0 takes a free one and says which)")
	}
	if c.sourceText != "" {
		if c.host != "" {
			return usageErrorf("option -s %s and the operand %s both name the address to listen on: leave one out", c.sourceText, c.host)
		}
		c.host = c.sourceText
	}
	n, err := parsePort(c.network, port, 0)
	if err != nil {
		return usageError{err}
	}
	c.ports = []int{n}
	return nil
}

func (c *config) setPath(words []string) error {
	if len(words) != 1 || words[0] == "" {
		return usageErrorf("option -U takes the path of one Unix socket: say \"purr -U PATH\" or \"purr -l -U PATH\"")
	}
	c.path, c.source = words[0], c.sourceText
	for _, path := range []string{c.path, c.source} {
		if len(path) > maxSocketPath {
			return usageErrorf("the path %s is too long for a Unix socket: at most %d bytes", path, maxSocketPath)
		}
	}
	return nil
}

// maxSocketPath is what sockaddr_un holds on every system (104 bytes on BSD
// and macOS, 108 on Linux), less the final zero.
const maxSocketPath = 103

// checkFile finds a --send-file that cannot be sent before a connection waits
// for it. Only a regular file is opened: opening a FIFO would wait for its
// writer.
func (c *config) checkFile() error {
	if c.sendFile == "" {
		return nil
	}
	info, err := os.Stat(c.sendFile)
	if err == nil && info.Mode().IsRegular() {
		var f *os.File
		if f, err = os.Open(c.sendFile); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return usageErrorf("option --send-file: %w", err)
	}
	if info.IsDir() {
		return usageErrorf("option --send-file: %s is a directory: say \"tar c %s | purr ...\"", c.sendFile, filepath.Clean(c.sendFile))
	}
	return nil
}
