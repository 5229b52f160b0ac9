package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// become runs another program in place of this one, as far as Windows can: it
// has purr's descriptors and console, and its status becomes the run's.
func (p *purr) become(path string, args []string) error {
	cmd := exec.Command(path, args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.stdin, p.stdout, os.Stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return statusError{exitStatus(ended.ExitCode()), saidError{err}}
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", path, err)
	}
	return nil
}
