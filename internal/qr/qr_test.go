package qr

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/testkit"
)

// modules returns the modules that a drawn code shows, true for dark ones, as
// rows.
func modules(t testing.TB, drawn string) [][]bool {
	t.Helper()
	var rows [][]bool
	for line := range strings.Lines(drawn) {
		line, begins := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "\x1b[38;5;16;48;5;231m")
		line, ends := strings.CutSuffix(line, "\x1b[0m")
		if !begins || !ends {
			t.Fatalf("a line without both colours: %q", line)
		}
		var upper, lower []bool
		for _, c := range line {
			if !strings.ContainsRune(" ▀▄█", c) {
				t.Fatalf("%q in the code", c)
			}
			upper = append(upper, c == '▀' || c == '█')
			lower = append(lower, c == '▄' || c == '█')
		}
		rows = append(rows, upper, lower)
	}
	return rows
}

// A code has its three finder patterns, and a margin of four modules.
func TestDraw(t *testing.T) {
	t.Parallel()
	const finder = "#######" + "#     #" + "# ### #" + "# ### #" + "# ### #" + "#     #" + "#######"
	for text, size := range map[string]int{"http://192.168.1.5:9000/": 25, "x": 21, "http://[2001:db8:1234:5678:9abc:def0:1234:5678]:65535/": 33} {
		rows := modules(t, Draw(text))
		if len(rows) != size+8+1 || len(rows[0]) != size+8 { // an odd number of rows takes half a line more
			t.Errorf("%q: %d x %d", text, len(rows[0]), len(rows))
		}
		for _, at := range [][2]int{{0, 0}, {size - 7, 0}, {0, size - 7}} {
			var pattern strings.Builder
			for y := range 7 {
				for x := range 7 {
					pattern.WriteByte(map[bool]byte{true: '#', false: ' '}[rows[4+at[1]+y][4+at[0]+x]])
				}
			}
			if pattern.String() != finder {
				t.Errorf("%q: no finder pattern at %v", text, at)
			}
		}
		for y, row := range rows {
			for x, dark := range row {
				if dark && (x < 4 || y < 4 || x >= size+4 || y >= size+4) {
					t.Errorf("%q: a dark module at %d, %d in the margin", text, x, y)
				}
			}
		}
	}
	if lines := strings.Count(Draw(strings.Repeat("x", 2953)), "\n"); lines != (177+8+1)/2 {
		t.Errorf("the longest text has %d lines", lines)
	}
	if drawn := Draw(strings.Repeat("x", 2954)); drawn != "" {
		t.Error("a text that is too long was drawn")
	}
}

// A reader of other people's reads what was drawn.
func TestRead(t *testing.T) {
	t.Parallel()
	zbar := testkit.Program(t, "zbarimg", "zbar-tools")
	for _, text := range []string{"http://192.168.1.5:9000/", "http://[2001:db8::1]:65535/"} {
		rows := modules(t, Draw(text))
		const scale = 4
		picture := fmt.Sprintf("P5\n%d %d\n255\n", len(rows[0])*scale, len(rows)*scale)
		for _, row := range rows {
			line := ""
			for _, dark := range row {
				line += strings.Repeat(map[bool]string{true: "\x00", false: "\xff"}[dark], scale)
			}
			picture += strings.Repeat(line, scale)
		}
		path := filepath.Join(t.TempDir(), "code.pgm")
		if err := os.WriteFile(path, []byte(picture), 0o644); err != nil {
			t.Fatal(err)
		}
		read, err := exec.Command(zbar, "--quiet", "--raw", path).Output()
		if strings.TrimSpace(string(read)) != text {
			t.Errorf("%q is read as %q, %v", text, read, err)
		}
	}
}
