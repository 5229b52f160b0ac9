package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// checkInherited returns an error: Windows inherits handles, not descriptors.
func checkInherited(int) error {
	return errors.New("descriptors are not inherited by number on Windows: say --port-file")
}

// become runs another program in place of this one, as far as Windows can: it
// has purr's descriptors and console, and its status becomes the run's.
func become(stdin, stdout *os.File, path string, args []string) error {
	cmd := exec.Command(path, args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, os.Stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return statusError{exitStatus(ended.ExitCode()), reportedError{err}}
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", path, err)
	}
	return nil
}

// statusSignals is empty: there is no such signal here.
var statusSignals []os.Signal
