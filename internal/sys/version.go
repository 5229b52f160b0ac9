package sys

import (
	"cmp"
	"runtime/debug"
)

// BuildVersion returns the version of the program with its commit and the
// release of Go that compiled it: "1.2.0 (commit 302745f1c2d3, go1.26.8)".
// version and commit are what the linker has stamped; if one is empty, it is
// taken from the build info. A build without version control has no commit, and
// "+modified" marks one whose source had changed.
func BuildVersion(version, commit string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(version, "(unknown version)")
	}
	return describeBuild(version, commit, info)
}

// describeBuild is BuildVersion for the given build info.
func describeBuild(version, commit string, info *debug.BuildInfo) string {
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+modified"
			}
		}
	}
	if commit == "" && revision != "" {
		commit = revision[:min(12, len(revision))] + modified
	}
	if commit != "" {
		commit = "commit " + commit + ", "
	}
	return cmp.Or(version, info.Main.Version, "(devel)") + " (" + commit + info.GoVersion + ")"
}
