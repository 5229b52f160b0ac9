package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// pushRows are the rows about whole files, with --push and --pull. What is moved is compared byte by byte after every
// run. The clock runs from the start of the program that dials to the end of the last program.
func (b *bench) pushRows() []row {
	files := b.pick(10_000, 200)
	file := b.contenders(purr, rsync, rsync, obsd)
	file[2].label, file[2].variant = "rsync --fsync", fsync
	file[3].label = "nc, sha256sum"
	small := b.contenders(purr, rsync, rsync)
	small[2].label, small[2].variant = "rsync --fsync", fsync
	smallDisk, fileDisk := small, file
	for _, who := range []*[]contender{&smallDisk, &fileDisk} {
		*who = append([]contender(nil), *who...)
		for i := range *who {
			c := &(*who)[i]
			c.aside = c.tool.name != purr && c.variant != fsync // its data is not on the disk when it ends
		}
	}
	keyed := b.contenders(purr)
	keyed[0].variant = withKey
	rate := []goal{{limit: 1}}
	most := []goal{{limit: 64, absolute: true}}
	alone := b.contenders(purr)
	several := b.contenders(purr, rsync)
	rows := []row{
		{name: "push-file", work: "one large file, --push to --pull -l", unit: "GB/s", goals: rate, who: file, share: 2, run: pushes(purePush, load{large: 1})},
		{name: "pull-file", work: "one large file, --pull from --push -l", unit: "GB/s", goals: rate, who: file, share: 2, run: pushes(purePull, load{large: 1})},
		{name: "push-large", work: fmt.Sprintf("%d large files, --push", severalLarge), unit: "GB/s", goals: rate, who: several, share: severalLarge, run: pushes(purePush, load{large: severalLarge})},
		{name: "pull-large", work: fmt.Sprintf("%d large files, --pull", severalLarge), unit: "GB/s", goals: rate, who: several, share: severalLarge, run: pushes(purePull, load{large: severalLarge})},
		{name: "push-file-disk", work: "one large file, --push, onto a disk", unit: "GB/s", goals: rate, who: fileDisk, share: 1, most: 3, run: pushes(diskPush, load{large: 1})},
		{name: "push-file-key", work: "one large file, --push, encrypted with a key", unit: "GB/s", who: keyed, share: 2, run: pushes(purePush, load{large: 1})},
		{name: "push-files", work: fmt.Sprintf("%d small files, --push", files), unit: "files/s", who: small, goals: rate, run: pushes(purePush, load{small: files})},
		{name: "pull-files", work: fmt.Sprintf("%d small files, --pull", files), unit: "files/s", who: small, goals: rate, run: pushes(purePull, load{small: files})},
		{name: "push-files-disk", work: fmt.Sprintf("%d small files, --push, onto a disk", files), unit: "files/s", who: smallDisk, goals: rate, most: 3, run: pushes(diskPush, load{small: files})},
		{name: "push-memory", work: "peak memory, --push of one large file", unit: "MiB", lower: true, goals: most, who: alone, share: 2, most: 1, run: pushMemory(load{large: 1})},
		{name: "push-memory-files", work: fmt.Sprintf("peak memory, --push of %d small files", files), unit: "MiB", lower: true, goals: most, who: alone, most: 1, run: pushMemory(load{small: files})},
		{name: "push-memory-many", work: fmt.Sprintf("peak memory, --push of %d small files", 10*files), unit: "MiB", lower: true, goals: most, who: alone, most: 1, run: pushMemory(load{small: 10 * files})},
	}
	for i := range rows {
		rows[i].lane = loopback
	}
	return rows
}

// pushWireRows are the rows about small files over a line with delay and without loss.
func (b *bench) pushWireRows(l lane) []row {
	files := b.pick(10_000, 200)
	who := b.contenders(purr, rsync)
	rows := []row{
		{name: "push-files-far", work: fmt.Sprintf("%d small files, --push, %v of delay", files, lineDelay), run: pushes(purePush, load{small: files})},
		{name: "pull-files-far", work: fmt.Sprintf("%d small files, --pull, %v of delay", files, lineDelay), run: pushes(purePull, load{small: files})},
	}
	for i := range rows {
		rows[i].unit, rows[i].goals, rows[i].who, rows[i].lane, rows[i].times = "files/s", []goal{{limit: 1}}, who, l, 1
	}
	return rows
}

// severalLarge is the number of files in the rows about several large ones.
const severalLarge = 4

// largeLossyRows are the rows about several large files over the slow and lossy
// line, with one congestion control at both ends. forth and back are the line
// seen from either side: the data of both rows goes the lossy way.
func (b *bench) largeLossyRows(algorithm string, forth, back lane) []row {
	const shortest = 320 << 10 // purr takes more than 256 KiB for a large file
	each := b.pick(lossySize(algorithm), shortest)
	what := fmt.Sprintf("%d files of %s", severalLarge, binarySize(each))
	line := fmt.Sprintf(", %v of delay, %g %% loss, %s", lineDelay, lineLoss*100, algorithm)
	rows := []row{
		{name: "push-large-" + algorithm, work: what + ", --push" + line, lane: forth, run: inMB(pushes(purePush, load{large: severalLarge}))},
		{name: "pull-large-" + algorithm, work: what + ", --pull" + line, lane: back, run: inMB(pushes(purePull, load{large: severalLarge}))},
	}
	for i := range rows {
		r := &rows[i]
		r.unit, r.goals, r.who, r.times = "MB/s", []goal{{limit: slowNoise}}, b.contenders(purr, rsync), 1
		r.share = float64(severalLarge*each) / float64(b.size)
	}
	return rows
}

// binarySize words a size (bytes) that is a whole number of KiB.
func binarySize(bytes int) string {
	if bytes%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}

// fsync is the variant of rsync that brings every file onto stable storage, as purr always does.
const fsync = "--fsync"

// withKey is the variant of purr that has a key, at both ends. It is 16 zero bytes and their check character.
const (
	withKey = "key"
	zeroKey = "PURR_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAG"
)

// A pushKind is who dials, and where the files are stored.
type pushKind struct {
	pull bool // the receiver dials
	disk bool // stored on a disk, not on tmpfs
}

var (
	purePush = pushKind{}
	purePull = pushKind{pull: true}
	diskPush = pushKind{disk: true}
)

// A load is the files that are moved: so many small ones, or so many large ones
// of the run's size together.
type load struct {
	small int
	large int
}

// pushes measures a tool that moves a load.
func pushes(kind pushKind, what load) func(context.Context, run) (sample, error) {
	return func(ctx context.Context, r run) (sample, error) {
		return r.push(ctx, kind, what, nil)
	}
}

// pushMemory measures the peak resident memory (MiB) of purr at both ends; the larger of the two.
func pushMemory(what load) func(context.Context, run) (sample, error) {
	return func(ctx context.Context, r run) (sample, error) {
		var peak int64
		s, err := r.push(ctx, purePush, what, &peak)
		if err == nil && peak == 0 {
			err = errors.New("it was gone before its memory could be read")
		}
		return sample{value: float64(peak) / 1024, cpu: s.cpu, note: s.note}, err
	}
}

// push lets a tool move a load, and compares it. With peak it keeps the largest
// VmHWM (KB) there.
func (r run) push(ctx context.Context, kind pushKind, what load, peak *int64) (sample, error) {
	limit := r.lane.patience + moveLimit(r.size) + time.Duration(what.small)*20*time.Millisecond
	s, err := r.newSession(ctx, r.lane, limit)
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	m := &move{session: s, run: r, pushKind: kind}
	bytes, err := m.load(what)
	if err != nil {
		return sample{}, err
	}
	if m.to, err = m.target(); err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(m.to)
	if peak != nil {
		watchCtx, stop := context.WithCancel(s.ctx)
		most := make(chan int64, 1)
		go watchPeak(watchCtx, s, most)
		defer func() { stop(); *peak = <-most }()
	}
	start, end, err := m.do()
	if err == nil {
		err = sameTree(m.from, filepath.Join(m.to, filepath.Base(m.from)))
	}
	if err != nil {
		return sample{}, err
	}
	if end <= start {
		return sample{}, errors.New("the clock did not move")
	}
	got := sample{value: float64(bytes) / float64(end-start)}
	if what.small > 0 {
		got.value = float64(what.small) / (float64(end-start) / 1e9)
		got.note = fmt.Sprintf("%.0f MB, CPU %.2f s", float64(bytes)/1e6, s.cpuPerGB(1e9))
	} else {
		got.cpu = s.cpuPerGB(bytes)
	}
	return got, nil
}

// A move is one transfer between two programs of the same tool.
type move struct {
	*session
	run
	pushKind
	from string // a file or a directory
	to   string // the directory it is to be stored in
}

// load prepares the files to be moved and returns their size (bytes).
func (m *move) load(what load) (size int64, err error) {
	size = m.run.size
	switch {
	case what.small > 0:
		m.from, size, err = m.run.dataTree(what.small)
		return size, err
	case what.large > 1:
		m.from, err = m.run.dataLarge(what.large, size)
	default:
		m.from, err = m.run.dataFile(size)
	}
	return size, errors.Join(err, m.run.warm(size))
}

// target makes the directory to store in. What others have written is on the disk before the clock runs.
func (m *move) target() (string, error) {
	if !m.disk {
		to := filepath.Join(m.session.dir, "to")
		return to, os.Mkdir(to, 0o777)
	}
	to, err := os.MkdirTemp(m.run.disk, "purr-bench-*")
	if err == nil {
		syscall.Sync()
	}
	return to, err
}

// do starts both ends and returns when the dialling one was started and when the last one has ended (CLOCK_MONOTONIC,
// ns).
func (m *move) do() (start, end int64, err error) {
	at, err := m.listenAddress()
	if err != nil {
		return 0, 0, err
	}
	switch m.tool.name {
	case rsync:
		return m.rsync(at)
	case obsd:
		return m.netcat(at)
	}
	listen, dial := []string{"--pull", "-l"}, []string{"--push"}
	what, there := m.from, m.to
	if m.pull {
		listen, dial, what, there = []string{"--push", "-l"}, []string{"--pull"}, m.to, m.from
	}
	listen = append(append([]string{m.tool.path}, listen...), at.host, at.port, there)
	dial = append(append([]string{m.tool.path}, dial...), at.host, at.port, what)
	if _, err := m.listen(at, listen); err != nil {
		return 0, 0, err
	}
	return m.dial(dial)
}

// listen starts the end that listens, and waits until it does.
func (m *move) listen(at address, argv []string) (*proc, error) {
	p, err := m.start(command{argv: argv, env: m.env(), netns: m.session.lane.server})
	if err == nil {
		err = waitReady(m.ctx, p, at.network, at.port)
	}
	return p, err
}

// env is what the programs find in their environment beside ours.
func (m *move) env() []string {
	if m.variant == withKey {
		return []string{zeroKey}
	}
	return nil
}

// dial starts the end that dials, and waits for the end of both.
func (m *move) dial(argv []string) (start, end int64, err error) {
	p, err := m.start(command{argv: argv, env: m.env(), netns: m.session.lane.dialer})
	if err != nil {
		return 0, 0, err
	}
	for _, p := range m.under {
		if err := m.wait(p); err != nil {
			return 0, 0, err
		}
		end = max(end, p.ended)
	}
	return p.started, end, nil
}

// wait waits for the end of a program; the error is its failure, or that of the session.
func (m *move) wait(p *proc) error {
	select {
	case <-p.done:
		return p.failure()
	case <-m.ctx.Done():
		return errors.Join(fmt.Errorf("%s did not end", p.name), context.Cause(m.ctx))
	}
}

// rsync moves with an rsync daemon at the listening end. --whole-file spares the comparison with what is there, which
// is nothing. The daemon checks each file against a checksum of the whole, by default xxh128.
func (m *move) rsync(at address) (start, end int64, err error) {
	config := filepath.Join(m.session.dir, "rsyncd.conf")
	there := m.to
	if m.pull {
		there = filepath.Dir(m.from)
	}
	text := fmt.Sprintf("use chroot = no\naddress = %s\nport = %s\nuid = %d\ngid = %d\n[there]\npath = %s\nread only = no\n",
		at.host, at.port, os.Getuid(), os.Getgid(), there)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return 0, 0, err
	}
	daemon, err := m.listen(at, []string{m.tool.path, "--daemon", "--no-detach", "--config=" + config})
	if err != nil {
		return 0, 0, err
	}
	argv := []string{m.tool.path, "-a", "--whole-file"}
	if m.variant == fsync {
		argv = append(argv, fsync)
	}
	url := fmt.Sprintf("rsync://%s:%s/there/", at.host, at.port)
	if m.pull {
		argv = append(argv, url+filepath.Base(m.from), m.to)
	} else {
		argv = append(argv, m.from, url)
	}
	client, err := m.start(command{argv: argv, netns: m.session.lane.dialer})
	if err != nil {
		return 0, 0, err
	}
	err = m.wait(client)
	daemon.signal(syscall.SIGTERM)
	<-daemon.done // its CPU time, and that of its children
	return client.started, client.ended, err
}

// netcat moves one file as one does with nc and sha256sum: both ends print a digest, for somebody to compare.
func (m *move) netcat(at address) (start, end int64, err error) {
	const (
		send    = `tee >(sha256sum >&2) <"$1" | "$0" -n -N "${@:2}"`
		receive = `"$0" -n -d "${@:2}" | tee "$1" | sha256sum`
	)
	shell := func(script, file string, args ...string) []string {
		return append([]string{"bash", "-c", script, m.tool.path, file}, args...)
	}
	to := filepath.Join(m.to, filepath.Base(m.from))
	listen, dial := shell(receive, to, "-l", at.host, at.port), shell(send, m.from, at.host, at.port)
	if m.pull {
		listen, dial = shell(send, m.from, "-l", at.host, at.port), shell(receive, to, at.host, at.port)
	}
	if _, err := m.listen(at, listen); err != nil {
		return 0, 0, err
	}
	return m.dial(dial)
}
