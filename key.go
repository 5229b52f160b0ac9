package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"golang.org/x/term"

	"purr/internal/fdio"
	"purr/internal/sock"
	"purr/internal/sys"
)

// This file is the key as people handle it: its text, where it is read from,
// and how a new one is told. tls.go is what becomes of it.

// A sharedKey is what both ends of an encrypted conversation hold: 128 random
// bits. Whoever connects to a listener can try keys against what it shows, at
// leisure; so purr makes its keys itself and takes no passwords.
type sharedKey [16]byte

// A key is written as 26 characters of base32 (RFC 4648: A-Z, 2-7) and one
// that checks them, so that a typing error is told apart from a wrong key.
const (
	keyDigits   = 26
	keyAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	keyVariable = "PURR_KEY"
	keyMostLine = 4096 // bytes of a line that may still hold a key
)

const noPasswords = "purr makes its keys (--key-new) and takes no passwords"

func newKey() (k sharedKey) {
	rand.Read(k[:]) // never fails: crypto/rand ends the process instead
	return k
}

func (k sharedKey) String() string {
	sum := sha256.Sum256(k[:])
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(k[:]) + keyAlphabet[sum[0]>>3:][:1]
}

// parseKey reads a key as String writes it, in upper or lower case, with
// spaces and dashes wherever they help the eye. Its errors never quote the
// text: it is a secret, or was meant to be.
func parseKey(text string) (k sharedKey, err error) {
	var clean []byte
	for _, c := range []byte(strings.ToUpper(strings.TrimRight(text, "\r\n"))) {
		if c != ' ' && c != '-' {
			clean = append(clean, c)
		}
	}
	strange := 0 // the position of the first character that no key has
	for i, c := range clean {
		switch {
		case strings.IndexByte(keyAlphabet, c) >= 0:
		case c < '0' || c > '9':
			return k, errors.New("this is no key: " + noPasswords)
		case strange == 0:
			strange = i + 1
		}
	}
	switch {
	case len(clean) < keyDigits-2 || len(clean) > keyDigits+4:
		return k, errors.New("this is no key: " + noPasswords)
	case len(clean) != keyDigits+1:
		return k, fmt.Errorf("mistyped: %d characters where a key has %d; %s", len(clean), keyDigits+1, noPasswords)
	case strange > 0:
		return k, fmt.Errorf("mistyped: character %d is none that a key has (A-Z, 2-7)", strange)
	}
	if _, err := base32.StdEncoding.WithPadding(base32.NoPadding).Decode(k[:], clean[:keyDigits]); err != nil {
		return sharedKey{}, errors.New("this is no key: " + noPasswords)
	}
	if k.String() != string(clean) {
		return sharedKey{}, errors.New("mistyped: the check character at the end does not fit the others")
	}
	return k, nil
}

// loadKey finds the key, except one that is still to be read from stdin.
func (cfg *config) loadKey() error {
	c := &cfg.key
	text, set := os.LookupEnv(keyVariable)
	switch {
	case !cfg.exchangesData():
		return nil
	case c.fresh:
		c.secret = newKey()
	case c.file == "-":
	case c.file != "":
		line, shared, err := readKeyFile(c.file)
		if err == nil {
			c.secret, err = parseKey(line)
		}
		if err != nil {
			return usageErrorf("option --key-file: %s: %w", c.file, sys.Cause(err))
		}
		c.fileShared = shared
	case set && strings.TrimSpace(text) == "":
		// "PURR_KEY=$(cat missing)" must not end in clear text.
		return usageErrorf("%s is set and empty: unset it to send clear text", keyVariable)
	case set:
		var err error
		if c.secret, err = parseKey(text); err != nil {
			return usageErrorf("%s: %w", keyVariable, err)
		}
	default:
		return nil
	}
	c.on = true
	c.variableIgnored = set && c.file != ""
	return nil
}

// given reports whether conversations are encrypted.
func (c keyConfig) given() bool { return c.on }

// exchangesData reports whether there is anything to encrypt: -z and the wait
// for a command only ask whether somebody is there.
func (c *config) exchangesData() bool { return !c.zero && len(c.command) == 0 }

// readKeyFile returns the first line of a key file, and the file's mode if
// users other than its owner may read or change it.
func readKeyFile(path string) (line string, shared fs.FileMode, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	if mode := info.Mode(); mode.IsRegular() && mode&0o066 != 0 && sys.ModeTellsUsers {
		shared = mode.Perm()
	}
	line, err = readKeyLine(f)
	return line, shared, err
}

// readKeyLine reads one line and nothing behind it: what follows on stdin is
// for the peer.
func readKeyLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < keyMostLine; {
		n, err := r.Read(one)
		switch {
		case n > 0 && one[0] == '\n', err == io.EOF && len(line) > 0:
			return string(line), nil
		case n > 0:
			line = append(line, one[0])
		case err == io.EOF:
			return "", errors.New("it is empty: a key was expected on its first line")
		case err != nil:
			return "", err
		}
	}
	return "", errors.New("this is no key: " + noPasswords)
}

// prepareKey reads a key from stdin, if that is where it comes from, and says
// what the user must know of the one in use. It returns before anything is
// opened.
func (p *purr) prepareKey(ctx context.Context) error {
	k := p.cfg.key
	if !k.given() {
		return nil
	}
	if k.fileShared != 0 {
		p.log.warnf("key file %s: other users may read or change it (mode %04o): say chmod 600", k.file, k.fileShared)
	}
	if k.variableIgnored {
		p.log.notef(1, "%s is set too, and --key-file goes before it", keyVariable)
	}
	if k.fresh && !p.cfg.listen {
		p.sayNewKey(0)
	}
	if k.file != "-" {
		return nil
	}
	p.catchSignals(ctx)
	secret, err := p.keyFromStdin()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return statusError{2, fmt.Errorf("option --key-file: stdin: %w", sys.Cause(err))}
	}
	p.ring.typed = &secret
	return nil
}

// keyFromStdin reads the key from stdin's first line; a person is asked for it,
// and asked again after a typing error.
func (p *purr) keyFromStdin() (sharedKey, error) {
	if fdio.KindOf(p.stdin) != fdio.Terminal {
		line, err := readKeyLine(p.stdin)
		if err != nil {
			return sharedKey{}, err
		}
		return parseKey(line)
	}
	fd := fdio.New(p.stdin, nil).FD()
	if state, err := term.GetState(fd); err == nil {
		p.atExit(func() { _ = term.Restore(fd, state) }) // a signal may come while the echo is off
	}
	for tries := 1; ; tries++ {
		p.log.ask("key: ")
		line, err := term.ReadPassword(fd)
		p.log.answered()
		if err == io.EOF {
			return sharedKey{}, errors.New("no key was typed")
		}
		if err != nil {
			return sharedKey{}, err
		}
		k, err := parseKey(string(line))
		if err == nil || tries == 3 {
			return k, err
		}
		p.log.fail(err)
	}
}

// saysKey tells a key that was made for a listener, and what to say at the
// other end. bound is where the listener listens.
func (p *purr) saysKey(bound net.Addr) {
	if p.cfg.key.fresh {
		p.sayNewKey(int(sock.AddrPort(bound).Port()))
	}
}

// sayNewKey tells a key that was made, and what to say at the other end of a
// listener on port.
func (p *purr) sayNewKey(port int) {
	secret, command := p.cfg.key.secret, p.cfg.otherEnd(port)
	if p.log.json {
		p.log.event("key", field{"key", fmt.Sprint(secret)}, field{"command", command})
		return
	}
	p.log.warnf("a new key; at the other end say: %s=%v %s", keyVariable, secret, command)
}

// otherEnd is the command that the other end of this one is. A listener's port
// is the one that was bound.
func (c *config) otherEnd(port int) string {
	purr, what := "purr", ""
	switch {
	case c.push.push:
		purr = "purr --pull"
	case c.push.pull:
		purr, what = "purr --push", " PATH..."
	}
	host := c.host
	if addr := net.ParseIP(host); host == "" || addr != nil && addr.IsUnspecified() {
		host = "HOST"
	}
	switch {
	case c.unix && c.listen:
		return purr + " -U " + c.path + what
	case c.unix:
		return purr + " -l -U " + c.path + what
	case c.listen:
		return fmt.Sprintf("%s %s %d%s", purr, host, port, what)
	}
	return fmt.Sprintf("%s -l %d%s", purr, c.ports[0], what)
}
