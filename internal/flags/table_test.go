package flags

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each kind of option stores its value, and the table has what was typed.
func TestTable(t *testing.T) {
	t.Parallel()
	var (
		table   Table
		verbose int
		listen  bool
		source  string
		wait    time.Duration
		all     []string
	)
	table.Bool(&listen, "listen", "l")
	table.Bool(new(bool), "unused")
	table.Count(&verbose, "verbose", "v")
	table.Text(&source, "address", "source", "s")
	table.Func(func(text string) error { all = append(all, text); return nil }, "add")
	Value(&table, &wait, ParseSeconds, "wait", "w")
	var tos, none *int
	Optional(&table, &tos, ParseTOS, "T")
	Optional(&table, &none, ParseTOS, "none")
	operands, behind, err := table.Parse([]string{"-lvv", "a", "-s", "x", "--add=1", "--add", "2", "-w3", "-w", "4", "-T", "0x10", "--", "-v"}, nil)
	if err != nil || !listen || verbose != 2 || source != "x" || wait != 4*time.Second || !slices.Equal(all, []string{"1", "2"}) {
		t.Errorf("listen %t, verbose %d, source %q, wait %v, all %q: %v", listen, verbose, source, wait, all, err)
	}
	if tos == nil || *tos != 0x10 || none != nil {
		t.Errorf("%v, %v", tos, none)
	}
	if !slices.Equal(operands, []string{"a", "-v"}) || behind != 1 {
		t.Errorf("operands %q, %d behind --", operands, behind)
	}
	for name, want := range map[string]string{"listen": "true", "wait": "4", "source": "x", "unused": "", "w": ""} {
		if text, given := table.Typed(name); text != want || given != (want != "") {
			t.Errorf("%s: %q, given %t", name, text, given)
		}
	}
	if n := len(table.Options()); n != 8 {
		t.Errorf("%d options", n)
	}
}

// The first value that is not accepted is the error, under the option's name as
// it was typed, and the other values are stored.
func TestTableValueError(t *testing.T) {
	t.Parallel()
	var (
		table  Table
		help   bool
		source = "kept"
		wait   time.Duration
	)
	Value(&table, &wait, ParseSeconds, "wait", "w")
	table.Text(&source, "address", "source", "s")
	table.Bool(&help, "help", "h")
	operands, _, err := table.Parse([]string{"-w", "x", "-s", "", "-h", "operand"}, nil)
	invalid, ok := errors.AsType[*ValueError](err)
	if !ok || invalid.Option != "-w" || !strings.HasPrefix(err.Error(), "option -w: ") {
		t.Errorf("%v", err)
	}
	if !help || source != "kept" || wait != 0 || !slices.Equal(operands, []string{"operand"}) {
		t.Errorf("help %t, source %q, wait %v, operands %q", help, source, wait, operands)
	}
	for args, option := range map[string]string{"-s a -w x": "-w", "-hwx": "-w", "--wait x": "--wait", "-s a --help --wai=x": "--wait", "-w 1 --source=a -w x --wait y": "-w"} {
		_, _, err := table.Parse(strings.Fields(args), nil)
		if invalid, ok := errors.AsType[*ValueError](err); !ok || invalid.Option != option {
			t.Errorf("%s: %v, want option %s", args, err, option)
		}
	}
	var empty Table
	if _, _, err := empty.Parse([]string{"-x"}, nil); err == nil || err.Error() != "unknown option -x" {
		t.Errorf("the zero table: %v", err)
	}
}

// A name can be given to another option: the one that had it loses it, and is
// gone without names. An option that is not declared takes none.
func TestRename(t *testing.T) {
	t.Parallel()
	var table Table
	var delay, idle, output string
	noStdin, verbose := false, false
	table.Bool(&noStdin, "d")
	table.Text(&output, "name", "output", "o")
	table.Text(&idle, "time", "idle-timeout")
	table.Text(&delay, "time", "delay")
	table.Bool(&verbose, "verbose", "v")
	names := []string{"d", "o", "i"}
	for i, option := range []string{"delay", "idle-timeout", "idle-timeout"} {
		table.Rename(names[i], option)
	}
	table.Rename("v", "nosuch")
	if _, _, err := table.Parse([]string{"-d", "1", "-o2", "-i", "3", "--verbose"}, nil); err != nil {
		t.Fatal(err)
	}
	if delay != "1" || idle != "3" || output != "" || noStdin || !verbose {
		t.Errorf("delay %q, idle timeout %q, output %q, no stdin %t, verbose %t", delay, idle, output, noStdin, verbose)
	}
	if text, given := table.Typed("idle-timeout"); !given || text != "3" {
		t.Errorf("the idle timeout is %q, given %t", text, given)
	}
	if _, given := table.Typed("d"); given {
		t.Error("-d is an option of its own")
	}
	var second Table
	second.Bool(new(bool), "verbose", "v")
	second.Rename("v", "nosuch")
	if _, _, err := second.Parse([]string{"-v"}, nil); err == nil {
		t.Error("-v is known")
	}
}
