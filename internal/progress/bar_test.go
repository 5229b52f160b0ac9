package progress

import (
	"strings"
	"testing"
)

func TestBarLine(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, test := range []struct {
		state   State
		columns int
		want    string
	}{
		{State{Name: "disk.img", Moved: 50 * mib, Size: 200 * mib, Speed: 10 * mib}, 79, "disk.img 25% [====>               ] (50/200 MiB, 10 MiB/s) ETA 15s"},
		{State{Name: "disk.img", Moved: 0, Size: 200 * mib}, 79, "disk.img 0% [                    ] (0 B/200 MiB)"},
		{State{Name: "disk.img", Moved: 500 << 10, Size: 200 * mib, Speed: 3 << 10}, 79, "disk.img 0% [                    ] (500 KiB/200 MiB, 3.0 KiB/s) ETA 18h55m0s"},
		{State{Name: "disk.img", Moved: 200 * mib, Size: 200 * mib, Speed: 10 * mib}, 79, "disk.img 100% [====================] (200/200 MiB, 10 MiB/s) ETA 0s"},
		{State{Name: "log", Moved: 300 * mib, Size: 200 * mib, Speed: 10 * mib}, 79, "log 100% [====================] (300/200 MiB, 10 MiB/s)"}, // it has grown
		{State{Name: "a\x1b[2Jb", Moved: 5, Size: 9, Speed: 2}, 79, `a\x1b[2Jb 55% [==========>         ] (5/9 B, 2 B/s) ETA 2s`},
		// The gauge gives way first, then the directories, then the name.
		{State{Name: "/srv/disk.img", Moved: 50 * mib, Size: 200 * mib, Speed: 10 * mib}, 60, "/srv/disk.img 25% [=>       ] (50/200 MiB, 10 MiB/s) ETA 15s"},
		{State{Name: "/srv/disk.img", Moved: 50 * mib, Size: 200 * mib, Speed: 10 * mib}, 51, "/srv/disk.img 25% [] (50/200 MiB, 10 MiB/s) ETA 15s"},
		{State{Name: "/srv/disk.img", Moved: 50 * mib, Size: 200 * mib, Speed: 10 * mib}, 50, "disk.img 25% [] (50/200 MiB, 10 MiB/s) ETA 15s"},
		{State{Name: "/srv/disk.img", Moved: 50 * mib, Size: 200 * mib, Speed: 10 * mib}, 40, "di 25% [] (50/200 MiB, 10 MiB/s) ETA 15s"},
		{State{Name: "/srv/disk.img", Moved: 50 * mib, Size: 200 * mib, Speed: 10 * mib}, 10, " 25% [] (5"},
		// Without a size there is a spinner.
		{State{Name: "10.0.0.1 port 9000", Moved: 50 * mib, Size: -1, Speed: 10 * mib}, 79, "10.0.0.1 port 9000 - (50 MiB, 10 MiB/s)"},
		{State{Name: "from 10.0.0.1", Moved: 0, Size: 0}, 79, "from 10.0.0.1 - (0 B)"},
		{State{Name: "10.0.0.1 port 9000", Moved: 50 * mib, Size: -1, Speed: 10 * mib}, 30, "10.0.0.1  - (50 MiB, 10 MiB/s)"},
	} {
		if got := barLine(test.state, test.columns, 2); got != test.want {
			t.Errorf("%+v in %d columns:\ngot  %q\nwant %q", test.state, test.columns, got, test.want)
		}
	}
}

// A line never takes more columns than there are.
func FuzzBarLine(f *testing.F) {
	f.Add("/a/name", int64(5), int64(9), 2.0, 40, 1)
	f.Add("d/ää\xff", int64(1<<40), int64(-1), 0.0, 3, 0)
	f.Fuzz(func(t *testing.T, name string, moved, size int64, speed float64, columns, frame int) {
		if moved < 0 || frame < 0 || columns < 0 {
			return
		}
		line := barLine(State{Name: name, Moved: moved, Size: max(size, -1), Speed: speed}, columns, frame)
		if cells(line) > columns || strings.ContainsAny(line, "\r\n\x1b") {
			t.Errorf("%q has %d cells, %d columns", line, cells(line), columns)
		}
	})
}

func TestFit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		columns int
		want    string
	}{
		{"/a/name", 7, "/a/name"}, {"/a/name", 6, "name"}, {"/a/name", 3, "nam"}, {"name", 3, "nam"},
		{"d/ää", 3, "ä"}, {"/a/", 2, ""}, {"name", -1, ""}, {"10.0.0.1 port 9000", 10, "10.0.0.1 p"},
	} {
		if got := fit(test.name, "", test.columns); got != test.want {
			t.Errorf("%q in %d columns: %q, want %q", test.name, test.columns, got, test.want)
		}
	}
}
