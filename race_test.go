//go:build race

package main

// underRace says that everything is slower.
const underRace = true
