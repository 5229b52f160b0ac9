package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"purr/internal/fdio"
	"purr/internal/flags"
	"purr/internal/offer"
	"purr/internal/payload"
	"purr/internal/proc"
	"purr/internal/sock"
	"purr/internal/store"
	"purr/internal/sweep"
	"purr/internal/sys"
)

// This file reads the operands and checks the files that options name, before
// anything is opened.

// setOperands reads the operands: first the address (HOST PORT..., HOST:PORT,
// PORT with -l, or the path of a Unix socket), then the paths of --push or
// --pull. It also looks up the command after --.
func (c *config) setOperands(words []string) error {
	if err := c.setCommand(words); err != nil {
		return err
	}
	if err := misplaced(c, words); err != nil {
		return err
	}
	if c.push.moves() {
		var err error
		if words, err = c.setPaths(words); err != nil {
			return err
		}
	}
	switch {
	case c.inherited != nil:
		return nil
	case c.unix:
		return c.setPath(words)
	case c.listen:
		return c.setListenAddress(words)
	}
	return c.setDialAddress(words)
}

// inherit takes the socket of LISTEN_FDS for a listener without an address, and
// sets that and -u and -U accordingly. The operands of --push and --pull are
// paths then; one in front that is PORT or HOST:PORT is an address as ever, and
// so is a path under -U.
func (c *config) inherit(words []string) (err error) {
	addressed := len(words) > 0
	if addressed && c.push.moves() && !c.unix {
		_, _, err := net.SplitHostPort(words[0])
		addressed = err == nil || strings.Trim(words[0], "0123456789") == ""
	}
	if !c.listen || addressed || c.portText != "" || c.sourceText != "" {
		return nil
	}
	i, err := sock.FindInherited()
	switch {
	case err != nil:
		return usageErrorf("the variable LISTEN_FDS: %w", err)
	case i == nil:
		return nil
	case c.udp && !i.Datagram() || c.unix && i.Addr.IsValid() || c.vsock:
		return usageErrorf("options -u, -U and --vsock are about another socket than that of LISTEN_FDS: leave them out")
	}
	c.inherited, c.udp, c.unix, c.path = i, i.Datagram(), !i.Addr.IsValid(), i.Path
	c.ports = []int{int(i.Addr.Port())}
	if i.Addr.IsValid() && !i.Addr.Addr().IsUnspecified() {
		c.host = i.Addr.Addr().String()
	}
	return nil
}

// setDialAddress reads HOST PORT... or HOST:PORT, and the address to dial from.
func (c *config) setDialAddress(words []string) error {
	switch {
	case len(words) == 0:
		return usageErrorf("no host and port: say \"purr HOST PORT\", or \"purr -l PORT\" to listen")
	case len(words) == 1:
		host, port, err := net.SplitHostPort(words[0])
		switch {
		case flags.IsPort(words[0]):
			return usageErrorf("no host in %s: say \"purr HOST %s\", or \"purr -l %s\" to listen", words[0], words[0], words[0])
		case err != nil && !strings.Contains(words[0], "]:"):
			return usageErrorf("no port in %s: say \"purr %s PORT\"", words[0], flags.Unbracketed(words[0]))
		case err != nil || host == "":
			return usageErrorf("no host and port in %s: say \"purr HOST PORT\", \"purr HOST:PORT\" or \"purr [IPV6]:PORT\"", words[0])
		}
		words = []string{host, port}
	}
	c.host = flags.Unbracketed(words[0])
	if c.host == "" {
		return usageErrorf("the host is empty: say \"purr HOST PORT\"")
	}
	if err := c.setHosts(); err != nil {
		return err
	}
	if err := checkNumeric(c, c.host); err != nil {
		return err
	}
	for _, word := range words[1:] {
		ports, err := flags.ParsePorts(c.network, word)
		if err != nil && flags.IsPort(c.host) && len(words) == 2 {
			return usageErrorf("%w (the host comes first: \"purr %s %s\")", err, word, c.host)
		}
		if err != nil {
			return usageError{err}
		}
		c.ports = append(c.ports, ports...)
	}
	if c.zero {
		c.ports = flags.Unique(c.ports)
	}
	if c.check.ping && len(c.ports) > 1 {
		return usageErrorf("option -c takes one host and one port: leave the other ports out")
	}
	c.source = c.sourceText
	if err := checkNumeric(c, c.source); err != nil {
		return err
	}
	if c.portText == "" {
		return nil
	}
	port, err := flags.ParsePort(c.network, c.portText, 1)
	if err != nil {
		return usageErrorf("option -p: %w", err)
	}
	c.sourcePort = port
	return nil
}

// setListenAddress reads -l PORT, -l HOST PORT, -l HOST:PORT, -l -p PORT [HOST]
// and -l -s HOST PORT: each is the form of some netcat.
func (c *config) setListenAddress(words []string) error {
	port := c.portText
	switch {
	case len(words) > 2 || len(words) == 2 && port != "":
		return usageErrorf("too many operands: say \"purr -l PORT\", \"purr -l HOST PORT\" or \"purr -l -p PORT HOST\"")
	case len(words) == 2:
		c.host, port = words[0], words[1]
	case len(words) == 1 && port != "":
		c.host = words[0]
	case len(words) == 1:
		port = words[0]
		if h, p, err := net.SplitHostPort(words[0]); err == nil {
			c.host, port = h, p
		}
	case port == "":
		return usageErrorf("no port: say \"purr -l PORT\" (-l 0 takes a free one and says which)")
	}
	if c.sourceText != "" {
		if c.host != "" {
			return usageErrorf("option -s %s and the operand %s both name the address to listen on: leave one out", c.sourceText, c.host)
		}
		c.host = c.sourceText
	}
	c.host = flags.Unbracketed(c.host)
	if c.host != "0" && c.host != "" && strings.Trim(c.host, "0123456789") == "" {
		return usageErrorf("option -l takes one port, and %s is no address: say \"purr -l %s\" or \"purr -l HOST %s\"", c.host, c.host, port)
	}
	if err := checkNumeric(c, c.host); err != nil {
		return err
	}
	n, err := flags.ParsePort(c.network, port, 0)
	if err != nil {
		return usageError{err}
	}
	c.ports = []int{n}
	return nil
}

// setPaths splits the operands of --push or --pull: it returns those of the
// address, then checks and sets the paths or the directory behind them. The
// address is PORT, HOST PORT, HOST:PORT or the path of a socket; with -l -p
// PORT it is an IP address or nothing.
func (c *config) setPaths(words []string) (address []string, err error) {
	n := 2
	switch {
	case c.inherited != nil:
		n = 0
	case c.listen && c.portText != "" && !c.unix:
		n = 0
		if len(words) > 0 && isNumericHost(words[0]) {
			n = 1
		}
	case len(words) == 0:
	case c.vsock && !c.listen:
	case c.unix, c.listen && strings.Trim(words[0], "0123456789") == "":
		n = 1
	default:
		if _, _, err := net.SplitHostPort(words[0]); err == nil {
			n = 1
		}
	}
	if len(words) < n {
		return nil, usageErrorf("no address, or half of one: say %s", c.pushForm())
	}
	address, words = words[:n], words[n:]
	if limit := sys.DescriptorLimit(); limit > 0 && limit < leastDescriptors {
		return nil, usageErrorf("options --push and --pull need %d descriptors, and the limit is %d: say \"ulimit -n 1024\" before", leastDescriptors, limit)
	}
	if c.push.pull {
		return address, c.setDirectory(words)
	}
	if len(words) == 0 {
		return nil, usageErrorf("nothing to push: say %s", c.pushForm())
	}
	if err := offer.Check(words); err != nil {
		return nil, cannotPush(err)
	}
	c.push.paths = words
	return address, nil
}

// leastDescriptors suffices for a push or pull: several files are open at the
// same time, each with its directory.
const leastDescriptors = 32

// cannotPush words an error of offer.Check.
func cannotPush(err error) error {
	var clash *offer.ClashError
	var path *fs.PathError
	switch {
	case errors.As(err, &clash) && clash.Inside:
		return usageErrorf("option --push: %w: leave one out, or push them one after the other, into two directories", err)
	case errors.As(err, &clash):
		return usageErrorf("option --push: %w: push them one after the other, into two directories", err)
	case errors.As(err, &path) && path.Err == offer.ErrNotAFile:
		return usageErrorf("option --push: %s is %w", path.Path, path.Err)
	case errors.As(err, &path):
		return usageErrorf("option --push: %s: %w (the address comes first: \"purr --push HOST PORT PATH...\")", path.Path, path.Err)
	}
	return usageError{err}
}

// isNumericHost reports whether a word is an IP address and no name of a file.
func isNumericHost(word string) bool {
	if _, numeric := flags.ParseAddr(flags.Unbracketed(word)); !numeric || flags.IsPort(word) {
		return false
	}
	_, err := os.Lstat(word)
	return errors.Is(err, fs.ErrNotExist)
}

// pushForm returns the form of this push or pull's command line, in quotes.
func (c *config) pushForm() string {
	form := "purr --push"
	if c.push.pull {
		form = "purr --pull"
	}
	if c.listen {
		form += " -l"
	}
	switch {
	case c.unix:
		form += " -U SOCKET"
	case c.listen:
		form += " PORT"
	default:
		form += " HOST PORT"
	}
	if c.push.pull {
		return strconv.Quote(form + " [DIR]")
	}
	return strconv.Quote(form + " PATH...")
}

// setDirectory reads the directory of --pull, which must exist.
func (c *config) setDirectory(words []string) error {
	switch len(words) {
	case 0:
		words = []string{"."}
	case 1:
	default:
		return usageErrorf("option --pull takes one directory to store in, and not %d: say \"purr --pull -l PORT DIR\" or \"purr --pull HOST PORT DIR\"", len(words))
	}
	info, err := os.Stat(words[0])
	if err != nil {
		return usageErrorf("option --pull: %s: %w (the address comes first: \"purr --pull HOST PORT DIR\")", words[0], sys.Cause(err))
	}
	if !info.IsDir() {
		return usageErrorf("option --pull: %s is not a directory: for one raw file, say --recv-file", words[0])
	}
	c.push.dir = words[0]
	return nil
}

// setPath reads the path of a Unix socket, and with -s the own one. With
// --vsock it reads the CID, which a listener may leave out, and the port.
func (c *config) setPath(words []string) error {
	if c.vsock {
		if c.listen && len(words) == 1 {
			words = []string{"any", words[0]}
		}
		if len(words) != 2 {
			return usageErrorf("option --vsock takes a CID and a port: say \"purr --vsock CID PORT\" or \"purr -l --vsock [CID] PORT\"")
		}
		c.path = "vsock:" + words[0] + ":" + words[1]
		if _, err := sock.ParseVM(c.path, c.listen); err != nil {
			return usageErrorf("option --vsock: %w", err)
		}
		return nil
	}
	if len(words) != 1 || words[0] == "" {
		return usageErrorf("option -U takes the path of one Unix socket: say \"purr -U PATH\" or \"purr -l -U PATH\"")
	}
	c.path, c.source = words[0], c.sourceText
	for _, path := range []string{c.path, c.source} {
		if len(path) > sock.MaxPath {
			return usageErrorf("the path %s is too long for a Unix socket: at most %d bytes", path, sock.MaxPath)
		}
	}
	return nil
}

// setHosts sets the hosts of a port check: the operand, or each line of a file
// (@FILE). Those on stdin (-) are read later. Without -z it does nothing.
func (c *config) setHosts() error {
	k := &c.check
	path, isFile := strings.CutPrefix(c.host, "@")
	switch {
	case !c.zero:
		return nil
	case c.host == "-" && k.payload.NeedsStdin():
		return usageErrorf("the host - and option --payload - both read stdin: say @FILE for the hosts, or --payload file:PATH")
	case (c.host == "-" || isFile) && k.ping:
		return usageErrorf("option -c takes one host and one port: leave the list of hosts out")
	case c.ssl.on && (c.host == "-" || isFile):
		return usageErrorf("options -z --ssl take one host: leave the list of hosts out")
	case c.host == "-":
		k.hostsOnStdin = true
		return nil
	case !isFile:
		k.hosts = new(sweep.Hosts)
		if err := k.hosts.Add(c.host); err != nil {
			return usageErrorf("hosts: %w", err)
		}
		if k.ping && k.hosts.HasRanges() {
			return usageErrorf("option -c takes one host and one port, and %s is a range", c.host)
		}
		if c.ssl.on && k.hosts.HasRanges() {
			return usageErrorf("options -z --ssl take one host, and %s is a range", c.host)
		}
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return usageErrorf("hosts: %w", err)
	}
	defer f.Close()
	if k.hosts, err = sweep.ReadHosts(f); err != nil {
		return usageErrorf("hosts in %s: %w", path, sys.Cause(err))
	}
	return nil
}

// setCommand looks the command up in PATH, so that a misspelt name is an error
// before the wait.
func (c *config) setCommand(words []string) error {
	switch {
	case len(c.command) == 0:
		return nil
	case len(words) == 0:
		return usageErrorf("nobody to wait for: with --wait-for or --retry the words after -- are the command, say \"purr --wait-for TIME HOST PORT -- CMD\"")
	}
	path, err := exec.LookPath(c.command[0])
	if err != nil {
		return usageErrorf("the command after --: %w", err)
	}
	c.commandPath = path
	return nil
}

// checkFiles reads and checks the files that options name.
func (l *commandLine) checkFiles() error {
	c := l.config
	if l.secretFile != "" {
		secret, err := payload.ReadSecret(l.secretFile)
		if err != nil {
			return usageErrorf("option --secret-file: %w", err)
		}
		c.check.secret = secret
	}
	if c.readyFD != 0 {
		hints := map[error]string{proc.ErrUnsupported: ": say --port-file",
			proc.ErrNotInherited: ": say \"purr ... N>file\" or let the program that starts purr open it"}
		if err := proc.CheckInherited(c.readyFD); err != nil {
			return usageErrorf("option --ready-fd: descriptor %d: %w%s", c.readyFD, err, hints[err])
		}
	}
	if c.portFile != "" {
		if err := store.CheckFile(c.portFile); err != nil {
			return usageErrorf("option --port-file: %w", err)
		}
	}
	if c.file.recv != "" {
		if err := c.checkRecvFile(); err != nil {
			return usageErrorf("option --recv-file: %w", err)
		}
	}
	if c.exec != nil {
		if _, err := exec.LookPath(c.exec.Path); err != nil {
			return usageErrorf("option --sh-exec: %w", err)
		}
	}
	if err := c.checkAccess(); err != nil {
		return err
	}
	if err := c.loadKey(); err != nil {
		return err
	}
	if err := loadCerts(c); err != nil {
		return err
	}
	return c.checkFile()
}

// checkAccess refuses names in the access lists under -n.
func (c *config) checkAccess() (err error) {
	if c.numeric {
		_ = c.access.Resolve(context.Background(), func(_ context.Context, name string) ([]netip.Addr, error) {
			err = checkNumeric(c, name)
			return nil, err
		})
	}
	return err
}

// checkFile sets the input of --send-file, and refuses one that cannot be sent.
func (c *config) checkFile() error {
	if c.sendFile == "" {
		return nil
	}
	var err error
	if c.input, err = fdio.NewInput(c.sendFile); err != nil {
		return usageErrorf("option --send-file: %w", err)
	}
	if c.input.Info.IsDir() {
		return usageErrorf("option --send-file: %s is a directory: say \"tar c %s | purr ...\"", c.sendFile, filepath.Clean(c.sendFile))
	}
	return nil
}
