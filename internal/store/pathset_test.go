package store

import "testing"

func TestPathSet(t *testing.T) {
	t.Parallel()
	var p pathSet
	p.remove("a")
	if p.has("a") || p.len() != 0 {
		t.Error("the zero value is not empty")
	}
	if !p.add("a") || p.add("a") || !p.add("a/b") || p.len() != 2 {
		t.Errorf("%d paths", p.len())
	}
	p.remove("a")
	if p.has("a") || !p.has("a/b") || p.len() != 1 {
		t.Errorf("%d paths after a removal", p.len())
	}
}

// A path has one claim at a time.
func TestClaims(t *testing.T) {
	t.Parallel()
	var c claims
	if !c.acquire("a") || c.acquire("a") || !c.acquire("b") {
		t.Error("two claims of one path")
	}
	c.release("a")
	if !c.acquire("a") {
		t.Error("no claim after the release")
	}
}
