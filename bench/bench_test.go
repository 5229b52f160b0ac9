package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The stream must be the same however it is cut: the two ends cut it differently.
func TestStreamIsOne(t *testing.T) {
	s := newStream(false)
	var whole []byte
	for off := int64(0); off < 3*patternLen; off += patternLen {
		whole = append(whole, s.at(off, 1)...)
		whole = append(whole, s.at(off+1, maxBlock)...)
		whole = append(whole, s.at(off+1+maxBlock, patternLen-maxBlock-1)...)
	}
	for _, block := range []int{1, 1400, 65536, maxBlock} {
		v := newVerifier(false)
		for rest := whole; len(rest) > 0; {
			n := min(block, len(rest))
			v.Write(rest[:n])
			rest = rest[n:]
		}
		if v.bad >= 0 || v.off != int64(len(whole)) {
			t.Errorf("block %d: bad at %d of %d", block, v.bad, v.off)
		}
	}
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { b[patternLen+7]++; return b },
		func(b []byte) []byte { return append(b[:4096:4096], b[8192:]...) },
		func(b []byte) []byte { return append(b[:8192:8192], b[4096:]...) },
	} {
		v := newVerifier(false)
		v.Write(change(bytes.Clone(whole)))
		if v.bad < 0 {
			t.Error("a changed stream passed")
		}
	}
}

func TestPatternFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	const size = 2*patternLen + 99
	if err := writePattern(path, wasThere, size); err != nil {
		t.Fatal(err)
	}
	if err := checkFile(path, wasThere, size); err != nil {
		t.Error(err)
	}
	if checkFile(path, wasThere, size-1) == nil || checkFile(path, "", size) == nil {
		t.Error("a file that is too long, or has another beginning, passed")
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "512K": 512 << 10, "3M": 3 << 20, "1G": 1 << 30,
		"": 0, "G": 0, "-1": 0, "1.5G": 0, "9999999999G": 0} {
		if got, err := parseSize(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("parseSize(%q) = %d, %v", text, got, err)
		}
	}
}

func TestGoals(t *testing.T) {
	made := func(label string, values ...float64) *cell {
		c := &cell{contender: contender{label: label, tool: &tool{name: label}}}
		for _, v := range values {
			c.samples = append(c.samples, sample{value: v})
		}
		return c
	}
	aside := made(trad, 100)
	aside.aside = true
	res := &result{cells: []*cell{made(purr, 30, 1, 2), made(obsd, 1), made(ncat, 3, 5), made(socat), aside}}
	for _, c := range []struct {
		lower  bool
		g      goal
		figure float64
		met    bool
	}{
		{false, goal{limit: 0.5}, 0.5, true},
		{false, goal{limit: 0.51}, 0.5, false},
		{true, goal{limit: 2}, 2, true},
		{true, goal{limit: 1.9}, 2, false},
		{true, goal{limit: 0.5, against: ncat}, 0.5, true},
		{true, goal{limit: 2, absolute: true}, 2, true},
	} {
		res.lower = c.lower
		figure, err := res.figure(c.g)
		if err != nil || figure != c.figure || res.met(c.g, figure) != c.met {
			t.Errorf("%+v, lower %v: %v, %v, %v", c.g, c.lower, figure, err, res.met(c.g, figure))
		}
	}
	if _, err := res.figure(goal{against: socat}); err == nil {
		t.Error("a figure without a result to compare with")
	}
}

func TestNumberInDatagram(t *testing.T) {
	b := make([]byte, numberLen)
	for _, n := range []uint64{0, 10, 0xfedcba9876543210} {
		putNumber(b, n)
		if _, err := number(b); n > 9 && err == nil {
			t.Errorf("%q passed as upper case", b)
		}
		upperASCII(b)
		if got, err := number(b); got != n || err != nil {
			t.Errorf("%x came back as %x, %v", n, got, err)
		}
	}
}

// Each of two neighbours must be ahead of the other equally often, and each
// contender must be first.
func TestTurns(t *testing.T) {
	for n := 1; n <= 5; n++ {
		ahead, first := map[[2]int]int{}, map[int]bool{}
		for round := range 2 * n {
			order := turns(round, n)
			sorted := slices.Sorted(slices.Values(order))
			for i := range n {
				if sorted[i] != i {
					t.Fatalf("turns(%d, %d) = %v", round, n, order)
				}
			}
			first[order[0]] = true
			for i := 1; i < n; i++ {
				ahead[[2]int{order[i-1], order[i]}]++
			}
		}
		if len(first) != n {
			t.Errorf("of %d, these were first: %v", n, first)
		}
		for pair, times := range ahead {
			if other := ahead[[2]int{pair[1], pair[0]}]; other != times {
				t.Errorf("of %d, %v %d times, the other way %d times", n, pair, times, other)
			}
		}
	}
}

// fakeBench is a bench with a base build and without programs.
func fakeBench() *bench {
	own, old := &tool{name: purr, path: "/new/purr"}, &tool{name: purr, path: "/old/purr"}
	return &bench{rounds: 4, size: 1 << 20, base: old, tools: map[string]*tool{
		purr: own, ncat: {name: ncat, path: "/ncat"}, bare: {name: bare, path: "/bare"}}}
}

// The base build must do all work that purr does, in the same rounds, with its
// own program and the same variant.
func TestBaseTakesPart(t *testing.T) {
	b := fakeBench()
	var calls []string
	rw := row{name: "x", times: 1, most: 1, who: b.contenders(purr, ncat), goals: []goal{{limit: 1}}}
	rw.who[0].variant = withKey
	rw.run = func(_ context.Context, r run) (sample, error) {
		calls = append(calls, r.tool.path)
		if r.tool.name == purr && r.variant != withKey {
			t.Errorf("%s got variant %q", r.tool.path, r.variant)
		}
		argv, err := r.tool.send(address{network: "tcp", host: "h", port: "1"})
		if err != nil || argv[0] != r.tool.path {
			t.Errorf("send of %s: %v, %v", r.tool.path, argv, err)
		}
		return sample{value: float64(len(r.tool.path))}, nil
	}
	res := b.measure(t.Context(), rw)
	for _, path := range []string{"/new/purr", "/old/purr", "/ncat"} {
		for round := range b.rounds { // rw.most does not hold
			if !slices.Contains(calls[3*round:3*round+3], path) {
				t.Errorf("%s had no turn in round %d: %v", path, round, calls)
			}
		}
	}
	if res.best().label != ncat {
		t.Errorf("the best peer is %s", res.best().label)
	}
	res.find(base).err = errors.New("broken")
	if err := res.failure(); err != nil {
		t.Errorf("a base build that fails passes for purr: %v", err)
	}
	res.find(purr).err = errors.New("broken")
	if res.failure() == nil {
		t.Error("purr failed, and the row did not")
	}
}

func TestWithoutPeers(t *testing.T) {
	b := fakeBench()
	b.alone = true
	goals := []goal{{limit: 1}, {limit: 2, against: ncat}, {limit: 3, against: bare}, {limit: 4, absolute: true}}
	rw := b.prepare(row{who: b.contenders(purr, ncat, bare), goals: goals})
	var labels []string
	for _, c := range rw.who {
		labels = append(labels, c.label)
	}
	if want := []string{purr, base, bare}; !slices.Equal(labels, want) {
		t.Errorf("contenders %v, not %v", labels, want)
	}
	if len(rw.goals) != 2 || rw.goals[0].limit != 3 || rw.goals[1].limit != 4 {
		t.Errorf("goals %v", rw.goals)
	}
	if goals[0].limit != 1 || len(goals) != 4 {
		t.Errorf("the goals of the row itself became %v", goals)
	}
}

// A comparison above 1 must mean a better purr, also where less is better.
func TestOfBase(t *testing.T) {
	b := fakeBench()
	samples := func(values ...float64) (s []sample) {
		for _, v := range values {
			s = append(s, sample{value: v})
		}
		return s
	}
	made := func(lower bool, times int, own, other []sample) *result {
		who := b.contenders(purr)
		return &result{row: row{name: "x", lower: lower, times: times}, cells: []*cell{
			{contender: who[0], samples: own},
			{contender: contender{label: base, tool: b.base}, samples: other}}}
	}
	fast, slow := samples(4, 2, 6), samples(2, 2, 2)
	for _, c := range []struct {
		name string
		res  *result
		want comparison
	}{
		{"more is better", made(false, 1, fast, slow), comparison{2, 1, 3}},
		{"less is better", made(true, 1, slow, fast), comparison{2, 1, 3}},
		{"worse", made(true, 1, fast, samples(1, 1, 1)), comparison{0.25, 1.0 / 6, 0.5}},
		{"two runs a round", made(false, 2, samples(1, 3, 6, 10), samples(1, 1, 2, 2)), comparison{3, 2, 4}},
	} {
		if got, err := c.res.ofBase(); err != nil || got != c.want {
			t.Errorf("%s: %v, %v, not %v", c.name, got, err, c.want)
		}
	}
	if _, err := made(false, 1, fast, nil).ofBase(); err == nil {
		t.Error("a comparison with a build without a result")
	}
	var table strings.Builder
	if err := summary(&table, []*result{made(true, 1, slow, fast), {row: row{name: "no base"}}}); err != nil {
		t.Fatal(err)
	}
	if text := table.String(); !strings.Contains(text, "2.00 (1.00 to 3.00") || strings.Contains(text, "no base") {
		t.Errorf("the table is\n%s", text)
	}
}

// All rows must be listed without any program, and have different names.
func TestRowNames(t *testing.T) {
	b := &bench{size: shortSize}
	seen := map[string]bool{}
	for _, rw := range append(b.allRows(), b.netnsRows()...) {
		if seen[rw.name] {
			t.Errorf("two rows are called %s", rw.name)
		}
		seen[rw.name] = true
	}
	for _, name := range []string{"push-large", "pull-large", "push-large-cubic", "pull-large-bbr", "start-refused", "tunnel", "tunnel-connections", "tunnel-connections-shared", "tunnel-udp"} {
		if !seen[name] {
			t.Errorf("there is no row %s", name)
		}
	}
}

// Several large files must have the size that was asked for, together, and
// different contents.
func TestDataLarge(t *testing.T) {
	b := &bench{dir: t.TempDir()}
	const files, size = 4, 4 * 100_000
	dir, err := b.dataLarge(files, size)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range files {
		names = append(names, filepath.Join(dir, fmt.Sprintf("f%03d", i)))
		if info, err := os.Stat(names[i]); err != nil || info.Size() != size/files {
			t.Errorf("%v, %v", info, err)
		}
	}
	if sameFile(names[0], names[1]) == nil {
		t.Error("two files have the same content")
	}
	again, err := b.dataLarge(files, size)
	if err != nil || again != dir || sameTree(dir, again) != nil {
		t.Errorf("made again: %s, %v", again, err)
	}
}

// The program that only dials must end as purr does when it is refused.
func TestBareDialer(t *testing.T) {
	built := buildBare(t.Context(), t.TempDir())
	if built.absent != nil {
		t.Fatal(built.absent)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(ln.Addr().String())
	argv, err := built.send(address{network: "tcp", host: host, port: port})
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(argv[0], argv[1:]...).Run(); err != nil {
		t.Errorf("accepted: %v", err)
	}
	ln.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	if cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("refused: %v", cmd.ProcessState)
	}
}

// A congestion control that the kernel has must be set at both ends; the rows of
// one that it does not have must be named as absent.
func TestCongestionControl(t *testing.T) {
	b := &bench{dir: t.TempDir(), size: shortSize, short: true}
	l, err := openLink(t.Context(), b)
	defer l.close()
	if err != nil {
		if os.Getenv("PURR_TEST_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED: %s needs network namespaces: %v", t.Name(), err)
	}
	if err := l.congestion(t.Context(), "reno"); err != nil {
		t.Fatal(err)
	}
	for _, netns := range []string{l.near, l.far} {
		routes, err := exec.Command("ip", "-n", netns, "route").CombinedOutput()
		if err != nil || !strings.Contains(string(routes), "congctl reno") {
			t.Errorf("%v, the routes are\n%s", err, routes)
		}
	}
	defer func(before []string) { lossyAlgorithms = before }(lossyAlgorithms)
	lossyAlgorithms = []string{"nosuch"}
	var text strings.Builder
	o := options{run: regexp.MustCompile("push")}
	results, err := o.runLargeLossy(t.Context(), b, l, &text)
	if err != nil || len(results) > 0 {
		t.Errorf("%v, %v", results, err)
	}
	if !strings.Contains(text.String(), "push-large-nosuch is absent") || strings.Contains(text.String(), "pull") {
		t.Errorf("it printed %q", text.String())
	}
}

// A child must run on the processors of its command only, and leave ours as they are.
func TestCores(t *testing.T) {
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	under, others := splitCores()
	if before.Count() == 1 {
		if under != nil || others != nil {
			t.Errorf("one processor is split: %v and %v", under, others)
		}
		return
	}
	if under.Count() != 1 || others.Count() != before.Count()-1 {
		t.Errorf("%v and %v of %v", under, others, before)
	}
	for cpu := range before {
		if under[cpu]&others[cpu] != 0 || under[cpu]|others[cpu] != before[cpu] {
			t.Errorf("%v and %v of %v", under, others, before)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := startProc(t.Context(), t.TempDir(), command{argv: []string{"nproc"}, stdout: f, cores: under})
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if text, err := os.ReadFile(out); err != nil || p.err != nil || string(text) != "1\n" {
		t.Errorf("%q, %v, %v", text, err, p.err)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
		t.Errorf("%v before, %v after, %v", before, after, err)
	}
}
