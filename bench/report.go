package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// print writes a measured row as lines of text: the targets, unless it was too short for them, then each contender.
func (res *result) print(w io.Writer, short bool) {
	fmt.Fprintf(w, "%s: %s\n", res.name, res.work)
	for _, g := range res.goals {
		if !short {
			fmt.Fprintf(w, "  %s\n", res.verdict(g))
		}
	}
	best := res.best()
	for _, c := range res.cells {
		mark := " "
		if c == best {
			mark = "*"
		}
		fmt.Fprintf(w, "  %s %-15s %s\n", mark, c.label, res.describe(c))
	}
	if res.compared() {
		fmt.Fprintf(w, "    %-15s %7s\n", "of base", res.baseText())
	}
	fmt.Fprintln(w)
}

// verdict words a goal and whether it was met.
func (res *result) verdict(g goal) string {
	figure, err := res.figure(g)
	if err != nil {
		return fmt.Sprintf("target %s: %v", res.goalText(g), err)
	}
	word := "MISSED"
	if res.met(g, figure) {
		word = "met"
	}
	return fmt.Sprintf("target %s: %s, %s", res.goalText(g), word, res.figureText(g, figure))
}

// goalText words a goal: ">= 1.1 x best peer".
func (res *result) goalText(g goal) string {
	sign := ">="
	if res.lower {
		sign = "<="
	}
	if g.absolute {
		return fmt.Sprintf("%s %g %s", sign, g.limit, res.unit)
	}
	against := g.against
	if against == "" {
		against = "best peer"
	}
	return fmt.Sprintf("%s %g x %s", sign, g.limit, against)
}

// figureText words what was reached.
func (res *result) figureText(g goal, figure float64) string {
	if g.absolute {
		return number3(figure) + " " + res.unit
	}
	return fmt.Sprintf("%.2f", figure)
}

// describe words a cell: the median, the range, the CPU time, the last note.
func (res *result) describe(c *cell) string {
	switch {
	case errors.Is(c.err, errCannot):
		return "cannot do this"
	case c.err != nil && c.tool.absent != nil:
		return "absent: " + c.err.Error()
	case c.err != nil:
		return "failed: " + strings.ReplaceAll(c.err.Error(), "\n", "; ")
	case len(c.samples) == 0:
		return "not run"
	}
	low, high := c.samples[0].value, c.samples[0].value
	for _, s := range c.samples {
		low, high = min(low, s.value), max(high, s.value)
	}
	text := fmt.Sprintf("%7s %-5s (%s to %s)", number3(c.value()), res.unit, number3(low), number3(high))
	if c.cpu() > 0 {
		text += fmt.Sprintf("  %.3f CPU s/GB", c.cpu())
	}
	if note := c.samples[len(c.samples)-1].note; note != "" {
		text += "  " + note
	}
	if c.aside {
		text += "  (not compared with)"
	}
	return text
}

// number3 writes a number with three figures that matter.
func number3(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f >= 1:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.3f", f)
}

// markdown writes the results as a table, with the machine below it.
func markdown(w io.Writer, results []*result, machine string) {
	// The last column is there only with -base.
	withBase := slices.ContainsFunc(results, (*result).compared)
	line := func(text, last string) {
		if withBase {
			text += " " + last + " |"
		}
		fmt.Fprintln(w, text)
	}
	line("| work | purr | best peer | ratio | target | met | CPU s/GB: purr | best peer |", "of base, more is better")
	line("|---|---|---|---|---|---|---|---|", "---")
	for _, res := range results {
		for _, g := range res.goals {
			line(res.markdownLine(g), res.baseText())
		}
		if own := res.purr(); len(res.goals) == 0 && own != nil {
			line(fmt.Sprintf("| %s | %s %s | - | - | none | - | %s | |", res.work, number3(own.value()), res.unit, cpuText(own)),
				res.baseText())
		}
	}
	fmt.Fprintf(w, "\n%s\n", machine)
}

// markdownLine is the line of one goal of a row.
func (res *result) markdownLine(g goal) string {
	own, other := res.purr(), res.best()
	if g.against != "" {
		other = res.find(g.against)
	}
	cells := []string{res.work, "-", "-", "-", res.goalText(g), "-", "", ""}
	if own != nil {
		cells[1] = number3(own.value()) + " " + res.unit
		cells[6] = cpuText(own)
	}
	if other != nil {
		cells[2] = fmt.Sprintf("%s %s (%s)", number3(other.value()), res.unit, other.label)
		cells[7] = cpuText(other)
	}
	if figure, err := res.figure(g); err == nil {
		if !g.absolute {
			cells[3] = fmt.Sprintf("%.2f", figure)
		}
		cells[5] = "no"
		if res.met(g, figure) {
			cells[5] = "yes"
		}
	}
	for i := range cells {
		cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// cpuText is the CPU time of a cell, or nothing where it does not apply.
func cpuText(c *cell) string {
	if c.cpu() == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", c.cpu())
}

// machineLine says on what and with what was measured.
func (b *bench) machineLine() string {
	var u unix.Utsname
	kernel := "?"
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	text := fmt.Sprintf("Measured on %s, %d cores, %s, %s;", cpuModel(), runtime.NumCPU(), kernel, runtime.Version())
	sep := " "
	for _, name := range toolNames {
		if t := b.tools[name]; t.absent == nil {
			text += sep + name + " " + t.version
			sep = ", "
		}
	}
	if b.base != nil {
		text += ", base " + b.base.version
	}
	where := "the loopback"
	if b.isolated {
		where += " of a network namespace of its own"
	}
	return text + fmt.Sprintf("; on %s, medians of %d rounds.", where, b.rounds)
}

// cpuModel is what /proc/cpuinfo calls the processor.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "an unknown processor"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// output runs a short command of the system and returns what it printed.
func output(ctx context.Context, argv ...string) error {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
