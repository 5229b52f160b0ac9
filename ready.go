package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"purr/internal/proc"
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
	announce bool // --test
	cleanups *proc.Cleanups

	encrypted bool // whether clients need a key
	log       *logger

	notified func() // called at the end
}

// notifyReady writes the port of addr, or the path of the Unix socket, to
// --port-file and then to --ready-fd: a reader of the descriptor can rely on
// the file. The end of the run removes the file. An abstract socket is a
// warning, unless its clients need a key.
func (n *notifier) notifyReady(addr net.Addr) error {
	text := n.path
	if strings.HasPrefix(n.path, "@") && !n.encrypted {
		n.log.warnf("%s: every user of this machine can connect to an abstract socket", n.path)
	}
	if text == "" {
		text = strconv.Itoa(int(sock.AddrPort(addr).Port()))
	}
	if n.portFile != "" {
		path, err := filepath.Abs(n.portFile) // for RemoveFile
		if err == nil {
			err = store.WriteFile(path, text+"\n")
		}
		if err != nil {
			return fmt.Errorf("port file %s: %w", n.portFile, sys.Cause(err))
		}
		n.cleanups.RemoveFile(path)
	}
	if n.readyFD != 0 {
		if err := proc.WriteReady(n.readyFD, text+"\n"); err != nil {
			return fmt.Errorf("ready descriptor %d: %w", n.readyFD, sys.Cause(err))
		}
	}
	if n.announce {
		n.log.ncLine(always, "NCAT TEST: LISTEN")
	}
	n.notified()
	return nil
}
