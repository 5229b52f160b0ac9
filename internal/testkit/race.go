//go:build race

package testkit

// underRace says that everything is slower.
const underRace = true
