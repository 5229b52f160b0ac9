package lineedit

import (
	"os"

	"golang.org/x/term"
)

// AskPassword prints a prompt on the terminal of the process, wherever stdin
// and stdout lead, and reads a line without showing it. onExit receives the
// function that restores the terminal if a signal ends the process meanwhile.
// An error means that there is no terminal, or that reading or writing it has
// failed.
func AskPassword(prompt string, onExit func(func())) (string, error) {
	in, err := os.OpenFile(terminalIn, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.OpenFile(terminalOut, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer out.Close()
	fd := int(in.Fd())
	if state, err := term.GetState(fd); err == nil {
		onExit(func() { _ = term.Restore(fd, state) })
	}
	if _, err := out.WriteString(prompt); err != nil {
		return "", err
	}
	line, err := term.ReadPassword(fd)
	_, _ = out.WriteString("\n")
	return string(line), err
}
