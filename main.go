// Purr is a netcat: it pipes stdin and stdout over TCP, UDP and Unix sockets.
//
//	purr HOST PORT                      talk to a server
//	purr -l PORT                        be one, for one client
//	purr -l -k --echo --upper PORT      answer every client in upper case
//	purr -u HOST PORT, purr -u -l PORT  the same with datagrams
//	purr --pull -l PORT DIR             receive checked files; at the other end:
//	purr --push HOST PORT PATH...       send them; status 0: stored and verified
//	purr --send-file F HOST PORT        send a file to a peer without purr
//	purr -z HOST PORTS                  are the ports open? -u: what answers?
//	purr --wait-for 9s HOST PORT -- CMD run CMD once the port is open
//	purr -l --key-new PORT              encrypted, with one shared key
//	purr --ssl HOST PORT                encrypted, with certificates
//
// It takes OpenBSD nc's letters and Ncat's long names, writes the peer's bytes
// and nothing else to stdout, and ends with status 0 only if every byte
// arrived:
//
//	0      all went well
//	1      an operation failed, or bytes were lost; stderr has the cause
//	2      the command line is wrong, and nothing was opened
//	3      -z: no answer; --push and --pull: cut, or not confirmed
//	4      -z: filtered; --push and --pull: refused, skipped or changed
//	5      another answer, size or digest than expected
//	6      --push and --pull: no purr; a key or --ssl: it does not encrypt
//	7      a key: the other end has another; --ssl: a wrong certificate
//	128+n  ended by signal n
//
// A byte's way through the source: main.go reads the command line (options.go)
// and picks a mode; dial.go, listen.go or udp.go opens the socket; handler.go
// picks the kind of conversation; transfer.go copies both ways, supervisor.go
// waits for the ends and teardown.go decides when that is over; proxied.go
// dials through a proxy; with a key (key.go) or certificates (tls.go) the
// connection is encrypted first (secure.go). sendfile.go and recvfile.go are
// the raw files, udp_session.go and the two echoes the other conversations.
//
// A file's way: files.go (which has dialled) or files_serve.go (which listens)
// hands an offer or a store to internal/push, between two purrs, or to
// internal/web, for curl and browsers, and report.go words the outcome of each
// file.
//
// check.go is -z, on internal/sweep. meter.go, log.go and events.go count and
// report all of it.
//
// The libraries below internal know nothing of options, messages and statuses:
// fdio and sock wait for descriptors and sockets, eyeballs finds a host and
// connects to it, copier and datagram move bytes, halfclose waits for answers,
// tlsconn encrypts, sweep, scan and payload ask ports, offer and store read and
// write files, push and web carry them.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"purr/internal/dump"
	"purr/internal/fdio"
	"purr/internal/payload"
	"purr/internal/personality"
	"purr/internal/proc"
	"purr/internal/rate"
	"purr/internal/sock"
	"purr/internal/sys"
	"purr/internal/tlsconn"
)

// A run is one run of the program. Its parts are given what they use; none
// changes cfg.
type run struct {
	cfg           *config
	stdin, stdout *os.File
	log           *logger
	meter         *meter
	stop          context.CancelCauseFunc // ends the whole run with an error
	cleanups      proc.Cleanups
	confined      sync.Once

	encryption *encryption
	dialer     *dialer
	listener   *listener
	packets    *packets
	talk       *talker
	checker    *checker
	mover      *mover

	catching atomic.Bool // whether signals are caught

	endMu sync.Mutex // held while the end is reported
	ended bool       // whether it was
}

func main() { os.Exit(int(runArgs(os.Args, os.Stdin, os.Stdout, fdio.New(os.Stderr, nil)))) }

// runArgs is the whole program. args begins with the program's name, which may
// be that of another netcat.
func runArgs(args []string, stdin, stdout *os.File, stderr io.Writer) exitStatus {
	as, args := personality.Of(args[0]), args[1:]
	log := &logger{as: as, out: stderr}
	unusable := exitStatus(as.Status(personality.Ending{Status: int(statusUsage)}))
	if len(args) == 0 {
		fmt.Fprint(stderr, cmp.Or(as.Usage, examples))
		return unusable
	}
	cfg, err := readConfig(as, args)
	if err != nil {
		log.json = asksForJSON(args)
		log.fail(err)
		log.logEnd(unusable, 0, 0, 0)
		return unusable
	}
	if text := printed(cfg); text != "" {
		out := io.Writer(fdio.New(stdout, nil))
		if cfg.help && as.HelpOnStderr {
			out = stderr
		}
		if _, err := io.WriteString(out, text); err != nil {
			log.warnf("write to stdout: %v", sys.Cause(err))
			return statusFailed
		}
		return statusOK
	}
	log.level, log.quiet = cfg.verbose, cfg.pace.quiet
	log.json = cfg.pace.json && !cfg.zero // the results of -z are on stdout

	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	r := newRun(cfg, stdin, stdout, stderr, log, stop)
	err = r.mode(ctx)
	r.talk.dump.Close()
	if cause := context.Cause(ctx); cause != nil {
		err = cause // whatever a mode returned when it was stopped
	}
	if err == nil {
		err = r.closeStdout()
	}
	r.cleanups.Run()
	return r.end(err)
}

// printed returns the text that the command line asks for in place of a run,
// empty if it asks for none.
func printed(cfg *config) string {
	switch {
	case cfg.help:
		return cfg.helpText
	case cfg.version:
		return "purr " + sys.BuildVersion(Version, Commit) + "\n"
	case cfg.listPayloads:
		return payload.List()
	}
	return ""
}

// newRun returns the run of cfg with all its parts, and opens nothing. The
// parts call stop to end the run with an error.
func newRun(cfg *config, stdin, stdout *os.File, stderr io.Writer, log *logger, stop context.CancelCauseFunc) *run {
	r := &run{cfg: cfg, stdin: stdin, stdout: stdout, log: log, stop: stop}
	r.meter = newMeter(cfg, log, stdin, stdout, stderr)
	r.cleanups.Add(r.meter.monitor.Close)
	limit := rate.New(cfg.pace.rate)
	ready := &notifier{path: cfg.path, portFile: cfg.portFile, readyFD: cfg.readyFD, announce: cfg.announce, encrypted: cfg.key.on, log: log, cleanups: &r.cleanups, notified: r.confine}
	r.encryption = &encryption{keyConfig: cfg.key, ssl: cfg.ssl, server: cfg.listen, class: tlsconn.Stream, timeout: cfg.connectTimeout, otherEnd: func(port int) string { return otherEnd(cfg, port) }, log: log, pending: handshakes()}
	if cfg.push.moves() {
		r.encryption.class = tlsconn.Files
	}
	r.dialer = &dialer{netOptions: &cfg.netOptions, waitOptions: cfg.waitOptions, interval: cfg.interval, log: log, meter: r.meter, opened: r.catchSignals}
	target := newTunneller(cfg, *r.dialer, r.cleanups.Add)
	if target == nil { // else the proxy and the PROXY header are the target's
		r.dialer.sendProxy = cfg.sendProxy
		r.dialer.proxied = r.dialer.newProxied(r.cleanups.Add)
	}
	remove := r.cleanups.RemoveFile
	if cfg.inherited != nil || cfg.vsock { // the service manager's file, or none
		remove = func(string) {}
	}
	crew := new(sock.Crew)
	r.listener = &listener{netOptions: &cfg.netOptions, listenOptions: cfg.listenOptions, clientLimit: clientLimit(cfg), log: log, meter: r.meter,
		encryption: r.encryption, removeAtExit: remove, crew: crew, commands: cfg.exec != nil,
		bound: func(addr net.Addr) error {
			r.encryption.logListenerKey(addr)
			r.talk.server.bound(addr, r.listener.limitsClients())
			return ready.notifyReady(addr)
		}}
	r.encryption.onAccept = r.listener.logAccept
	r.talk = newTalker(cfg, talkEnv{stdin: stdin, stdout: stdout, log: log, meter: r.meter, limit: limit, crew: crew, stop: stop, atExit: r.cleanups.Add, track: r.meter.track})
	r.talk.tunnel, r.talk.server = target, newProxyServer(cfg, *r.dialer, r.talk)
	r.packets = &packets{netOptions: &cfg.netOptions, listen: cfg.listen, interval: cfg.interval, dialer: r.dialer, listener: r.listener,
		talk: r.talk, log: log, meter: r.meter, notifier: ready, removeAtExit: remove, confine: r.confine}
	if cfg.zero {
		r.checker = &checker{dialer: r.dialer, opts: cfg.check, json: cfg.pace.json, stdin: fdio.New(stdin, nil), stdout: fdio.New(stdout, nil), encryption: r.encryption, confine: r.confine}
		if log.as.Probe.Quiet && cfg.udp && !cfg.pace.json && !cfg.check.ping { // as in nc, stdout stays empty
			r.checker.stdout = io.Discard
			if cfg.verbose > 0 {
				r.checker.stdout = stderr
			}
		}
	}
	r.mover = &mover{pushConfig: cfg.push, netOptions: &cfg.netOptions, force: cfg.file.force, listen: cfg.listen, keep: cfg.keep, maxConns: cfg.maxConns,
		clientLimit: r.listener.clientLimit, limit: limit, log: log, meter: r.meter, dialer: r.dialer, listener: r.listener, encryption: r.encryption, atExit: r.cleanups.Add}
	return r
}

// mode runs the mode that the command line selects. Modes that have something
// to end in order catch signals from the start. A plain dialer catches them
// once it is connected, at the latest after catchAfter: catching takes as long
// as a refused connection. Process 1 always catches them, because the system
// does not end it by a signal.
func (r *run) mode(ctx context.Context) error {
	proc.KeepIgnored()
	if err := r.openDump(ctx); err != nil {
		return err
	}
	if r.cfg.listen || r.cfg.udp || r.cfg.zero || r.cfg.exec != nil || r.log.json || os.Getpid() == 1 {
		r.catchSignals(ctx)
	} else {
		proc.IgnoreStatus() // which costs nothing
		late := time.AfterFunc(catchAfter, func() { r.catchSignals(ctx) })
		defer late.Stop()
	}
	if r.cfg.zero {
		r.meter.SetActivity("checking ports")
	}
	if err := r.encryption.prepareKey(ctx, r.stdin, r.catchSignals, r.cleanups.Add); err != nil {
		return err
	}
	if r.cfg.push.moves() {
		proc.TuneForFiles(36 << 20) // packages push and web bound what is alive
	}
	switch {
	case r.cfg.pass && !sock.IsUnixSocket(r.stdout):
		return statusError{statusUsage, errors.New("option -F: stdout is no Unix socket: it is for ssh's ProxyUseFdpass")}
	case len(r.cfg.command) > 0:
		return r.awaitAndExec(ctx)
	case r.cfg.zero:
		return r.checker.check(ctx)
	case r.cfg.udp && r.cfg.listen:
		return r.packets.listenPackets(ctx)
	case r.cfg.udp:
		return r.packets.dialPackets(ctx)
	case r.cfg.listen && r.cfg.push.moves():
		return r.mover.serveFiles(ctx)
	case r.cfg.listen:
		return r.listener.listen(ctx, r.talk.handler())
	}
	return r.dialer.dialAll(ctx, r.converse)
}

// openDump opens the files of --output and --hex-dump. A failed write to one
// ends the run. They stay open until the process ends; the confinement does not
// limit what is open.
func (r *run) openDump(ctx context.Context) (err error) {
	c, o := r.cfg, r.cfg.dump
	o.Apart = []string{"/dev/stdin", "/dev/stdout", "/dev/stderr", c.sendFile, c.file.recv, c.portFile, c.key.file, c.ssl.certFile, c.ssl.keyFile}
	r.talk.dump, err = dump.Open(ctx, o, func(path string, err error) { r.stop(fmt.Errorf("write to %s: %w", path, sys.Cause(err))) })
	if err != nil && ctx.Err() == nil {
		err = statusError{statusUsage, fmt.Errorf("option --output or --hex-dump: %w", err)}
	}
	return err
}

// converse counts a dialled connection, gives up the rights that are no longer
// needed, encrypts, and runs the handler of the command line.
func (r *run) converse(ctx context.Context, c net.Conn) error {
	talk := r.talk.handler()
	switch {
	case r.cfg.pass:
		talk = r.passOn
	case r.cfg.push.push:
		talk = r.mover.pushTo
	case r.cfg.push.pull:
		talk = r.mover.pullFrom
	}
	r.meter.connOpened("dial", c)
	defer r.meter.ConnClosed()
	r.confine()
	return r.encryption.secured(talk)(ctx, c)
}

// passOn is the handler of -F: the process that has the other end of stdout
// gets the connection.
func (r *run) passOn(_ context.Context, c net.Conn) error {
	if err := sock.Pass(r.stdout, c); err != nil {
		return fmt.Errorf("pass the connection over stdout: %w", sys.Cause(err))
	}
	return nil
}

// awaitAndExec waits for the ports, or with -z until their check succeeds, and
// replaces the process by the command. The command gets purr's descriptors and
// signals, and its status is the run's.
func (r *run) awaitAndExec(ctx context.Context) error {
	await := r.dialer.await
	if r.cfg.zero {
		await = r.checker.check
	}
	if err := await(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.cleanups.Run()
	proc.ResetStatus() // the command must not inherit that they are ignored
	err := proc.Exec(r.cfg.commandPath, r.cfg.command, r.stdin, r.stdout, os.Stderr)
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return statusError{exitStatus(ended.ExitCode()), reportedError{commandError(ended.ExitCode())}}
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", r.cfg.commandPath, err)
	}
	return nil
}

// closeStdout closes a stdout that is a file: some file systems (NFS, quotas)
// report only then that the data could not be stored.
func (r *run) closeStdout() error {
	if kind := fdio.KindOf(r.stdout); kind != fdio.Regular && kind != fdio.Append {
		return nil
	}
	if err := r.stdout.Close(); err != nil {
		return fmt.Errorf("write to stdout: %w", sys.Cause(err))
	}
	return nil
}

// end reports how the run ended and returns the exit status of err. Both
// runArgs and catchSignals may call it: only the first call reports, and the
// other waits until it has.
func (r *run) end(err error) exitStatus {
	r.endMu.Lock()
	defer r.endMu.Unlock()
	status := r.status(err)
	if !r.ended {
		r.log.failRun(err)
		r.log.logEnd(status, r.meter.Sent.Load(), r.meter.Received.Load(), time.Since(r.meter.Begun))
	}
	r.ended = true
	return status
}

const (
	// catchAfter is how long a dialer may take before it catches signals.
	catchAfter = 20 * time.Millisecond
	// lastWords is how long stderr may take for the message about a signal.
	lastWords = 100 * time.Millisecond
)

// catchSignals stops the run on the signals that ask a program to end, and logs
// the status on those that ask for it. Conversations of a stopped run have 50
// ms to end in order, so that a transfer which is cut short here is cut for its
// peer too. Then the process exits, even if one of them hangs. Calls after the
// first do nothing.
func (r *run) catchSignals(ctx context.Context) {
	if r.catching.Swap(true) {
		return
	}
	proc.OnEnd(ctx, func(s syscall.Signal) { r.stop(signalError{s}) }, func(cause error) {
		r.cleanups.Run()
		time.AfterFunc(lastWords, func() { os.Exit(int(r.status(cause))) })
		os.Exit(int(r.end(cause)))
	})
	proc.OnStatus(ctx, r.meter.logStatus) // last: once SIGUSR1 is caught, so are the others
}

// Version and Commit are set by the linker in a release; otherwise they are
// those of the build info.
var Version, Commit string
