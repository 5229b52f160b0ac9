//go:build !race

package testkit

// UnderRace reports whether the race detector slows everything down.
const UnderRace = false
