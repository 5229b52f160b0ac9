package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"purr/internal/child"
	"purr/internal/flags"
	"purr/internal/personality"
	"purr/internal/proxy"
	"purr/internal/scan"
	"purr/internal/tlsconn"
	"purr/internal/tunnel"
)

// A usageError is a mistake on the command line: status 2, and a promise that
// nothing was opened, bound or created.
type usageError struct{ error }

// usageErrorf returns a usageError with a formatted text.
func usageErrorf(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func (e usageError) Unwrap() error { return e.error }

// A commandLine is the flag table, and the results of parsing that only rules
// and defaults need.
type commandLine struct {
	flags.Table
	as         personality.Personality
	config     *config
	wait       time.Duration // -w: the default of idleTimeout and connectTimeout
	secretFile string
	proxy      proxy.Spec
}

// given reports whether the option with this canonical name was given.
func (l *commandLine) given(name string) bool {
	_, given := l.Typed(name)
	return given
}

// firstGiven returns the first of the options that was given, "" if none was.
func (l *commandLine) firstGiven(names ...string) string {
	if i := slices.IndexFunc(names, l.given); i >= 0 {
		return names[i]
	}
	return ""
}

// newCommandLine declares every option. A letter means what it means in OpenBSD
// nc; a long name is Ncat's where Ncat has one.
func newCommandLine() *commandLine {
	l := &commandLine{config: newDefaults()}
	l.addressFlags()
	l.proxyFlags()
	l.talkFlags()
	l.limitFlags()
	l.socketFlags()
	l.waitFlags()
	l.checkFlags()
	l.fileFlags()
	l.accessFlags()
	l.keyFlags()
	l.sslFlags()
	l.paceFlags()
	l.pushFlags()
	return l
}

// addressFlags declares the options that select the socket, and the general
// ones.
func (l *commandLine) addressFlags() {
	c := l.config
	l.Bool(&c.help, "help", "h")
	l.Bool(&c.version, "version")
	l.Count(&c.verbose, "verbose", "v")
	l.Bool(&c.noSandbox, "no-sandbox")

	l.Bool(&c.ipv4, "4")
	l.Bool(&c.ipv6, "6")
	l.Bool(&c.udp, "udp", "u")
	l.Bool(&c.unix, "unixsock", "U")
	l.Bool(&c.vsock, "vsock")
	l.Bool(&c.listen, "listen", "l")
	l.Bool(&c.keep, "keep-open", "k")
	l.Text(&c.portText, "port", "source-port", "p")
	l.Text(&c.sourceText, "address", "source", "s")
	l.Bool(&c.numeric, "nodns", "n")
	l.Bool(&c.shuffle, "r")
}

// proxyFlags declares the options of proxies: the one to dial through, and the
// headers of the PROXY protocol.
func (l *commandLine) proxyFlags() {
	p := &l.proxy
	l.Bool(&l.config.pass, "F")
	l.Text(&p.X, "proxy", "x")
	l.Text(&p.XType, "type of the proxy", "X")
	l.Text(&p.User, "user", "P")
	l.Text(&p.Proxy, "proxy", "proxy")
	l.Text(&p.Type, "type of the proxy", "proxy-type")
	l.Text(&p.Auth, "user", "proxy-auth")
	l.Text(&p.DNS, "place", "proxy-dns")
	l.Bool(&l.config.acceptProxy, "accept-proxy")
	l.Bool(new(bool), "send-proxy")
	l.Bool(new(bool), "send-proxy-v2")
}

// talkFlags declares the options of a conversation.
func (l *commandLine) talkFlags() {
	c := l.config
	l.Bool(&c.noStdin, "d")
	l.Bool(new(bool), "recv-only")
	l.Bool(&c.sendOnly, "send-only")
	l.Bool(new(bool), "N")
	l.Bool(&c.noShutdown, "no-shutdown")
	l.Bool(&c.echo, "echo")
	l.Bool(&c.echoAny, "echo-any")
	l.Bool(&c.upper, "upper")
	l.Bool(&c.broker, "broker")
	l.Bool(&c.chat, "chat")
	flags.Value(&l.Table, &c.exec, child.Parse, "exec", "e")
	flags.Value(&l.Table, &c.exec, child.ParseShell, "sh-exec")
	l.Text(new(string), "command", "c") // derive decides what it means
	flags.Value(&l.Table, &c.execGrace, flags.ParseSeconds, "exec-grace")
	l.Bool(&c.crlf, "crlf", "C")
	l.Bool(&c.telnet, "telnet", "t")
	l.Bool(&c.interactive, "interactive")
	flags.Optional(&l.Table, &c.tunnel, tunnel.ParseTarget, "tunnel", "L")
	l.Text(&c.quitWord, "word", "quit-word")
	l.Text(&c.dump.Output, "name of the file", "output", "o")
	l.Text(&c.dump.Hex, "name of the file", "hex-dump")
	l.Bool(&c.dump.Append, "append-output")
}

// limitFlags declares the options that end or delay a conversation.
func (l *commandLine) limitFlags() {
	c := l.config
	flags.Value(&l.Table, &l.wait, flags.ParseSecondsOrNone, "wait", "w")
	flags.Value(&l.Table, &c.idleTimeout, flags.ParseSeconds, "idle-timeout")
	flags.Value(&l.Table, &c.connectTimeout, flags.ParseSeconds, "connect-timeout")
	flags.Value(&l.Table, &c.acceptTimeout, flags.ParseSeconds, "accept-timeout")
	flags.Value(&l.Table, &c.quitAfter, flags.ParseSignedSeconds, "q")
	flags.Value(&l.Table, &c.receiveLimit, number("receive limit", 1, math.MaxInt32), "W")
	flags.Value(&l.Table, &c.maxConns, number("connection limit", 1, math.MaxInt32), "max-conns")
	flags.Value(&l.Table, &c.interval, flags.ParseSeconds, "i")
	flags.Value(&l.Table, &c.delay, flags.ParseSeconds, "delay")
}

// socketFlags declares the options of sockets.
func (l *commandLine) socketFlags() {
	c := l.config
	l.Bool(&c.socket.Broadcast, "b")
	flags.Value(&l.Table, &c.socket.ReceiveBuf, flags.ParseBufferSize, "I")
	flags.Value(&l.Table, &c.socket.SendBuf, flags.ParseBufferSize, "O")
	flags.Value(&l.Table, &c.socket.TTL, number("ttl", 1, 255), "M")
	flags.Value(&l.Table, &c.socket.MinTTL, number("minimum ttl", 1, 255), "m")
	flags.Optional(&l.Table, &c.socket.TOS, flags.ParseTOS, "T")
	flags.Value(&l.Table, &c.keepalive, flags.ParseKeepalive, "keepalive")
	l.Bool(new(bool), "D") // SO_DEBUG: without effect, as in nc for users other than root
}

// waitFlags declares the options of waiting for a peer, and of being waited
// for.
func (l *commandLine) waitFlags() {
	c := l.config
	flags.Value(&l.Table, &c.waitFor, flags.ParseSeconds, "wait-for")
	flags.Value(&l.Table, &c.retries, number("number of retries", 0, math.MaxInt32), "retry")
	flags.Value(&l.Table, &c.readyFD, number("file descriptor", 3, 1<<20), "ready-fd")
	l.Text(&c.portFile, "name of the file", "port-file")
}

// checkFlags declares the options of -z.
func (l *commandLine) checkFlags() {
	c := &l.config.check
	l.Bool(&l.config.zero, "z")
	l.Bool(&c.all, "all")
	l.Bool(&c.any, "any")
	l.Bool(&c.banner, "banner")
	flags.Value(&l.Table, &c.parallel, number("number at once", 1, 65535), "parallel")
	l.Bool(&l.config.listPayloads, "list-payloads")
	l.Func(c.payload.Set, "payload")
	l.Func(c.expect.Set, "expect")
	l.Text(&l.secretFile, "name of the file", "secret-file")
	l.Bool(&c.thorough, "thorough")
	flags.Value(&l.Table, &c.pings, pingCount, "count")
	flags.Value(&l.Table, &c.maxLoss, flags.ParsePercent, "max-loss")
}

// pingCount parses the value of --count, and returns -1 for a text that is no
// number: a rule words the error.
func pingCount(text string) (int, error) {
	n, err := number("", 0, math.MaxInt32)(text)
	if err != nil {
		n = -1
	}
	return n, nil
}

// fileFlags declares the options of raw files.
func (l *commandLine) fileFlags() {
	c := &l.config.file
	l.Text(&l.config.sendFile, "name of the file", "send-file")
	l.Bool(&c.sum, "sum")
	l.Text(&c.recv, "name of the file", "recv-file")
	flags.Value(&l.Table, &c.expectSize, flags.ParseFileSize, "expect-size")
	flags.Value(&l.Table, &c.expectSHA256, flags.ParseSHA256, "expect-sha256")
	l.Bool(&c.keepPartial, "keep-partial")
	l.Bool(&c.force, "force")
}

// accessFlags declares the options of access lists. Each may be repeated.
func (l *commandLine) accessFlags() {
	a := &l.config.access
	l.Func(a.Allow.Add, "allow")
	l.Func(a.Deny.Add, "deny")
	l.Func(a.Allow.AddPath, "allowfile")
	l.Func(a.Deny.AddPath, "denyfile")
}

// keyFlags declares the options of encryption.
func (l *commandLine) keyFlags() {
	c := &l.config.key
	l.Text(&c.file, "name of the file", "key-file")
	l.Bool(&c.fresh, "key-new")
}

// sslOptions are the options of which each asks for TLS, as in Ncat.
var sslOptions = []string{"ssl", "ssl-verify", "ssl-insecure", "ssl-trustfile", "ssl-servername", "ssl-cert", "ssl-key", "ssl-client-ca", "ssl-alpn", "pin"}

// sslFlags declares the options of TLS with certificates.
func (l *commandLine) sslFlags() {
	s := &l.config.ssl
	l.Bool(new(bool), "ssl", "tls")
	l.Bool(new(bool), "ssl-verify") // the default
	l.Bool(&s.insecure, "ssl-insecure")
	l.Text(&s.trustFile, "name of the file", "ssl-trustfile")
	l.Text(&s.serverName, "name", "ssl-servername")
	l.Text(&s.certFile, "name of the file", "ssl-cert")
	l.Text(&s.keyFile, "name of the file", "ssl-key")
	l.Text(&s.clientCA, "name of the file", "ssl-client-ca")
	flags.Value(&l.Table, &s.alpn, flags.ParseALPN, "ssl-alpn")
	flags.Optional(&l.Table, &s.pin, tlsconn.ParsePin, "pin")
}

// paceFlags declares the options of progress and pace.
func (l *commandLine) paceFlags() {
	c := &l.config.pace
	l.Bool(&c.progress, "progress")
	l.Bool(&c.noProgress, "no-progress")
	l.Bool(&c.quiet, "quiet")
	l.Bool(&c.json, "json")
	flags.Value(&l.Table, &c.rate, flags.ParseRate, "rate")
}

// pushFlags declares the options of --push and --pull.
func (l *commandLine) pushFlags() {
	c := &l.config.push
	l.Bool(&c.push, "push")
	l.Bool(&c.pull, "pull")
	l.Bool(&c.rename, "rename")
	l.Bool(&c.noResume, "no-resume")
	l.Bool(&c.live, "live")
	l.Bool(&c.qr, "qr")
	flags.Value(&l.Table, &c.maxSize, flags.ParseSizeLimit, "max-size")
	flags.Value(&l.Table, &c.helloTimeout, flags.ParseSeconds, "hello-timeout")
}

// number returns a parser of whole numbers; what names the number in errors.
func number(what string, low, high int64) func(string) (int, error) {
	return flags.Number{What: what, Low: low, High: high}.Int
}

// readConfig reads the command line (without the program's name, which as
// follows from) and the files that it names. With --help or --version it stops
// after the options; what follows a --help that is the only option is a topic.
// After an error no socket is open, and nothing was bound or created.
func readConfig(as personality.Personality, args []string) (*config, error) {
	l := newCommandLine()
	l.rename(as)
	c := l.config
	operands, behind, err := l.Parse(args, isForeign)
	_, invalid := errors.AsType[*flags.ValueError](err)
	switch {
	case (err == nil || invalid) && (c.help || c.version):
		topic := ""
		if slices.Equal(args, append([]string{"--help"}, operands...)) {
			topic = strings.Join(operands, " ")
		}
		if c.helpText = as.Help; c.helpText == "" || topic != "" {
			c.helpText, err = helpOn(topic)
		}
		return c, err
	case err != nil:
		return nil, explain(&as, err)
	}
	if err := c.inherit(operands); err != nil {
		return nil, err
	}
	l.derive()
	if c.waits() {
		c.command = operands[len(operands)-behind:]
		operands = operands[:len(operands)-behind]
	}
	if err := l.conflict(); err != nil {
		return nil, err
	}
	l.proxy.Env = cmp.Or(os.Getenv("NCAT_PROXY_AUTH"), os.Getenv("NC_PROXY_AUTH"))
	if l.isProxy() {
		c.server, err = l.proxy.Server()
	} else {
		c.proxy, err = l.proxy.Config()
	}
	if err != nil {
		return nil, usageError{err}
	}
	if c.listPayloads {
		if len(operands) > 0 {
			return nil, usageErrorf("option --list-payloads takes no operands: say \"purr --list-payloads\"")
		}
		return c, nil
	}
	if !c.unix && !c.push.moves() && !(c.listen && c.portText != "") {
		operands = as.WithPort(operands, c.listen)
	}
	if err := c.setOperands(operands); err != nil {
		return nil, err
	}
	return c, l.checkFiles()
}

// isProxy reports whether purr is to be a proxy: -l --proxy-type.
func (l *commandLine) isProxy() bool { return l.config.listen && l.given("proxy-type") }

// derive sets the fields that follow from several options.
func (l *commandLine) derive() {
	c := l.config
	c.network = "tcp"
	switch {
	case c.vsock:
		c.network, c.unix = "vsock", true
	case c.unix && c.udp:
		c.network = "unixgram"
	case c.unix:
		c.network = "unix"
	case c.udp:
		c.network = "udp"
	}
	c.noStdin = c.noStdin || l.given("recv-only") || c.file.recv != ""
	c.push.silence = cmp.Or(c.idleTimeout, c.push.silence)
	c.broker = c.broker || c.chat
	c.keep = c.keep || l.isProxy() || c.broker
	if l.given("send-proxy") {
		c.sendProxy = 1
	} else if l.given("send-proxy-v2") {
		c.sendProxy = 2
	}
	if !l.as.WaitConnects {
		c.idleTimeout = cmp.Or(c.idleTimeout, l.wait)
	}
	c.connectTimeout = cmp.Or(c.connectTimeout, l.wait)
	c.quitAtOnce = l.given("wait") && l.wait == 0 && !l.given("q") || l.given("q") && c.quitAfter == 0 && c.udp && !c.listen // nothing would be half-closed
	c.shutdownAtOnce = c.quitAtOnce || l.given("N") || l.given("q") && c.quitAfter == 0
	if l.given("q") && c.quitAfter < 0 {
		c.noShutdown = true
	}
	if c.quitAfter <= 0 {
		c.quitAfter = -1
	}
	c.ssl.on = slices.ContainsFunc(sslOptions, l.given)
	if c.tunnel != nil && c.tunnel.TLS {
		l.splitTLS()
	}
	if c.zero && c.ssl.on { // as the scan without --ssl has it
		c.connectTimeout = cmp.Or(c.connectTimeout, scan.DefaultTimeout)
	}
	c.check.ping = l.pings()
	switch text, given := l.Typed("c"); {
	case given && c.zero && c.udp:
		c.check.pings, _ = pingCount(text)
	case given && !l.given("exec") && !l.given("sh-exec"):
		c.exec = child.Shell(text)
	}
	if c.zero { // --rate is in datagrams; a rule refuses 0
		c.pace.rate = 0
		text, _ := l.Typed("rate")
		c.check.rate, _ = number("", 1, 1_000_000)(text)
	}
	l.adopt()
}

// rename declares the options that are different under the name of another
// netcat.
func (l *commandLine) rename(as personality.Personality) {
	l.as = as
	for _, r := range as.Renames {
		l.Rename(r.Name, r.Option)
	}
	if as.Announces {
		l.Bool(&l.config.announce, "test")
	}
}

// adopt sets the defaults of another netcat. Modes that only purr has keep
// theirs.
func (l *commandLine) adopt() {
	c, as := l.config, &l.as
	own := c.push.moves() || c.echo || c.exec != nil || c.tunnel != nil || l.isProxy() || c.sendFile != "" || c.file.recv != "" || c.key.file != "" || c.key.fresh || os.Getenv(keyVariable) != ""
	c.shutdownAtOnce = c.shutdownAtOnce || as.KeepsOpen && c.quitAfter > 0 && !c.noShutdown // nc's -q implies -N
	c.noShutdown = c.noShutdown || as.KeepsOpen && !own && c.network != "udp" && !c.shutdownAtOnce && !c.sendOnly
	c.passesOn, c.idleFails = as.PassesOn, as.IdleFails
	c.telnet = c.telnet && !(as.Other() && c.udp)
	if as.KeepDials && !c.listen {
		c.keep, c.stays = false, c.keep
	}
	if c.keep {
		c.maxConns = cmp.Or(c.maxConns, as.MaxConns)
	}
	if !c.udp && !c.listen {
		c.connectTimeout = cmp.Or(c.connectTimeout, as.ConnectTime)
	}
	if as.TrustsAll && c.ssl.on && !c.listen && c.tunnel == nil && c.ssl.trustFile == "" && c.ssl.pin == nil && !l.given("ssl-verify") {
		c.ssl.insecure = true
	}
	if c.zero && c.udp && as.Probe.Payload != "" && !c.check.payload.Given() && !c.check.ping {
		_ = c.check.payload.Set(as.Probe.Payload)
		c.check.sends = as.Probe.Sends
		c.connectTimeout = cmp.Or(c.connectTimeout, as.Probe.Wait)
	}
}

// splitTLS divides the options of TLS between the two sides of -L tls:. The
// target's side gets those that check a server. The peer's side is encrypted
// only with --ssl or --ssl-client-ca. It then gets --ssl-cert and --ssl-key,
// otherwise the target's side does; a dialer's --ssl-trustfile is for both.
func (l *commandLine) splitTLS() {
	c := l.config
	own, to := c.ssl, c.ssl
	c.ssl = sslConfig{on: l.given("ssl") || own.clientCA != "", clientCA: own.clientCA}
	to.on, to.clientCA = true, ""
	if c.ssl.on {
		c.ssl.certFile, c.ssl.keyFile = own.certFile, own.keyFile
		to.certFile, to.keyFile = "", ""
		if !c.listen {
			c.ssl.trustFile = own.trustFile
		}
	}
	c.targetSSL = to
}
