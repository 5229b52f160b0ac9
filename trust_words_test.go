package main

import (
	"testing"

	"purr/internal/store"
)

// A refusal that an option would have avoided names the option.
func TestWordRefusal(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]store.Error{
		"over --max-size 10: 7 bytes left":                                         {Way: store.ByLimit, Limit: 10, Left: 7},
		"exists, as a symbolic link: --force replaces files only":                  {Way: store.ByRemovedLink, Text: "exists, as a symbolic link"},
		"hidden name: a component that begins with a dot needs a key at both ends": {Way: store.ByHidden, Text: "hidden name: a component that begins with a dot"},
		"the file system cannot rename without replacing (x): only with --force":   {Way: store.ByForce, Text: "the file system cannot rename without replacing (x)"},
		"exists": {Text: "exists"},
	} {
		if got := wordRefusal(&e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
