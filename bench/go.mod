module purr/bench

go 1.26.5

require (
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.49.0
)
