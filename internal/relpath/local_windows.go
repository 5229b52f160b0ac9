package relpath

import (
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// unfit returns why Windows has no file with just this path; empty if it has.
func unfit(path string) string {
	if !utf8.ValidString(path) {
		return "no UTF-8 here"
	}
	if _, err := filepath.Localize(path); err != nil {
		return "a device, drive or stream here"
	}
	for component := range strings.SplitSeq(path, "/") {
		switch {
		case strings.ContainsAny(component, `<>"|?*`):
			return `one of < > " | ? * here`
		case strings.HasSuffix(component, "."), strings.HasSuffix(component, " "):
			return "a dot or a space at the end here" // Windows removes them
		}
	}
	return ""
}
