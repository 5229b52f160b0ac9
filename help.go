package main

import (
	_ "embed"
	"slices"
	"strings"

	"purr/internal/display"
)

// examples is printed if purr is started without arguments.
const examples = `purr HOST PORT                      talk to a server; stdin goes out, stdout shows the answer
purr -l PORT                        be the server, for one client
purr -l -k --echo --upper PORT      answer every client in upper case
purr --pull -l PORT [DIR]           receive files, checked; at the other end:
purr --push HOST PORT PATH...       send them; status 0: stored there and verified
purr --send-file F HOST PORT        send a file to a peer without purr
tar c DIR | purr HOST PORT          move a tree; at the other end: purr -l PORT | tar x
echo hi | purr -u HOST PORT         send one datagram and print the reply
purr -U PATH, purr -l -U PATH       the same over a Unix socket
purr --help                         everything else
`

// help is written by hand: an overview, and a part for each topic. A part
// begins with a line "# NAME, NAME: TITLE". A test compares the options in it
// with the flag table and purr.1.
//
//go:embed help.txt
var help string

// helpOn returns the part of the help on a topic, the overview for "". A topic
// that the help does not have is a usage error.
func helpOn(topic string) (string, error) {
	if topic == "all" {
		return help, nil
	}
	parts := strings.Split(help, "\n# ")
	if topic == "" {
		return parts[0], nil
	}
	var topics []string
	for _, part := range parts[1:] {
		heading, _, _ := strings.Cut(part, ":")
		names := strings.Split(heading, ", ")
		if slices.Contains(names, topic) {
			return part, nil
		}
		topics = append(topics, names[0])
	}
	return "", usageErrorf("no help on %s: the topics are %s and all", display.Quote(topic), strings.Join(topics, ", "))
}
