package main

import _ "embed"

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

// help is written by hand, examples first. A test compares it with the flag
// table and purr.1.
//
//go:embed help.txt
var help string
