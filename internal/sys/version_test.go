package sys

import (
	"runtime/debug"
	"testing"
)

// The version names the commit, a changed source and the release of Go.
func TestBuildVersion(t *testing.T) {
	t.Parallel()
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "302745f1c2d3e4f5a6b7"}
	clean := debug.BuildSetting{Key: "vcs.modified", Value: "false"}
	changed := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for _, test := range []struct {
		version, commit string // stamped
		module          string
		settings        []debug.BuildSetting
		want            string
	}{
		{"1.2.0", "abcdef012345", "(devel)", nil, "1.2.0 (commit abcdef012345, go1.26.8)"},
		{"1.2.0", "abcdef012345", "(devel)", []debug.BuildSetting{commit, changed}, "1.2.0 (commit abcdef012345, go1.26.8)"},
		{"1.2.0", "", "v0.0.0-2026", []debug.BuildSetting{commit, clean}, "1.2.0 (commit 302745f1c2d3, go1.26.8)"},
		{"1.2.0", "", "", []debug.BuildSetting{commit, changed}, "1.2.0 (commit 302745f1c2d3+modified, go1.26.8)"},
		{"", "", "v1.1.0", []debug.BuildSetting{clean, commit}, "v1.1.0 (commit 302745f1c2d3, go1.26.8)"},
		{"", "", "(devel)", nil, "(devel) (go1.26.8)"},
		{"", "", "", []debug.BuildSetting{{Key: "vcs.revision", Value: "30"}}, "(devel) (commit 30, go1.26.8)"},
	} {
		info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: test.module}, Settings: test.settings}
		if got := describeBuild(test.version, test.commit, info); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
