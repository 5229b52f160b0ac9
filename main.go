// Purr is a netcat: it pipes stdin and stdout over TCP, UDP and Unix sockets.
//
//	purr HOST PORT                       talk to a server
//	purr -l PORT                         be one, for one client
//	purr -l -k --echo --upper PORT       answer every client in upper case
//	purr -u HOST PORT, purr -u -l PORT   the same with datagrams
//	purr --pull -l PORT DIR              receive files, checked; at the other end:
//	purr --push HOST PORT PATH...        send them; status 0: stored there and verified
//	purr --send-file F HOST PORT         send a file to a peer without purr
//	purr -z HOST PORTS                   are the ports open? with -u: who answers, and what
//	purr --wait-for 30s HOST PORT -- CMD run CMD once the port is open
//	purr -l --key-new PORT               the same encrypted, with one shared key
//
// It takes OpenBSD nc's letters and Ncat's long names, says nothing on stdout
// but what the peer sent, and ends with status 0 only if every byte arrived:
//
//	0      all went well
//	1      it failed, or bytes were lost; stderr says why
//	2      the command line is wrong, and nothing was opened
//	3      -z: no answer; --push and --pull: cut, or not confirmed
//	4      -z: filtered; --push and --pull: refused, skipped or changed
//	5      not what was expected: an answer, a size, a digest
//	6      --push and --pull: no purr; with a key: the other end does not encrypt
//	7      with a key: the other end has another one
//	128+n  ended by signal n
//
// A byte's way through the source: main.go reads the command line (options.go)
// and picks a mode; dial.go, listen.go or udp.go opens the socket; handler.go
// says what is done with a connection; session.go and ending.go hold the
// conversation; transfer.go and splice_linux.go move the bytes; with a key
// (key.go) they pass through secure.go. sendfile.go and recvfile.go
// are the raw files.
//
// A file's way: offer.go finds what --push names, outgoing.go reads and hashes
// it; push.go (which has dialled) or web_push.go (which has been) sends it, over
// what peer.go and web.go make of a connection: HTTP, with the lines of
// exchange.go beside it; web_pull.go or pull.go receives it, and inbox.go has
// store.go and its neighbours hash, write, sync and rename it. page.go is what a
// browser sees.
//
// check.go is -z: package scan has the engines, package payload the requests.
// traffic.go, limiter.go and events.go tell and pace all of it.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"purr/internal/fdio"
	"purr/internal/progress"
	"purr/internal/rate"
	"purr/internal/sys"
)

// A purr is one run of the program. Its methods are spread over the files by
// what they do; none changes cfg.
type purr struct {
	cfg    *config
	stdin  *os.File
	stdout *os.File
	stderr io.Writer // for the bar; what is said goes through log
	log    *logger
	stop   context.CancelCauseFunc // ends the whole run with an error

	limit *rate.Limiter // --rate; nil: none

	dialer   *dialer
	listener *listener
	checker  *checker
	talk     *talker
	traffic  traffic
	progress *progress.Monitor
	askOnce  sync.Once // for answerStatus

	catching atomic.Bool // whether signals are caught

	endMu sync.Mutex // held while the end is said
	ended bool       // whether it was

	ring keyring // what --key-file, --key-new and PURR_KEY gave

	mu       sync.Mutex
	cleanups []func() // what must be undone before the process ends
}

func main() { os.Exit(int(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))) }

// run is the whole program.
func run(args []string, stdin, stdout *os.File, stderr io.Writer) exitStatus {
	log := &logger{out: stderr}
	if len(args) == 0 {
		fmt.Fprint(stderr, examples)
		return statusUsage
	}
	cfg, err := newConfig(args)
	if err != nil {
		log.json = asksForJSON(args)
		log.fail(err)
		log.event("end", field{"status", statusUsage}, field{"how", "failed"}, field{"sent", 0}, field{"received", 0}, field{"seconds", 0})
		return statusUsage
	}
	if cfg.help || cfg.version || cfg.listPayloads {
		text := help
		switch {
		case cfg.version:
			text = "purr " + version() + "\n"
		case cfg.listPayloads:
			text = payloadList()
		}
		if _, err := io.WriteString(stdout, text); err != nil {
			log.warnf("write to stdout: %v", sys.Cause(err))
			return statusFailed
		}
		return statusOK
	}
	log.level, log.quiet = cfg.verbose, cfg.pace.quiet
	log.json = cfg.pace.json && !cfg.zero // the results of -z are on stdout

	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	p := newPurr(cfg, stdin, stdout, log, stop)
	err = p.mode(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // whatever a mode made of being stopped
	}
	if err == nil {
		err = p.closeStdout()
	}
	p.cleanUp()
	return p.end(err)
}

// newPurr prepares a run. stop ends it with an error; the files stay the
// caller's.
func newPurr(cfg *config, stdin, stdout *os.File, log *logger, stop context.CancelCauseFunc) *purr {
	p := &purr{cfg: cfg, stdin: stdin, stdout: stdout, log: log, stop: stop, stderr: log.out, limit: rate.New(cfg.pace.rate)}
	p.traffic.begun = time.Now()
	p.dialer = &dialer{netOptions: &cfg.netOptions, waitOptions: cfg.waitOptions, interval: cfg.interval, log: log, meter: &p.traffic, opened: p.catchSignals}
	p.listener = &listener{netOptions: &cfg.netOptions, listenOptions: cfg.listenOptions, log: log, meter: &p.traffic, removeAtExit: p.removeAtExit,
		bound: func(addr net.Addr) error {
			p.logListenerKey(addr)
			return p.notifyReady(addr)
		}}
	p.checker = &checker{dialer: p.dialer, opts: cfg.check, json: cfg.pace.json, stdin: stdin, stdout: stdout}
	p.progress = p.newMonitor()
	p.atExit(p.progress.Close)
	p.talk = newTalker(cfg, talkEnv{stdin: stdin, stdout: stdout, log: log, meter: &p.traffic, limit: p.limit, stop: stop, atExit: p.atExit,
		track: func(name string, size int64, plain bool) *progress.Transfer {
			return p.progress.Start(name, size, p.progressStyle(plain))
		}})
	return p
}

// closeStdout closes a stdout that is a file: some file systems (NFS, quotas)
// only then say that what was written could not be stored.
func (p *purr) closeStdout() error {
	if kind := fdio.KindOf(p.stdout); kind != fdio.Regular && kind != fdio.Append {
		return nil
	}
	if err := p.stdout.Close(); err != nil {
		return fmt.Errorf("write to stdout: %w", sys.Cause(err))
	}
	return nil
}

// end reports how the run ended and returns the exit status. Both run and
// catchSignals call it; the report is the first call's, and the second waits for
// it.
func (p *purr) end(err error) exitStatus {
	p.endMu.Lock()
	defer p.endMu.Unlock()
	status := statusOf(err)
	if !p.ended {
		p.log.failRun(err)
		p.sayEnd(status)
	}
	p.ended = true
	return status
}

// mode runs what the command line asks for. Dialling over TCP or to a Unix
// socket leaves signals alone until there is a connection: there is nothing to
// end in order before, and to ask for them takes as long as to be refused.
func (p *purr) mode(ctx context.Context) error {
	if p.cfg.listen || p.cfg.udp || p.cfg.zero || p.log.json {
		p.catchSignals(ctx)
	} else {
		// To ignore the signal that asks for the status costs nothing; only
		// who is not refused at once answers it.
		if len(statusSignals) > 0 {
			signal.Ignore(statusSignals...)
		}
		late := time.AfterFunc(statusAfter, func() { p.answerStatus(ctx) })
		defer late.Stop()
	}
	if p.cfg.zero {
		p.doing("checking ports")
	}
	if err := p.prepareKey(ctx); err != nil {
		return err
	}
	if p.cfg.push.moves() {
		tuneRuntime()
	}
	switch {
	case len(p.cfg.command) > 0:
		return p.awaitAndRun(ctx)
	case p.cfg.zero:
		return p.checker.check(ctx)
	case p.cfg.udp && p.cfg.listen:
		return p.listenPackets(ctx)
	case p.cfg.udp:
		return p.dialPackets(ctx)
	case p.cfg.listen && p.cfg.push.moves():
		return p.serveFiles(ctx)
	case p.cfg.listen:
		return p.listen(ctx)
	}
	return p.dialer.dialAll(ctx, p.converse)
}

// statusAfter is how long a dialer may take before it says what it is doing
// when it is asked.
const statusAfter = 20 * time.Millisecond

// catchSignals stops the run on the signals that ask a program to end. What is
// under way then gets a moment to end in order, so that a transfer which is
// cut short tells its peer so; what hangs is left behind. SIGHUP stays ignored
// if it was when purr started: that is nohup(1).
//
// SIGPIPE is heard and dropped: a write to a broken pipe must come back as an
// error, to be said and to become a status, and Go would let the signal end
// the process. To ignore it instead would make children ignore it too. Calls
// after the first do nothing.
func (p *purr) catchSignals(ctx context.Context) {
	if p.catching.Swap(true) {
		return
	}
	p.answerStatus(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		defer signal.Stop(signals)
		select {
		case s := <-signals:
			p.stop(signalError{s.(syscall.Signal)})
		case <-ctx.Done():
		}
		// In parts, so that if all of purr was held up meanwhile, the sessions still
		// come to reset their connections first: an exit would end them in order.
		for range 10 {
			time.Sleep(5 * time.Millisecond)
		}
		if cause := context.Cause(ctx); cause != context.Canceled {
			p.cleanUp()
			os.Exit(int(p.end(cause)))
		}
	}()
}

// atExit remembers what must be undone however the run ends.
func (p *purr) atExit(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}

// cleanUp undoes, last first, what atExit was told, once.
func (p *purr) cleanUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.cleanups) > 0 {
		last := len(p.cleanups) - 1
		p.cleanups[last]()
		p.cleanups = p.cleanups[:last]
	}
}

// Version is set by the linker in a release; otherwise the build info says
// what was built.
var Version string

func version() string {
	if Version != "" {
		return Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown version)"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+modified"
			}
		}
	}
	if revision == "" {
		return "(devel)"
	}
	return revision[:min(12, len(revision))] + modified
}

// tuneRuntime prepares Go's runtime for the moving of files.
func tuneRuntime() {
	debug.SetGCPercent(200) // many small files make much garbage, and little of it is ever alive at once
	// Reading and writing large blocks are long system calls. When all Ps are in
	// use the runtime takes them away from those, with a wake-up and another
	// thread each time; when one is idle it does not.
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < 4 {
		runtime.GOMAXPROCS(4)
	}
}
