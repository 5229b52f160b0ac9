package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"purr/internal/sock"
	"purr/internal/store"
	"purr/internal/sys"
)

// This file is --ready-fd and --port-file: they notify the process that started
// purr that clients can connect, and where.

// A notifier writes where the socket of a run is bound. It is the part of a run
// behind --ready-fd and --port-file.
type notifier struct {
	path     string // of the Unix socket; empty: a port
	portFile string
	readyFD  int
	cleanups *cleanups
}

// notifyReady writes the port of addr, which is bound, or the path of a Unix
// socket. The file comes first: a reader of the descriptor can rely on it.
func (n *notifier) notifyReady(addr net.Addr) error {
	text := n.path
	if text == "" {
		text = strconv.Itoa(int(sock.AddrPort(addr).Port()))
	}
	if n.portFile != "" {
		if err := n.writePortFile(text + "\n"); err != nil {
			return fmt.Errorf("port file %s: %w", n.portFile, sys.Cause(err))
		}
	}
	if n.readyFD != 0 {
		if err := writeReady(n.readyFD, text+"\n"); err != nil {
			return fmt.Errorf("ready descriptor %d: %w", n.readyFD, sys.Cause(err))
		}
	}
	return nil
}

// writePortFile creates the file in one step, so that no reader finds a part of
// it. The end of the run removes it.
func (n *notifier) writePortFile(text string) error {
	path, err := filepath.Abs(n.portFile) // for removeFile
	if err != nil {
		return err
	}
	f, err := store.CreateAtomic(path, store.ReplaceAny)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Rename(); err != nil {
		return err
	}
	n.cleanups.removeFile(path)
	return nil
}

// writeReady writes text to an inherited descriptor and closes it.
func writeReady(fd int, text string) error {
	f := os.NewFile(uintptr(fd), "ready descriptor")
	if f == nil {
		return os.ErrInvalid
	}
	_, err := f.WriteString(text)
	return errors.Join(err, f.Close())
}

// checkPortFile returns an error if the port file cannot be created, before a
// port is bound. The file is renamed into place, so that place must not be a
// device or a directory.
func checkPortFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	return store.CheckDir(filepath.Dir(path))
}
