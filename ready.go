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

// This file is --ready-fd and --port-file: telling whoever started purr that
// clients may come, and where.

// announceReady tells that addr is bound: its port, or the path of a Unix
// socket. The file comes first, so that whoever hears the descriptor can read it.
func (p *purr) announceReady(addr net.Addr) error {
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

// writePortFile writes the file beside its place and moves it there, so that
// nobody reads a part of it, and has it removed at the end.
func (p *purr) writePortFile(text string) error {
	path, err := filepath.Abs(p.cfg.portFile) // for the end
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

// checkPortFile finds a file that cannot be written before anything is bound.
// It is moved into its place, and so must not be a device or a directory.
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

// checkDirectory finds a directory in which no file can be made.
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

// removeAtExit removes the socket file that this process has bound, unless
// somebody has put another one in its place.
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
