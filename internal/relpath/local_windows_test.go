package relpath

import "testing"

// Names that Windows gives to something else, or changes, are rejected.
func TestCheckHere(t *testing.T) {
	t.Parallel()
	const device, mark, end = "a device, drive or stream here", `one of < > " | ? * here`, "a dot or a space at the end here"
	for name, why := range map[string]string{
		"nul": device, "NUL": device, "con.txt": device, "a/aux": device, "COM1.tar.gz": device, "lpt9": device, "conin$": device,
		"c:": device, "c:x": device, "file:stream": device, `a\b`: device,
		"a?": mark, "*/a": mark, "<": mark, "a/b>": mark, `"`: mark, "x|y": mark,
		"\xff\xfe": "no UTF-8 here",
		"a.":       end, "a ": end, "a./b": end, "a/b ": end, "....": end,
	} {
		if err := Check(name, true); err == nil || err.Error() != "unsafe name: "+why {
			t.Errorf("%q: %v, want %s", name, err, why)
		}
	}
	for _, name := range []string{"null", "console", "com10", "com", "a.b", ".a", "a b", "grüße ☃", "nul_/x", "-"} {
		if err := Check(name, true); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
