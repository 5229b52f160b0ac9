package main

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"strings"

	"purr/internal/child"
	"purr/internal/flags"
	"purr/internal/personality"
	"purr/internal/sock"
)

// A rule forbids a combination of options.
type rule struct {
	broken  bool
	message string
}

// conflict returns a usageError for the first illegal combination of options,
// or nil. All rules are in this file.
func (l *commandLine) conflict() error {
	for _, rules := range [][]rule{l.brokerRules(), l.proxyRules(), l.execRules(), l.tunnelRules(), l.fileRules(), l.keyRules(), l.sslRules(), l.paceRules(), l.pushRules(), l.dumpRules(), l.checkRules(), l.waitRules(), l.generalRules()} {
		if i := slices.IndexFunc(rules, func(r rule) bool { return r.broken }); i >= 0 {
			message := rules[i].message
			if l.config.vsock { // what is forbidden for -U is for it, too
				message = strings.NewReplacer(" -U", " --vsock", "Unix socket", "VM socket").Replace(message)
			}
			return usageErrorf("%s", message)
		}
	}
	return nil
}

// excluder returns a function that returns the rule by which an option excludes
// others.
func excluder(option string) func(broken bool, others, why string) rule {
	return func(broken bool, others, why string) rule {
		return rule{broken, "options " + option + " and " + others + " exclude each other: " + why}
	}
}

// brokerRules are those of --broker and --chat.
func (l *commandLine) brokerRules() []rule {
	c := l.config
	if !c.broker {
		return nil
	}
	name := "--" + l.firstGiven("chat", "broker")
	excludes := excluder(name)
	return []rule{
		excludes(c.zero, "-z", "-z exchanges no data"),
		{!c.listen, "option " + name + " needs -l: a listener passes on what its clients send"},
		excludes(c.udp, "-u", "datagrams have no connections, and nothing shows when a client has left; use TCP or -U"),
		excludes(c.tunnel != nil, "-L", "the other end of a client is the others, or a target"),
		excludes(l.isProxy(), "--proxy-type with -l", "the other end of a client is the others, or what it asks for"),
		excludes(c.exec != nil, "--exec or --sh-exec", "the other end of a client is the others, or a command"),
		excludes(c.echo, "--echo", "the other end of a client is the others, or itself"),
		excludes(c.sendFile != "" || c.file.recv != "", "--send-file or --recv-file", "the other end of a client is the others, or a file"),
		excludes(c.push.moves(), "--push or --pull", "the other end of a client is the others, or files"),
		excludes(c.sendOnly, "--send-only", "what a client sends goes to the others"),
		excludes(c.interactive || c.quitWord != "", "--interactive or --quit-word", "these are for one peer; dial the broker with them"),
		excludes(l.given("N") || l.given("q") || c.noShutdown, "-N, -q or --no-shutdown", "the end of stdin ends no client"),
	}
}

// proxyOption returns the option of the proxy to dial through, "" without one.
func (l *commandLine) proxyOption() string {
	switch l.firstGiven("proxy", "x") {
	case "proxy":
		return "--proxy"
	case "x":
		return "-x"
	}
	return ""
}

// proxyRules are those of -x and --proxy, whose parser has the rest, and of the
// PROXY protocol.
func (l *commandLine) proxyRules() []rule {
	c := l.config
	via := l.proxyOption()
	encrypted := l.proxy.Type == "https" || strings.HasPrefix(strings.ToLower(l.proxy.Proxy), "https:")
	send := "--" + l.firstGiven("send-proxy", "send-proxy-v2")
	return []rule{
		{c.pass && (c.listen || c.udp || c.zero || len(c.command) > 0 || c.push.moves() || c.echo || c.sendFile != "" || c.file.recv != "" || c.tunnel != nil || c.exec != nil || c.interactive || c.quitWord != ""),
			"option -F goes with HOST PORT and options of connecting only: the program behind stdout talks over the connection"},
		{c.pass && (l.config.key.given() || l.config.ssl.on), "options -F and a key or --ssl exclude each other: the program behind stdout does not have the state of the encryption"},
		{c.pass && encrypted, "options -F and an https proxy exclude each other: the program behind stdout does not have the state of the encryption"},
		{via != "" && c.listen && c.tunnel == nil && !l.isProxy(), "options " + via + " and -l exclude each other, except with -L: only a dialer goes through a proxy"},
		{via != "" && c.udp, "options " + via + " and -u exclude each other: a proxy carries streams"},
		{via != "" && c.unix && c.tunnel == nil, "options " + via + " and -U exclude each other: a proxy connects to hosts"},
		{via != "" && c.zero && (c.pace.json || c.check.banner || l.given("parallel")), "options -z " + via + " and --json, --banner or --parallel exclude each other: a proxy is asked for one port after the other"},
		{c.acceptProxy && !c.listen, "option --accept-proxy needs -l: a dialer sends a PROXY header, with --send-proxy or --send-proxy-v2"},
		{c.acceptProxy && c.udp, "options --accept-proxy and -u exclude each other: a PROXY header begins a stream; use TCP or -U"},
		{l.given("send-proxy") && l.given("send-proxy-v2"), "options --send-proxy and --send-proxy-v2 exclude each other: say the one that the server reads"},
		{c.sendProxy > 0 && c.udp, "options " + send + " and -u exclude each other: a PROXY header begins a stream; use TCP or -U"},
		{c.sendProxy > 0 && c.listen && c.tunnel == nil, "options " + send + " and -l exclude each other, except with -L: a listener reads a PROXY header, with --accept-proxy"},
		{c.sendProxy > 0 && (c.zero || len(c.command) > 0), "options " + send + " and -z or \"-- CMD\" exclude each other: purr sends nothing then"},
	}
}

// tunnelRules are those of -L, and of -l --proxy-type: with both, a target
// replaces stdin and stdout as the other end.
func (l *commandLine) tunnelRules() []rule {
	c, name := l.config, "-L"
	if l.isProxy() {
		name = "--proxy-type"
	} else if c.tunnel == nil {
		return nil
	}
	via := l.proxyOption()
	excludes := excluder(name)
	return []rule{
		excludes(l.isProxy() && c.tunnel != nil, "-L", "the other end is the client's choice, or one target"),
		excludes(l.isProxy() && via != "", via, "a proxy connects to the targets itself"),
		excludes(c.zero, "-z", "-z exchanges no data"),
		excludes(c.udp && l.isProxy(), "-u", "a proxy carries streams"),
		{c.tunnel != nil && c.tunnel.UDP && !c.udp, "options -L udp: and TCP exclude each other: a stream has no datagrams; listen with -u"},
		{c.tunnel != nil && !c.tunnel.UDP && (c.tunnel.Path == "" || c.tunnel.VM) && c.udp, "options -u and -L HOST:PORT, tls: or vsock: exclude each other: a stream has no datagrams; say -L udp:HOST:PORT"},
		excludes(c.echo, "--echo", "the other end is the target, or the peer itself"),
		excludes(c.sendFile != "" || c.file.recv != "", "--send-file or --recv-file", "the other end is the target, or a file"),
		excludes(c.push.moves(), "--push or --pull", "the other end is the target, or files"),
		excludes(c.interactive || c.quitWord != "" || c.noStdin || c.sendOnly, "--interactive, --quit-word, -d, --recv-only or --send-only", "a tunnel uses neither stdin nor stdout"),
		excludes(c.crlf || c.telnet || c.upper || l.given("i") || l.given("W"), "-C, -t, --upper, -i or -W", "a tunnel changes nothing"),
		excludes(l.given("N") || l.given("q") || c.noShutdown, "-N, -q or --no-shutdown", "a tunnel passes every end on"),
		excludes(via != "" && c.tunnel != nil && c.tunnel.Path != "", via, "a proxy connects to hosts, and the target is a Unix or VM socket"),
	}
}

// generalRules are those of addresses, sockets and conversations.
func (l *commandLine) generalRules() []rule {
	c := l.config
	list := l.firstGiven("allow", "deny", "allowfile", "denyfile")
	vm := c.vsock || c.tunnel != nil && c.tunnel.VM
	return []rule{
		{vm && !sock.HasVM, "options --vsock and -L vsock: need Linux: use TCP"},
		{c.vsock && l.given("unixsock"), "options --vsock and --unixsock exclude each other: one takes a CID and a port, the other a path"},
		{c.vsock && c.udp, "options --vsock and -u exclude each other: a VM socket carries streams, leave -u out"},
		{c.vsock && c.sourceText != "", "options --vsock and -s exclude each other: a VM socket has the CID of its machine; for a listener's, say -l --vsock CID PORT"},
		{c.vsock && list != "", "options --vsock and --" + list + " exclude each other: the lists hold IP addresses, and a VM socket's clients have none"},
		{c.vsock && c.portText != "", "options --vsock and -p exclude each other: say the port as the operand"},
		{c.ipv4 && c.ipv6, "options -4 and -6 exclude each other: leave both out to use whichever answers"},
		{c.unix && c.ipv4, "options -U and -4 exclude each other: a Unix socket has no IP address, leave -4 out"},
		{c.unix && c.ipv6, "options -U and -6 exclude each other: a Unix socket has no IP address, leave -6 out"},
		{c.unix && c.portText != "", "options -U and -p exclude each other: a Unix socket has a path and no port, leave -p out"},
		{c.unix && !(c.udp && !c.listen) && c.sourceText != "", "option -s goes with -U only in \"purr -u -U -s OWN_PATH PATH\": give the path as the operand"},
		{c.keep && !c.listen, "option -k needs -l: to keep a connection alive, say --keepalive; to listen again after each client, say -l -k"},
		{l.given("max-conns") && !c.keep && !(c.listen && l.as.MaxConns > 0), "option --max-conns needs -l -k: without -k there is only one connection"},
		{l.given("max-conns") && c.udp && c.tunnel == nil && c.exec == nil, "options --max-conns and -u exclude each other: datagrams have no connections to count"},
		{list != "" && !c.listen, "option --" + list + " needs -l: a dialer chooses whom it calls"},
		{list != "" && c.unix, "options --" + list + " and -U exclude each other: a Unix socket's clients have no addresses; the permissions of its file say who may connect"},
		{l.given("accept-timeout") && !c.listen, "option --accept-timeout needs -l: for a dialer, say --connect-timeout"},
		{l.given("connect-timeout") && c.listen && c.tunnel == nil && !l.isProxy(), "options --connect-timeout and -l exclude each other: for a listener, say --accept-timeout"},
		{l.given("connect-timeout") && c.udp, "options --connect-timeout and -u exclude each other: UDP has no connection to wait for, -w limits the wait for an answer"},
		{c.sendOnly && c.noStdin, "options --send-only and --recv-only (or -d) exclude each other: leave both out to do both"},
		{c.noStdin && c.sendFile != "", "options -d (or --recv-only) and --send-file exclude each other: --send-file reads no stdin anyway, leave -d out"},
		{c.noStdin && c.interactive, "options -d (or --recv-only) and --interactive exclude each other: the line editor reads stdin"},
		{c.noStdin && c.quitWord != "", "options -d (or --recv-only) and --quit-word exclude each other: the word is read from stdin"},
		{c.sendOnly && c.interactive, "options --send-only and --interactive exclude each other: leave one out"},
		{l.given("N") && c.noShutdown, "options -N and --no-shutdown (or -q -1) exclude each other: the first half-closes at the end of stdin, the second never does; leave one out"},
		{c.echo && c.sendFile != "", "options --echo and --send-file exclude each other: an echo sends only what it received"},
		{c.echo && (c.sendOnly || l.given("recv-only")), "options --echo and --send-only or --recv-only exclude each other: an echo does both"},
		{c.echo && (c.interactive || c.quitWord != ""), "options --echo and --interactive or --quit-word exclude each other: an echo reads no stdin"},
		{c.echo && (c.crlf || l.given("i")), "options --echo and -C or -i exclude each other: they change what is read from stdin, and an echo reads none"},
		{c.echoAny && !(c.echo && c.udp && !c.unix), "option --echo-any needs -u --echo: only UDP's senders can be forged, so that two echoes answer each other"},
		{c.sendFile != "" && c.udp, "options --send-file and -u exclude each other: datagrams have no end and may get lost; use TCP, or \"purr -u HOST PORT <FILE\""},
		{c.sendFile != "" && (c.interactive || c.quitWord != ""), "options --send-file and --interactive or --quit-word exclude each other: --send-file reads no stdin"},
		{c.sendFile != "" && (c.crlf || l.given("i")), "options --send-file and -C or -i exclude each other: --send-file sends exactly the file; for changed lines say \"purr ... <FILE\""},
		{c.interactive && c.keep, "options --interactive and -k exclude each other: the line editor talks to one peer"},
		{c.quitWord != "" && c.keep, "options --quit-word and -k exclude each other: the word ends one conversation"},
		{c.sendFile != "" && c.telnet, "options --send-file and -t exclude each other: -t answers Telnet's commands among the bytes of the file"},
		{c.telnet && c.udp, "options -t and -u exclude each other: Telnet runs over TCP"},
		{c.telnet && c.echo, "options -t and --echo exclude each other: an echo answers with what it received"},
		{l.given("keepalive") && c.network != "tcp", "option --keepalive needs TCP: leave out -u or -U"},
		{l.given("M") && c.unix, "options -M and -U exclude each other: a Unix socket has no TTL"},
		{l.given("m") && c.unix, "options -m and -U exclude each other: a Unix socket has no TTL"},
		{l.given("T") && c.unix, "options -T and -U exclude each other: a Unix socket has no TOS"},
	}
}

// pings reports whether -z -u is to count pings: by --count, or by -c, which is
// a command elsewhere.
func (l *commandLine) pings() bool {
	return l.given("count") || l.config.zero && l.config.udp && l.given("c")
}

// execRules are those of commands.
func (l *commandLine) execRules() []rule {
	c := l.config
	if c.exec == nil {
		return []rule{{l.given("exec-grace"), "option --exec-grace needs --exec or --sh-exec: it is how long a command may take to end"}}
	}
	name := "--" + cmp.Or(l.firstGiven("exec", "sh-exec"), "sh-exec")
	with := func(other, why string) string {
		return "options " + name + " and " + other + " exclude each other: " + why
	}
	return []rule{
		{l.given("exec") && (l.given("sh-exec") || l.given("c")), "options --exec and --sh-exec (-c) exclude each other: one command is the other end"},
		{c.zero, with("-z", "-z exchanges no data; with -z -u, -c counts pings")},
		{c.tunnel != nil, "options -L and " + name + " exclude each other: the other end is a connection or a command"},
		{l.isProxy(), with("--proxy-type with -l", "the other end is a command or what each client asks for")},
		{c.echo, with("--echo", "the other end is a command or the peer itself")},
		{c.sendFile != "" || c.file.recv != "", with("--send-file or --recv-file", "the other end is a command or a file")},
		{c.push.moves(), with("--push or --pull", "the other end is a command or files")},
		{c.interactive || c.quitWord != "", with("--interactive or --quit-word", "a command reads and writes, and stdin is not read")},
		{c.noStdin, with("-d or --recv-only", "a command does both; for one direction, say --sh-exec 'CMD >/dev/null'")},
		{c.sendOnly && c.udp, with("--send-only with -u", "the first datagram starts the command; to leave it unread, say --sh-exec 'CMD </dev/null'")},
		{l.given("N") || l.given("q") || c.noShutdown, with("-N, -q or --no-shutdown", "the end of a command is passed on at once")},
		{l.given("W"), with("-W", "a command ends by itself; for a limit of time, say -w")},
		{len(c.command) > 0, with("a command behind --", "say \"purr --wait-for TIME HOST PORT -- purr --exec CMD HOST PORT\"")},
		{c.keep && c.udp && !child.HasDatagrams, with("-k with -u", "this system has no Unix datagram sockets, which lead to several commands; leave -k out")},
		{c.keep && c.udp && (c.crlf || c.upper || l.given("i")), with("-C, --upper or -i with -u -k", "datagrams pass as they are; say --sh-exec 'CMD | tr a-z A-Z'")},
	}
}

// checkRules returns the rules of -z and the options of port checks.
func (l *commandLine) checkRules() []rule {
	c, k := l.config, &l.config.check
	udp := c.zero && c.udp
	count, _ := l.Typed("count")
	letter, _ := l.Typed("c")
	own := !l.as.Other() // elsewhere an option that has no effect is no error
	return []rule{
		{l.given("count") && !udp, "option --count needs -z -u: it counts pings; for a command, say --sh-exec LINE (-c)"},
		{c.check.pings < 0, "option -c: the number of pings is invalid: " + cmp.Or(count, letter) + " (0: until a signal comes)"},
		{c.zero && c.listen, "options -z and -l exclude each other: -z only asks whether a port is open, leave one out"},
		{c.zero && c.udp && c.unix, "options -z, -u and -U exclude each other: nobody answers to an empty Unix datagram, leave -u out"},
		{c.zero && (c.echo || c.upper), "options -z and --echo or --upper exclude each other: -z exchanges no data"},
		{c.zero && c.sendFile != "", "options -z and --send-file exclude each other: -z sends nothing; for a payload over UDP, say -zu --payload file:PATH"},
		{c.zero && (c.interactive || c.quitWord != "" || own && (c.crlf || c.telnet)), "options -z and --interactive, --quit-word, -C or -t exclude each other: -z exchanges no data"},
		{own && c.zero && l.given("W"), "options -z and -W exclude each other: -z exchanges no data; for the number of UDP pings, say -zu -c"},
		{own && c.zero && l.given("idle-timeout"), "options -z and --idle-timeout exclude each other: -w limits the wait for each port"},
		{own && c.zero && (l.given("M") || l.given("m") || l.given("T") || l.given("I") || l.given("O") || c.socket.Broadcast || l.given("keepalive")), "options -z and -M, -m, -T, -I, -O, -b or --keepalive exclude each other: -z exchanges no data, leave them out"},
		{c.zero && l.given("i") && c.unix, "options -z -U and -i exclude each other: there is only one path to ask"},
		{udp && l.given("i") && !l.pings(), "option -i needs -c with -z -u: for fewer datagrams a second, say --rate"},
		{(k.all || k.any) && !c.zero, "options --all and --any need -z: they say which ports must be open"},
		{k.all && k.any, "options --all and --any exclude each other: one open port is enough, or all must be open"},
		{(k.all || k.any) && c.unix, "options --all or --any and -U exclude each other: there is only one path to ask"},
		{k.banner && (!c.zero || c.udp || c.unix), "option --banner needs -z over TCP: -zu shows the answer anyway"},
		{c.zero && c.pace.json && c.unix, "options -z, --json and -U exclude each other: the status says whether somebody answers"},
		{l.given("parallel") && (!c.zero || c.unix), "option --parallel needs -z over TCP or UDP: it is how many ports are asked at once"},
		{l.given("parallel") && l.pings(), "options --parallel and -c exclude each other: pings go to one port"},
		{l.given("parallel") && c.zero && !c.udp && l.given("i"), "options --parallel and -i exclude each other: -i asks one port after the other"},
		{k.payload.Given() && !udp, "option --payload needs -z -u: to send data over a connection, pipe it into \"purr HOST PORT\""},
		{k.expect.Given() && !udp, "option --expect needs -z -u: over TCP, pipe the answer of \"purr HOST PORT\" into grep(1)"},
		{l.secretFile != "" && !udp, "option --secret-file needs -z -u: it is for probes of RADIUS and SNMP"},
		{k.thorough && !udp, "option --thorough needs -z -u: for a slower scan over TCP, say --parallel or -i"},
		{c.zero && !c.udp && l.given("rate"), "options -z and --rate go together only with -u: for a slower scan over TCP, say --parallel or -i"},
		{udp && l.given("rate") && k.rate == 0, "option --rate is in datagrams a second with -z -u: say a number from 1 to 1000000, without a letter"},
		{l.pings() && (k.thorough || l.given("rate") || k.all || k.any), "options -c and --thorough, --rate, --all or --any exclude each other: pings go to one port, -i says how often"},
		{l.pings() && k.expect.Given(), "options -c and --expect exclude each other: pings count any answer that matches the payload"},
		{l.given("max-loss") && !l.pings(), "option --max-loss needs -z -u -c: it is about pings"},
	}
}

// waitRules are those of waiting, and of being waited for.
func (l *commandLine) waitRules() []rule {
	c := l.config
	waiting := l.given("wait-for") || l.given("retry")
	return []rule{
		{waiting && c.listen, "options --wait-for or --retry and -l exclude each other: a listener waits anyway, --accept-timeout limits it"},
		{waiting && c.udp && !c.zero, "options --wait-for or --retry and -u exclude each other: a UDP port is there once it answers; say \"purr -zu --wait-for TIME HOST PORT -- purr -u HOST PORT\""},
		{waiting && l.pings(), "options --wait-for or --retry and -c exclude each other: pings try again anyway"},
		{l.given("ready-fd") && !c.listen, "option --ready-fd needs -l: a dialer has nothing to announce"},
		{c.portFile != "" && !c.listen, "option --port-file needs -l: a dialer has nothing to announce"},
	}
}

// fileRules are those of raw files.
func (l *commandLine) fileRules() []rule {
	c := l.config
	recv := c.file.recv != ""
	return []rule{
		{recv && c.sendFile != "", "options --recv-file and --send-file exclude each other: send with one run and receive with another"},
		{recv && c.udp, "options --recv-file and -u exclude each other: datagrams have no end and may get lost; use TCP, or \"purr -u -l PORT >FILE\""},
		{recv && c.keep, "options --recv-file and -k exclude each other: one name is for one client, leave -k out"},
		{recv && c.echo, "options --recv-file and --echo exclude each other: for a copy of what is echoed, say \"purr --echo ... >FILE\""},
		{recv && (c.interactive || c.quitWord != ""), "options --recv-file and --interactive or --quit-word exclude each other: --recv-file reads no stdin"},
		{recv && c.sendOnly, "options --recv-file and --send-only exclude each other: leave one out"},
		{recv && c.zero, "options --recv-file and -z exclude each other: -z exchanges no data; for what a port says, say --banner"},
		{recv && (c.crlf || l.given("i")), "options --recv-file and -C or -i exclude each other: they are about lines, and a file is stored as it comes"},
		{recv && c.telnet, "options --recv-file and -t exclude each other: -t takes Telnet's commands out of what arrives, and a file is stored as it comes"},
		{recv && l.given("W"), "options --recv-file and -W exclude each other: a file is whole when its sender ends; for its size, say --expect-size"},
		{recv && len(c.command) > 0, "option --recv-file and a command after -- exclude each other: say \"purr --wait-for TIME HOST PORT -- purr --recv-file FILE HOST PORT\""},
		{c.file.sum && recv, "options --sum and --recv-file exclude each other: --recv-file says the SHA-256 anyway, leave --sum out"},
		{c.file.sum && c.sendFile == "", "option --sum needs --send-file: for stdin, say \"tee >(sha256sum >&2) <FILE | purr ...\""},
		{l.given("expect-size") && !recv, "option --expect-size needs --recv-file: say \"purr ... --recv-file FILE\""},
		{l.given("expect-sha256") && !recv, "option --expect-sha256 needs --recv-file: say \"purr ... --recv-file FILE\""},
		{c.file.keepPartial && !recv, "option --keep-partial needs --recv-file: say \"purr ... --recv-file FILE\""},
		{recv && c.push.moves(), "options --recv-file and --push or --pull exclude each other: --pull is the checked way, --recv-file is for a peer without purr"},
	}
}

// keyRules are those of encryption.
func (l *commandLine) keyRules() []rule {
	c, k := l.config, l.config.key
	_, variable := os.LookupEnv(keyVariable)
	asked := k.file != "" || k.fresh
	return []rule{
		{k.file != "" && k.fresh, "options --key-file and --key-new exclude each other: --key-new makes a key, the other end gets it by --key-file or PURR_KEY"},
		{asked && c.zero, "options --key-file or --key-new and -z exclude each other: -z exchanges no data, leave the key out"},
		{asked && len(c.command) > 0, "options --key-file or --key-new and \"-- CMD\" exclude each other: purr exchanges no data then, give the key to CMD"},
		{asked && c.udp, "options --key-file or --key-new and -u exclude each other: datagrams cannot be encrypted, use TCP"},
		{variable && c.udp && exchangesData(c), "option -u and the variable PURR_KEY exclude each other: datagrams cannot be encrypted; use TCP, or unset PURR_KEY to send clear text"},
		{variable && k.fresh, "option --key-new and the variable PURR_KEY exclude each other: there is a key already, leave --key-new out or unset PURR_KEY"},
		{k.fresh && !c.listen && !c.waits(), "option --key-new needs -l, or --wait-for: nobody who listens already can hold a key that is made now"},
	}
}

// sslRules are those of TLS with certificates.
func (l *commandLine) sslRules() []rule {
	c, s, k := l.config, &l.config.ssl, l.config.key
	_, variable := os.LookupEnv(keyVariable)
	dial := s // the side that checks a listener
	if c.targetSSL.on {
		dial = &c.targetSSL
	}
	named := s.serverName != "" || s.pin != nil || s.insecure
	return []rule{
		{s.on && c.udp, "options --ssl and -u exclude each other: TLS protects streams, and DTLS is not supported; use TCP"},
		{s.on && (k.file != "" || k.fresh), "options --ssl and --key-file or --key-new exclude each other: a key encrypts by itself, between two purrs, and needs no certificates"},
		{s.on && variable && exchangesData(c), "option --ssl and the variable PURR_KEY exclude each other: a key encrypts by itself, between two purrs; unset PURR_KEY for certificates"},
		{s.on && len(c.command) > 0 && !c.zero, "options --ssl and \"-- CMD\" exclude each other: purr exchanges no data then; say -z --ssl to wait for a handshake"},
		{s.keyFile != "" && s.certFile == "" || dial.keyFile != "" && dial.certFile == "", "option --ssl-key needs --ssl-cert: the key belongs to a certificate"},
		{s.clientCA != "" && !c.listen, "option --ssl-client-ca needs -l: for what a listener shows, say --ssl-trustfile"},
		{c.listen && (s.trustFile != "" || s.serverName != "" || s.insecure || l.given("ssl-verify") && dial == s), "options --ssl-trustfile, --ssl-servername, --ssl-verify and --ssl-insecure are for a dialer: to demand certificates of clients, say --ssl-client-ca FILE"},
		{dial.insecure && (dial.trustFile != "" || dial.pin != nil || l.given("ssl-verify")), "options --ssl-insecure and --ssl-verify, --ssl-trustfile or --pin exclude each other: one accepts any certificate, the others check it"},
		{dial.pin != nil && (dial.trustFile != "" || dial.clientCA != ""), "options --pin and --ssl-trustfile or --ssl-client-ca exclude each other: a pin replaces authorities and names"},
		{s.on && c.unix && !c.listen && !named, "options --ssl and -U need --ssl-servername, --pin or --ssl-insecure: no certificate is for a path"},
		{s.on && c.zero && (c.unix || c.pace.json || c.check.banner || l.given("parallel")), "options -z --ssl and -U, --json, --banner or --parallel exclude each other: handshakes are done with one port after the other"},
	}
}

// paceRules are those of progress and pace.
func (l *commandLine) paceRules() []rule {
	c, k := l.config, &l.config.pace
	return []rule{
		{k.progress && k.noProgress, "options --progress and --no-progress exclude each other: leave both out to see the progress of files on a terminal"},
		{k.quiet && c.verbose > 0, "options --quiet and -v exclude each other: leave one out"},
		{c.zero && (k.progress || k.noProgress), "options -z and --progress or --no-progress exclude each other: -z moves no bytes"},
		{c.zero && k.quiet, "options -z and --quiet exclude each other: -z over TCP is silent without -v; over UDP, say >/dev/null"},
		{c.interactive && k.progress, "options --interactive and --progress exclude each other: the last line of the terminal is the one being typed"},
		{c.interactive && k.json, "options --interactive and --json exclude each other: the line editor is for a person, the events are for a program"},
		{c.noStdin && l.given("rate") && !c.zero, "options -d (or --recv-only, --recv-file) and --rate exclude each other: --rate limits what is sent, give it to the sender"},
	}
}

// dumpRules are those of --output, --hex-dump and --delay: they are about what
// passes in a conversation.
func (l *commandLine) dumpRules() []rule {
	c := l.config
	given := l.firstGiven("output", "hex-dump", "delay")
	if c.dump.Append && !c.dump.Given() || given == "" {
		return []rule{{c.dump.Append, "option --append-output needs --output (-o) or --hex-dump: it is about their files"}}
	}
	excludes := excluder("--" + given)
	return []rule{
		excludes(c.zero, "-z", "-z exchanges no data; for what a port says, say --banner"),
		excludes(c.push.moves(), "--push or --pull", "files have a protocol around them; for a plain conversation about one, say --send-file or --recv-file"),
		excludes(c.pass, "-F", "the bytes do not pass through purr; leave one out"),
		excludes(len(c.command) > 0, "a command behind --", "say \"purr --wait-for TIME HOST PORT -- purr --"+given+" ... HOST PORT\""),
	}
}

// pushRules are those of --push and --pull.
func (l *commandLine) pushRules() []rule {
	c, p := l.config, l.config.push
	moves := p.moves()
	return []rule{
		{p.push && p.pull, "options --push and --pull exclude each other: --push sends files, --pull receives them; the other end says the other"},
		{moves && c.udp, "options --push or --pull and -u exclude each other: checked files go over TCP or a Unix socket, leave -u out"},
		{moves && c.zero, "options --push or --pull and -z exclude each other: -z exchanges no data"},
		{moves && c.sendFile != "", "options --push or --pull and --send-file exclude each other: --push is the checked way, --send-file is for a peer without purr"},
		{moves && (c.echo || c.upper), "options --push or --pull and --echo or --upper exclude each other: files arrive as they are"},
		{moves && (c.interactive || c.quitWord != "" || c.crlf || c.telnet), "options --push or --pull and --interactive, --quit-word, -C or -t exclude each other: files arrive as they are"},
		{moves && (c.noStdin || c.sendOnly || l.given("N") || c.noShutdown || l.given("q")), "options --push or --pull and -d, --recv-only, --send-only, -N, --no-shutdown or -q exclude each other: no stdin is read, leave them out"},
		{moves && (l.given("W") || l.given("i")), "options --push or --pull and -W or -i exclude each other: a file is not counted in reads or lines"},
		{moves && c.shuffle, "options --push or --pull and -r exclude each other: files go to one port"},
		{moves && l.config.waits() && len(c.command) > 0, "options --push or --pull and a command behind -- exclude each other: say \"purr --wait-for TIME HOST PORT -- purr --push HOST PORT PATH...\""},
		{!p.pull && p.rename, "option --rename needs --pull: the receiver decides what it stores"},
		{!p.pull && l.given("max-size"), "option --max-size needs --pull: the receiver decides what it stores"},
		{p.rename && c.file.force, "options --rename and --force exclude each other: one keeps what exists, the other replaces it"},
		{p.pull && l.given("rate"), "options --pull and --rate exclude each other: --rate limits what is sent, give it to the sender"},
		{p.live && !p.push, "option --live needs --push: it is about files that grow while they are sent"},
		{p.qr && !(moves && c.listen), "option --qr needs -l with --push or --pull: it draws the address of their page for browsers"},
		{p.qr && c.unix, "options --qr and -U exclude each other: browsers do not open Unix sockets"},
		{p.qr && c.pace.json, "options --qr and --json exclude each other: the event \"listen\" has the address"},
		{p.qr && (l.config.key.file != "" || l.config.key.fresh || os.Getenv(keyVariable) != ""), "options --qr and a key exclude each other: browsers cannot use purr's key"},
		{p.noResume && !moves, "option --no-resume needs --push or --pull: nothing else resumes"},
		{l.given("hello-timeout") && !moves, "option --hello-timeout needs --push or --pull: for others, say --connect-timeout or --idle-timeout"},
		{c.file.force && !p.pull && c.file.recv == "", "option --force needs --pull or --recv-file: the receiver decides what it replaces"},
	}
}

// foreign returns explanations of the options that other netcats have and purr
// does not, by their name without dashes: a script that uses one needs the
// alternative. A value that is itself such a name stands for the explanation
// there.
func foreign() map[string]string {
	return map[string]string{
		"g": "source routing is dropped by today's routers (RFC 7126) and not supported: leave -g out",
		"G": "source routing is dropped by today's routers (RFC 7126) and not supported: leave -G out (for a connect timeout, say --connect-timeout)",
		"S": "TCP MD5 signatures are not supported: for a protected stream, run purr through ssh",
		"V": "routing tables are not supported: leave -V out (for the version, say --version)",
		"Z": "DCCP was removed from Linux in 2025 and is not supported: leave -Z out",
		"H": "the hash of a certificate (OpenBSD's nc) is --pin sha256:BASE64 here, of its key; for keepalive, say --keepalive IDLE,INTERVAL,COUNT",
		"K": "the private key of TLS is --ssl-key FILE here", "R": "the authorities of TLS are --ssl-trustfile FILE here",

		"lua-exec":    "Lua is not built in: say --exec \"lua FILE\"",
		"ssl-ciphers": "the ciphers of TLS 1.2 and 1.3 that Go has are all sound, and no others can be chosen: leave --ssl-ciphers out",
		"port":        "the peer's port is an operand: say \"purr HOST PORT\" or \"purr -l PORT\"; for the port to send from, say --source-port (-p)",
		"local-port":  "-p is --source-port here: say -p PORT", "tunnel-port": "the target's port belongs to the target: say -L HOST:PORT", "tunnel-source": "the address to send from is not supported for a target",
		"tcp": "TCP is what purr uses without -u or -U: leave --tcp out", "zero": "the option has no long name: say -z",
		"randomize": "the option has no long name: say -r", "interval": "the option has no long name: say -i",
		"dont-resolve": "-n is --nodns here: say -n", "close": "--close is not supported: say -N, -q or --send-only for the end of stdin",
		"hexdump": "the option has a hyphen: say --hex-dump FILE", "gateway": "g", "pointer": "g", "timeout": "-w is --wait here: say -w TIME",
		"sctp": "SCTP is not supported: leave --sctp out", "nsock-engine": "there is one engine: leave --nsock-engine out",
	}
}

// isForeign reports whether foreign explains a long option: it is then no
// abbreviation of one of purr's.
func isForeign(name string) bool {
	_, known := foreign()[name]
	return known
}

// explain words the error of a command line that could not be parsed, under the
// name of another netcat in the words of getopt. For an option of another
// program it suggests what to say in its place.
func explain(as *personality.Personality, err error) error {
	unknown, ok := errors.AsType[*flags.UnknownError](err)
	if !ok {
		return usageError{err}
	}
	options := foreign()
	why, known := options[unknown.Name()]
	if alias, isAlias := options[why]; isAlias {
		why = alias
	}
	what := as.Unknown(unknown.Option)
	switch {
	case known:
		return usageErrorf("%s: %s", cmp.Or(what, "option "+unknown.Option), why)
	case what != "":
		return usageErrorf("%s", what)
	}
	return usageErrorf("%w: \"purr --help\" lists them all", err)
}
