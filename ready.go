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

// notifyReady writes the port of addr, which is bound, or the path of a Unix
// socket. The file comes first: a reader of the descriptor can rely on it.
func (p *purr) notifyReady(addr net.Addr) error {
	text := p.cfg.path
	if !p.cfg.unix {
		text = strconv.Itoa(int(sock.AddrPort(addr).Port()))
	}
	if p.cfg.portFile != "" {
		if err := p.writePortFile(text + "\n"); err != nil {
			return fmt.Errorf("port file %s: %w", p.cfg.portFile, sys.Cause(err))
		}
	}
	if p.cfg.readyFD != 0 {
		if err := writeReady(p.cfg.readyFD, text+"\n"); err != nil {
			return fmt.Errorf("ready descriptor %d: %w", p.cfg.readyFD, sys.Cause(err))
		}
	}
	return nil
}

// writePortFile creates the file in one step, so that no reader finds a part of
// it. The end of the run removes it.
func (p *purr) writePortFile(text string) error {
	path, err := filepath.Abs(p.cfg.portFile) // for removeAtExit
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
	p.removeAtExit(path)
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
	return checkStore(filepath.Dir(path))
}

// checkDirectory returns an error if no file can be created in a directory.
func checkDirectory(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if err := checkWritable(dir); err != nil {
		return fmt.Errorf("directory %s: %w", dir, err)
	}
	return nil
}

// removeAtExit removes a socket or port file of this process at the end of the
// run, unless another file has replaced it. Abstract sockets have none.
func (p *purr) removeAtExit(path string) {
	if path == "" || path[0] == '@' {
		return
	}
	ours, err := os.Lstat(path)
	if err != nil {
		return
	}
	p.atExit(func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(ours, now) {
			_ = os.Remove(path)
		}
	})
}
