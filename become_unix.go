//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// become replaces the process by another program. Nothing is left between
// that and whoever started purr: signals, the terminal, the descriptors and the
// status are its own. It returns only if that fails.
func (p *purr) become(path string, args []string) error {
	err := syscall.Exec(path, args, os.Environ())
	return fmt.Errorf("run %s: %w", path, err)
}
