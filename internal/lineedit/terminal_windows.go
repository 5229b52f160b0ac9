package lineedit

// The names of the process's terminal.
const terminalIn, terminalOut = "CONIN$", "CONOUT$"
