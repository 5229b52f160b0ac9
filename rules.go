package main

import (
	"os"
	"slices"
)

// A rule forbids a combination of options.
type rule struct {
	broken bool
	says   string
}

// conflict returns the first illegal combination of options, or nil. Every
// one stands in this file and nowhere else.
func (f *flagSet) conflict() error {
	for _, rule := range slices.Concat(f.fileRules(), f.keyRules(), f.paceRules(), f.pushRules(), f.checkRules(), f.waitRules(), f.generalRules()) {
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
		{c.sendFile != "" && c.telnet, "options --send-file and -t exclude each other: -t answers Telnet's commands among the bytes of the file"},
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
		{c.zero && c.pace.json && c.unix, "options -z, --json and -U exclude each other: the status says whether somebody answers"},
		{c.pace.json && f.pings.set, "options --json and -c exclude each other: pings are printed as text, leave --json out"},
		{f.parallel.set && (!c.zero || c.unix), "option --parallel needs -z over TCP or UDP: it is how many ports are asked at once"},
		{f.parallel.set && f.pings.set, "options --parallel and -c exclude each other: pings go to one port"},
		{f.parallel.set && c.zero && !c.udp && f.interval.set, "options --parallel and -i exclude each other: -i asks one port after the other"},
		{k.payload.text != "" && !udp, "option --payload needs -z -u: to send data over a connection, pipe it into \"purr HOST PORT\""},
		{k.expect.given() && !udp, "option --expect needs -z -u: over TCP, pipe the answer of \"purr HOST PORT\" into grep(1)"},
		{f.secretFile != "" && !udp, "option --secret-file needs -z -u: it is for probes of RADIUS and SNMP"},
		{k.thorough && !udp, "option --thorough needs -z -u: for a slower scan over TCP, say --parallel or -i"},
		{c.zero && !c.udp && f.rate.set, "options -z and --rate go together only with -u: for a slower scan over TCP, say --parallel or -i"},
		{udp && f.rate.set && (!f.rate.plain || f.rate.n > 1_000_000), "option --rate is in datagrams a second with -z -u: say a number from 1 to 1000000, without a letter"},
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

// fileRules are those of raw files.
func (f *flagSet) fileRules() []rule {
	c := f.config
	recv := c.file.recv != ""
	return []rule{
		{recv && c.sendFile != "", "options --recv-file and --send-file exclude each other: send with one run and receive with another"},
		{recv && c.udp, "options --recv-file and -u exclude each other: datagrams have no end and may get lost; use TCP, or \"purr -u -l PORT >FILE\""},
		{recv && c.keep, "options --recv-file and -k exclude each other: one name is for one client, leave -k out"},
		{recv && c.echo, "options --recv-file and --echo exclude each other: for a copy of what is echoed, say \"purr --echo ... >FILE\""},
		{recv && (c.interactive || c.quitWord != ""), "options --recv-file and --interactive or --quit-word exclude each other: --recv-file reads no stdin"},
		{recv && c.sendOnly, "options --recv-file and --send-only exclude each other: leave one out"},
		{recv && c.zero, "options --recv-file and -z exclude each other: -z exchanges no data; for what a port says, say --banner"},
		{recv && (c.crlf || f.interval.set), "options --recv-file and -C or -i exclude each other: they are about lines, and a file is stored as it comes"},
		{recv && c.telnet, "options --recv-file and -t exclude each other: -t takes Telnet's commands out of what arrives, and a file is stored as it comes"},
		{recv && f.limit.set, "options --recv-file and -W exclude each other: a file is whole when its sender ends; for its size, say --expect-size"},
		{recv && len(c.command) > 0, "option --recv-file and a command after -- exclude each other: say \"purr --wait-for TIME HOST PORT -- purr --recv-file FILE HOST PORT\""},
		{c.file.sum && recv, "options --sum and --recv-file exclude each other: --recv-file says the SHA-256 anyway, leave --sum out"},
		{c.file.sum && c.sendFile == "", "option --sum needs --send-file: for stdin, say \"tee >(sha256sum >&2) <FILE | purr ...\""},
		{f.expectSize.set && !recv, "option --expect-size needs --recv-file: say \"purr ... --recv-file FILE\""},
		{f.expectSHA256.sum != nil && !recv, "option --expect-sha256 needs --recv-file: say \"purr ... --recv-file FILE\""},
		{c.file.keepPartial && !recv, "option --keep-partial needs --recv-file: say \"purr ... --recv-file FILE\""},
		{recv && c.push.moves(), "options --recv-file and --push or --pull exclude each other: --pull is the checked way, --recv-file is for a peer without purr"},
	}
}

// keyRules are those of encryption.
func (f *flagSet) keyRules() []rule {
	c, k := f.config, f.config.key
	_, variable := os.LookupEnv(keyVariable)
	asked := k.file != "" || k.fresh
	return []rule{
		{k.file != "" && k.fresh, "options --key-file and --key-new exclude each other: --key-new makes a key, the other end gets it by --key-file or PURR_KEY"},
		{asked && c.zero, "options --key-file or --key-new and -z exclude each other: -z exchanges no data, leave the key out"},
		{asked && len(c.command) > 0, "options --key-file or --key-new and \"-- CMD\" exclude each other: purr exchanges no data then, give the key to CMD"},
		{asked && c.udp, "options --key-file or --key-new and -u exclude each other: datagrams cannot be encrypted, use TCP"},
		{variable && c.udp && c.exchangesData(), "option -u and the variable PURR_KEY exclude each other: datagrams cannot be encrypted; use TCP, or unset PURR_KEY to send clear text"},
		{variable && k.fresh, "option --key-new and the variable PURR_KEY exclude each other: there is a key already, leave --key-new out or unset PURR_KEY"},
		{k.fresh && !c.listen && !c.waits(), "option --key-new needs -l, or --wait-for: nobody who listens already can hold a key that is made now"},
	}
}

// paceRules are those of progress and pace.
func (f *flagSet) paceRules() []rule {
	c, k := f.config, &f.config.pace
	return []rule{
		{k.progress && k.noProgress, "options --progress and --no-progress exclude each other: leave both out to see the progress of files on a terminal"},
		{k.progress && k.quiet, "options --progress and --quiet exclude each other: leave one out"},
		{k.quiet && c.verbose > 0, "options --quiet and -v exclude each other: leave one out"},
		{c.zero && (k.progress || k.noProgress), "options -z and --progress or --no-progress exclude each other: -z moves no bytes"},
		{c.zero && k.quiet, "options -z and --quiet exclude each other: -z over TCP is silent without -v; over UDP, say >/dev/null"},
		{c.interactive && k.progress, "options --interactive and --progress exclude each other: the last line of the terminal is the one being typed"},
		{c.interactive && k.json, "options --interactive and --json exclude each other: the line editor is for a person, the events are for a program"},
		{c.noStdin && f.rate.set && !c.zero, "options -d (or --recv-only, --recv-file) and --rate exclude each other: --rate limits what is sent, give it to the sender"},
	}
}

// pushRules are those of --push and --pull.
func (f *flagSet) pushRules() []rule {
	c, p := f.config, f.config.push
	moves := p.moves()
	return []rule{
		{p.push && p.pull, "options --push and --pull exclude each other: --push sends files, --pull receives them; the other end says the other"},
		{moves && c.udp, "options --push or --pull and -u exclude each other: checked files go over TCP or a Unix socket, leave -u out"},
		{moves && c.zero, "options --push or --pull and -z exclude each other: -z exchanges no data"},
		{moves && c.sendFile != "", "options --push or --pull and --send-file exclude each other: --push is the checked way, --send-file is for a peer without purr"},
		{moves && (c.echo || c.upper), "options --push or --pull and --echo or --upper exclude each other: files arrive as they are"},
		{moves && (c.interactive || c.quitWord != "" || c.crlf || c.telnet), "options --push or --pull and --interactive, --quit-word, -C or -t exclude each other: files arrive as they are"},
		{moves && (c.noStdin || c.sendOnly || f.halfClose || c.noShutdown || f.quit.set), "options --push or --pull and -d, --recv-only, --send-only, -N, --no-shutdown or -q exclude each other: no stdin is read, leave them out"},
		{moves && (f.limit.set || f.interval.set), "options --push or --pull and -W or -i exclude each other: a file is not counted in reads or lines"},
		{moves && c.shuffle, "options --push or --pull and -r exclude each other: files go to one port"},
		{moves && f.config.waits() && len(c.command) > 0, "options --push or --pull and a command behind -- exclude each other: say \"purr --wait-for TIME HOST PORT -- purr --push HOST PORT PATH...\""},
		{!p.pull && p.rename, "option --rename needs --pull: the receiver decides what it stores"},
		{!p.pull && f.maxSize.set, "option --max-size needs --pull: the receiver decides what it stores"},
		{p.rename && c.file.force, "options --rename and --force exclude each other: one keeps what exists, the other replaces it"},
		{p.pull && f.rate.set, "options --pull and --rate exclude each other: --rate limits what is sent, give it to the sender"},
		{p.live && !p.push, "option --live needs --push: it is about files that grow while they are sent"},
		{p.noResume && !moves, "option --no-resume needs --push or --pull: nothing else resumes"},
		{f.hello.set && !moves, "option --hello-timeout needs --push or --pull: for others, say --connect-timeout or --idle-timeout"},
		{c.file.force && !p.pull && c.file.recv == "", "option --force needs --pull or --recv-file: the receiver decides what it replaces"},
	}
}
