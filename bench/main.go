// Bench measures purr against nc.openbsd, nc.traditional, ncat, socat, rsync and haproxy on the same work.
//
// The programs take turns, round by round in one run, so that whatever else the machine does meets all of them. Where
// one end only is under test, this program, started again, is the other end. Every transfer is checked.
// README.md says how to run it and how to read what it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// options are the command line.
type options struct {
	purr     string
	base     string
	peers    bool
	run      *regexp.Regexp
	rounds   int
	size     int64 // bytes
	short    bool
	netns    bool
	disk     string
	list     bool
	chart    string
	markdown string
}

func main() {
	if text := os.Getenv(neutralEnv); text != "" {
		os.Exit(neutralMain(text))
	}
	var o options
	run := flag.String("run", "", "measure only the rows whose name matches `REGEXP`")
	size := flag.String("size", "512M", "bytes that the largest rows move per run (suffix K, M or G)")
	flag.StringVar(&o.purr, "purr", "", "the purr to measure (default: built from the module above)")
	flag.StringVar(&o.base, "base", "", "another build of purr at `PATH`, measured in the same rounds")
	flag.BoolVar(&o.peers, "peers", true, "measure the other programs; -peers=false measures purr alone, or with -base two builds")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, each with every tool once")
	flag.BoolVar(&o.short, "short", false, "everything once and small: proves that it works, measures nothing")
	flag.BoolVar(&o.netns, "netns", false, "measure between two network namespaces joined by veth (needs root)")
	flag.StringVar(&o.disk, "disk", "/var/tmp", "directory on a disk, for the rows about storing there")
	flag.BoolVar(&o.list, "list", false, "list the rows and end")
	flag.StringVar(&o.chart, "chart", "", "draw the chart to `FILE.svg`")
	flag.StringVar(&o.markdown, "markdown", "", "write the table to `FILE` (-: stdout)")
	flag.Parse()

	var err error
	if o.run, err = regexp.Compile(*run); err != nil {
		fail(2, fmt.Errorf("-run: %w", err))
	}
	if o.size, err = parseSize(*size); err != nil {
		fail(2, fmt.Errorf("-size: %w", err))
	}
	if flag.NArg() > 0 || o.rounds < 1 {
		fail(2, errors.New("no operands, and at least one round; -h shows the flags"))
	}
	if o.short {
		o.rounds, o.size = 1, shortSize
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = o.measure(ctx)
	stop()
	if err != nil {
		fail(1, err)
	}
}

// shortSize is -size with -short (bytes).
const shortSize = 8 << 20

// fail prints an error and ends the program.
func fail(status int, err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(status)
}

// parseSize reads a number of bytes with an optional K, M or G (powers of 1024).
func parseSize(text string) (int64, error) {
	shift := 0
	digits := text
	for i, suffix := range []string{"K", "M", "G"} {
		if before, ok := strings.CutSuffix(text, suffix); ok {
			shift, digits = 10*(i+1), before
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > 1<<(50-shift) {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	return n << shift, nil
}

// measure is the program: it prepares, runs the rows that were asked for, and reports. The error is that purr failed
// somewhere or that nothing could be measured; being slow is not an error.
func (o *options) measure(ctx context.Context) error {
	if o.list {
		return o.listRows(os.Stdout)
	}
	dir, isolated := os.LookupEnv(isolatedEnv)
	os.Unsetenv(isolatedEnv) // not for the children
	if !isolated {
		var err error
		if dir, err = scratch(); err != nil {
			return err
		}
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, disk: o.disk, rounds: o.rounds, size: o.size, short: o.short, isolated: isolated, alone: !o.peers}
	if o.base != "" {
		var err error
		if b.base, err = findBase(ctx, o.base); err != nil {
			return err
		}
	}
	built := buildPurr(ctx, dir, o.purr) // before isolate: it may need modules from the network
	bareDialer := buildBare(ctx, dir)
	if !isolated {
		isolate(ctx, dir)
	}
	raiseFiles()
	// Descendants that outlive a child become ours: their CPU time counts, and none is left behind.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming a subreaper: %w", err)
	}
	installed, err := install(o.disk, built, bareDialer, b.base)
	defer os.RemoveAll(installed)
	if err != nil {
		return err
	}
	b.tools = findTools(ctx, built)
	b.tools[bare] = bareDialer
	fmt.Printf("%s\n\n", b.machineLine())
	if o.short {
		fmt.Printf("The short form: what counts is that all of it works; the figures mean nothing.\n\n")
	}
	if b.base != nil {
		fmt.Printf("base is %s\n\n", o.base)
	}
	for _, name := range append(slices.Clone(toolNames), bare) {
		if t := b.tools[name]; t.absent != nil {
			fmt.Printf("%s is absent: %v\n\n", t.name, t.absent)
		}
	}
	results, err := o.runAll(ctx, b)
	if len(results) == 0 {
		return errors.Join(err, errors.New("no row was measured; -list shows them"))
	}
	if b.base != nil {
		err = errors.Join(err, summary(os.Stdout, results))
	}
	return errors.Join(err, o.write(b, results))
}

// runAll measures what the command line asks for.
func (o *options) runAll(ctx context.Context, b *bench) ([]*result, error) {
	if o.netns {
		return o.runNetns(ctx, b, os.Stdout)
	}
	return o.runRows(ctx, b, b.allRows())
}

// runRows measures the rows whose name matches and prints each when it is done.
func (o *options) runRows(ctx context.Context, b *bench, rows []row) ([]*result, error) {
	var results []*result
	var failures []error
	start := time.Now()
	for _, rw := range rows {
		if !o.run.MatchString(rw.name) {
			continue
		}
		res := b.measure(ctx, rw)
		if ctx.Err() != nil {
			return results, errors.Join(append(failures, context.Cause(ctx))...)
		}
		res.print(os.Stdout, o.short)
		results = append(results, res)
		if err := res.failure(); err != nil {
			failures = append(failures, err)
		}
	}
	fmt.Printf("%d rows in %v\n", len(results), time.Since(start).Round(time.Second))
	return results, errors.Join(failures...)
}

// write writes the table and the chart, if asked for.
func (o *options) write(b *bench, results []*result) error {
	if o.markdown == "-" {
		markdown(os.Stdout, results, b.machineLine())
	} else if o.markdown != "" {
		f, err := os.Create(o.markdown)
		if err != nil {
			return err
		}
		markdown(f, results, b.machineLine())
		if err := f.Close(); err != nil {
			return err
		}
	}
	if o.chart != "" {
		return drawChart(o.chart, results)
	}
	return nil
}

// listRows prints the names of the rows that can be measured: those of -netns
// with it.
func (o *options) listRows(w io.Writer) error {
	b := &bench{size: o.size}
	rows := b.allRows()
	if o.netns {
		rows = b.netnsRows()
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(w, "%-20s %s\n", r.name, r.work); err != nil {
			return err
		}
	}
	return nil
}

// scratch makes a directory on tmpfs.
func scratch() (string, error) {
	if dir, err := os.MkdirTemp("/dev/shm", "purr-bench-*"); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "purr-bench-*")
}
