package main

import (
	"net"
	"os"

	"purr/internal/flags"
	"purr/internal/proxy"
	"purr/internal/sock"
)

// This file words errors about operands of a wrong form or in the wrong place:
// they name the command line that was meant.

// misplaced returns an error with a suggested command line if operands are in
// the wrong order, or in a form that other programs use; nil if they may be
// right. words are the operands as typed.
func misplaced(c *config, words []string) error {
	if c.unix || len(words) == 0 {
		return nil
	}
	first := words[0]
	if form, isURL := flags.AddressOfURL(first); isURL {
		return usageErrorf("%s is a URL: say \"%s %s\"", first, modeOf(c), form)
	}
	if len(words) < 2 {
		return nil
	}
	host, port, err := net.SplitHostPort(first)
	switch {
	case err == nil && flags.IsPort(port) && flags.IsPort(words[1]) && !c.push.moves():
		return usageErrorf("%s and %s both name a port: say \"%[3]s %[4]s\" or \"%[3]s %[5]s %[2]s\"", first, words[1], modeOf(c), first, host)
	case c.push.moves() && isPath(first) && (c.listen && len(words) == 2 || !flags.IsPort(words[1])) && flags.IsPort(words[len(words)-1]):
		return usageErrorf("%s is a path, and the address comes first: say %s", first, c.pushForm())
	}
	return nil
}

// modeOf returns "purr" and the options that select the run's mode.
func modeOf(c *config) string {
	mode := "purr"
	for _, o := range []struct {
		given bool
		name  string
	}{{c.push.push, "--push"}, {c.push.pull, "--pull"}, {c.listen, "-l"}, {c.zero, "-z"}, {c.udp, "-u"}} {
		if o.given {
			mode += " " + o.name
		}
	}
	return mode
}

// isPath reports whether a word names an existing file, and is neither an
// address nor a port.
func isPath(word string) bool {
	if _, numeric := flags.ParseAddr(word); numeric || word == "localhost" || flags.IsPort(word) {
		return false
	}
	_, err := os.Lstat(word)
	return err == nil
}

// checkNumeric returns an error if -n is given and host is a name that this
// machine would have to look up. An empty host is no name.
func checkNumeric(c *config, host string) error {
	if _, numeric := flags.ParseAddr(host); !c.numeric || numeric || host == "" {
		return nil
	}
	if _, group := sock.ParseGroup(host); group && c.udp {
		return nil
	}
	if c.proxy != nil && c.proxy.DNS == proxy.Remote && host == c.host {
		return nil // the proxy looks it up
	}
	if hosts := c.check.hosts; c.zero && host == c.host && (hosts == nil || hosts.HasRanges() || host[0] == '@') {
		return nil // the lines of a list are looked at when they are due
	}
	return usageErrorf("option -n looks no names up, and %s is no IP address: leave -n out", host)
}
