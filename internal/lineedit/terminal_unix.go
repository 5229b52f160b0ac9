//go:build !windows

package lineedit

// The names of the process's terminal.
const terminalIn, terminalOut = "/dev/tty", "/dev/tty"
