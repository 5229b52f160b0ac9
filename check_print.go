package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"purr/internal/display"
	"purr/internal/payload"
	"purr/internal/sys"
)

// A checkPrinter says what became of each port: on stdout what --banner,
// --json and -u are for, on stderr nc's lines under -v.
type checkPrinter struct {
	p          *purr
	failed     func(error) // ends the check when stdout fails
	unresolved string      // the host whose lookup was said to have failed
	local      bool        // whether an error of this machine was said
}

// print says one port. It is called for all of them in order, one at a time.
func (s *checkPrinter) print(c *portCheck) {
	p := s.p
	if c.err != nil && c.host != s.unresolved && !p.cfg.waits() {
		s.unresolved = c.host
		p.log.fail(c.err)
	}
	for _, r := range c.results {
		switch r := r.(type) {
		case *scanResult:
			s.noteTCP(c, r)
		case *probeResult:
			if r.status() == 0 {
				p.log.sayf("Connection to %s %d port [%s] succeeded!", targetName(c.host, r.target.Addr()), c.port, p.cfg.serviceName(c.port))
			}
		}
	}
	if err := s.write(c); err != nil {
		s.failed(fmt.Errorf("write to stdout: %w", sys.Cause(err)))
	}
}

// noteTCP says nc's line about one address. What kept this machine from asking
// is said once even without -v: it is no news about the port.
func (s *checkPrinter) noteTCP(c *portCheck, r *scanResult) {
	p := s.p
	switch {
	case r.state == scanOpen:
		p.log.sayf("Connection to %s %d port [%s] succeeded!", targetName(c.host, r.target.Addr()), c.port, p.cfg.serviceName(c.port))
	case p.cfg.waits(): // each try that failed was said, and the last one will be
	case p.log.level > 0 || r.state == scanFailed && !s.local && !p.cfg.pace.json:
		s.local = true
		p.log.fail(r.failure(c.host))
	}
}

// write prints what belongs on stdout.
func (s *checkPrinter) write(c *portCheck) error {
	k, out := &s.p.cfg.check, s.p.stdout
	unknown := netip.AddrPortFrom(netip.Addr{}, uint16(c.port))
	best := c.best()
	if best == nil && s.p.cfg.udp {
		best = &probeResult{host: c.host, target: unknown, state: probeFailed, err: c.err}
	} else if best == nil {
		best = &scanResult{host: c.host, target: unknown, state: scanFailed, err: c.err}
	}
	switch r := best.(type) {
	case *probeResult:
		if s.p.cfg.pace.json {
			return writeProbeJSON(out, r, &k.expect)
		}
		if r.target.Addr().IsValid() {
			return writeProbe(out, r)
		}
	case *scanResult:
		if s.p.cfg.pace.json {
			return writeScanJSON(out, r)
		}
		if k.banner && r.state == scanOpen {
			_, err := io.WriteString(out, fmt.Sprintf("%s %d: %s\n", display.Escape(c.host), c.port, display.Payload(r.banner, scanBannerMost)))
			return err
		}
	}
	return nil
}

// cause is why the port is not open, for who waited for it. Without a wait it
// was printed, or is not wanted without -v.
func (c *portCheck) cause(cfg *config) error {
	err := c.err
	switch r := c.best().(type) {
	case *scanResult:
		err = r.failure(c.host)
	case *probeResult:
		err = r.failure(c.host)
	}
	if !cfg.waits() {
		return saidError{err}
	}
	return err
}

// failure words the result of a port that is not open as nc does, and adds who
// said so where that was not the host itself.
func (r *scanResult) failure(host string) error {
	where := fmt.Sprintf("connect to %s port %d (tcp)", targetName(host, r.target.Addr()), r.target.Port())
	switch {
	case r.state == scanTimeout:
		return fmt.Errorf("%s timed out: Operation now in progress", where)
	case r.icmp != nil:
		return fmt.Errorf("%s failed: %s (%v)", where, sys.Strerror(r.err), r.icmp)
	}
	return fmt.Errorf("%s failed: %s", where, sys.Strerror(r.err))
}

func (r *probeResult) failure(host string) error {
	where := fmt.Sprintf("%s port %d (udp): %s", targetName(host, r.target.Addr()), r.target.Port(), r.state)
	switch {
	case r.err != nil:
		return fmt.Errorf("%s: %w", where, sys.Cause(r.err))
	case r.icmp != nil:
		return fmt.Errorf("%s: %v", where, r.icmp)
	case r.wrong:
		return errors.New(where + ", but the answer is not as --expect")
	}
	return errors.New(where)
}

// payloadList returns the text of --list-payloads.
func payloadList() string {
	var b strings.Builder
	for _, p := range payload.All() {
		var ports []string
		for _, n := range p.Ports {
			ports = append(ports, strconv.Itoa(int(n)))
		}
		line := fmt.Sprintf("%-10s %-24s %s", p.Name, strings.Join(ports, ","), cmp.Or(p.Silent, p.Doc))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
