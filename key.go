package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/term"

	"purr/internal/fdio"
	"purr/internal/flags"
	"purr/internal/sock"
	"purr/internal/sys"
	"purr/internal/tlsconn"
)

// This file finds the shared key (--key-file, PURR_KEY, the prompt) and prints
// a new one (--key-new). secure.go uses it.

const keyVariable = "PURR_KEY"

// wordKeyError suggests --key-new for a text that is no key, and may be a
// password. Other errors stay as they are.
func wordKeyError(err error) error {
	var typo *tlsconn.TypoError
	if errors.Is(err, tlsconn.ErrNoKey) {
		err = fmt.Errorf("%w: purr makes its keys (--key-new) and takes no passwords", err)
	} else if errors.As(err, &typo) && typo.Length > 0 {
		err = fmt.Errorf("%w; purr makes its keys (--key-new) and takes no passwords", err)
	}
	return err
}

// loadKey sets the key from --key-new, --key-file or PURR_KEY. If --key-file is
// "-", prepareKey reads it from stdin later.
func (cfg *config) loadKey() error {
	c := &cfg.key
	text, set := os.LookupEnv(keyVariable)
	var err error
	switch {
	case !exchangesData(cfg):
		return nil
	case c.fresh:
		c.secret = tlsconn.NewKey()
	case c.file == "-":
	case c.file != "":
		if c.secret, err = tlsconn.LoadKey(c.file); err != nil {
			return usageErrorf("option --key-file: %s: %w", c.file, sys.Cause(wordKeyError(err)))
		}
	case set && strings.TrimSpace(text) == "":
		// "PURR_KEY=$(cat missing)" must not end in clear text.
		return usageErrorf("%s is set and empty: unset it to send clear text", keyVariable)
	case set:
		if c.secret, err = tlsconn.ParseKey(text); err != nil {
			return usageErrorf("%s: %w", keyVariable, wordKeyError(err))
		}
	default:
		return nil
	}
	c.on = true
	c.variableIgnored = set && c.file != ""
	return nil
}

// given reports whether conversations are encrypted with a key; --ssl does not
// count.
func (c keyConfig) given() bool { return c.on }

// exchangesData reports whether there is anything to encrypt: -z and the wait
// for a command only connect.
func exchangesData(c *config) bool { return !c.zero && len(c.command) == 0 }

// prepareKey hides the key from other programs, reads it from stdin if
// --key-file is "-", and when dialling prints a new one. It is called before a
// socket is opened.
//
// catchSignals is called before the key is read from stdin, and atExit
// registers how a terminal is put back.
func (e *encryption) prepareKey(ctx context.Context, stdin *os.File, catchSignals func(context.Context), atExit func(func())) error {
	k := e.keyConfig
	if !k.on {
		return nil
	}
	if err := sys.HideMemory(); err != nil {
		e.log.warnf("keep the key out of core dumps: %v", err)
	}
	_ = os.Unsetenv(keyVariable) // a program that this one runs does not get it
	if k.variableIgnored {
		e.log.verbosef("%s is set too, and --key-file goes before it", keyVariable)
	}
	if k.fresh && !e.server {
		e.logNewKey(0)
	}
	if k.file != "-" {
		return nil
	}
	catchSignals(ctx)
	secret, err := e.keyFromStdin(stdin, atExit)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return statusError{statusUsage, fmt.Errorf("option --key-file: stdin: %w", sys.Cause(wordKeyError(err)))}
	}
	e.typed = &secret
	return nil
}

// keyFromStdin reads the key from stdin's first line. On a terminal it prompts,
// up to three times.
func (e *encryption) keyFromStdin(stdin *os.File, atExit func(func())) (tlsconn.Key, error) {
	if fdio.KindOf(stdin) != fdio.Terminal {
		return tlsconn.ReadKey(fdio.New(stdin, nil))
	}
	fd := fdio.New(stdin, nil).FD()
	if state, err := term.GetState(fd); err == nil {
		atExit(func() { _ = term.Restore(fd, state) }) // a signal may come while the echo is off
	}
	for tries := 1; ; tries++ {
		e.log.prompt("key: ")
		line, err := term.ReadPassword(fd)
		e.log.answered()
		if err == io.EOF {
			return tlsconn.Key{}, errors.New("no key was typed")
		}
		if err != nil {
			return tlsconn.Key{}, err
		}
		k, err := tlsconn.ParseKey(string(line))
		if err == nil || tries == 3 {
			return k, err
		}
		e.log.fail(wordKeyError(err))
	}
}

// logListenerKey prints the key, or the pin of the certificate, if one was made
// for this run. bound is the address of the listener.
func (e *encryption) logListenerKey(bound net.Addr) {
	port := int(sock.AddrPort(bound).Port())
	if e.fresh {
		e.logNewKey(port)
	}
	if e.ssl.selfPin != nil {
		e.logNewCert(port)
	}
}

// logNewKey prints a new key and the command for the other end. port is the one
// that the listener is bound to; a dialer passes 0.
func (e *encryption) logNewKey(port int) {
	secret, command := e.secret, e.otherEnd(port)
	e.log.report(always, "key", []field{{"key", fmt.Sprint(secret)}, {"command", command}},
		"a new key: %v; at the other end put it in a file (umask 077; cat >key) and say: %s", secret, command)
}

// otherEnd returns the command line of the other end. port is the one that a
// listener has bound.
func otherEnd(c *config, port int) string {
	purr, what := "purr --key-file key", "" // a variable would stay in the shell's history
	if c.ssl.selfPin != nil {
		purr = "purr --ssl --pin " + c.ssl.selfPin.String()
		if c.ssl.clientCA != "" || c.ssl.pin != nil {
			purr += " --ssl-cert FILE"
		}
	}
	switch {
	case c.push.push:
		purr += " --pull"
	case c.push.pull:
		purr, what = purr+" --push", " PATH..."
	}
	host := c.host
	if host == "" || flags.IsUnspecified(host) {
		host = "HOST"
	}
	switch {
	case c.vsock:
		return purr + " --vsock CID PORT" + what
	case c.unix && c.listen:
		return purr + " -U " + c.path + what
	case c.unix:
		return purr + " -l -U " + c.path + what
	case c.listen:
		return fmt.Sprintf("%s %s %d%s", purr, host, port, what)
	}
	return fmt.Sprintf("%s -l %d%s", purr, c.ports[0], what)
}

// encrypts reports whether connections are encrypted.
func (c *config) encrypts() bool { return c.key.on || c.ssl.on }
