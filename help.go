package main

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
const help = `purr pipes stdin and stdout over TCP, UDP and Unix sockets, and says when a byte was lost.

Examples:
  purr example.org 80                       talk to a server
  purr -l 9000 >file                        receive a file; at the other end:
  purr HOST 9000 <file                      send one
  tar c DIR | purr HOST 9000                move a tree; at the other end: purr -l 9000 | tar x
  purr -l -k --send-file F 9000             send a file to everyone who connects
  purr -l --recv-file F 9000                receive a file; it has its name only once it is complete
  purr -l -k --echo --upper 8080            answer every client in upper case
  echo hi | purr -u HOST 9000               one datagram, and its reply
  purr -l 9000 <fifo | server >fifo         put a program behind a port
  purr -zv HOST 22,80,8000-8100             which of these ports are open?
  purr -zu HOST 53 123                      who answers over UDP, and what
  purr -zu -c 10 HOST 9000                  UDP ping; at the other end:
  purr -u -l -k --echo 9000 >/dev/null      answer every ping, and count them
  purr --wait-for 30s db 5432 -- CMD        run CMD once the database is there

  purr --pull -l 9000 DIR                   receive files and trees, checked; at the other end:
  purr --push HOST 9000 PATH...             send them; also: curl -T FILE http://HOST:9000/
  purr --push -l 9000 PATH...               offer them, also to curl and browsers; at the other end:
  purr --pull HOST 9000 DIR                 fetch them

  purr -l --key-new 9000 >file              encrypted; it says a key, and the other end's command:
  PURR_KEY=KEY purr HOST 9000 <file         the same key at this end

Usage:
  purr [options] HOST PORT...               dial; also HOST:PORT and [IPV6]:PORT
  purr -l [options] [HOST] PORT             listen; also HOST:PORT and -p PORT [HOST]
  purr [-l] -U [options] PATH               Unix socket; "@NAME" is abstract (Linux)
  purr --push [-l] [options] [HOST] PORT PATH...
  purr --pull [-l] [options] [HOST] PORT [DIR]
  purr -z [-u] [options] HOST PORT...       check ports; HOST may be @FILE or -, a host per line
  purr --wait-for TIME ... HOST PORT -- CMD ARG...
PORT is a number, a service name, and for a dialer also a list or a range (80,8000-8010).
TIME is in seconds, or with a unit: 1, 0.5, 300ms, 2m. SIZE may end in k, M, G or T.

What to open:
  -l, --listen               listen instead of dialling; port 0: a free one, and purr says which
  -k, --keep-open            with -l: serve every client, all at the same time
  -u, --udp                  datagrams; each read of stdin is one
  -U, --unixsock             Unix socket; with -u a datagram socket
  -4, -6                     IPv4 only, IPv6 only
  -n, --nodns                no name lookups of any kind
  -p, --source-port PORT     local port
  -s, --source ADDR          local address (with -u -U: local path)
  -r                         several ports in random order

What to say:
      --echo                 send back what comes in, and copy it to stdout
      --upper                a-z becomes A-Z, in both directions
      --send-file FILE       send exactly FILE as soon as there is a connection
      --interactive          line editor with history; what the peer sends appears above the line
      --quit-word WORD       end when WORD is typed on a line of its own
  -C, --crlf                 send CR LF at the end of each line
  -t, --telnet               refuse every Telnet option that the peer offers or asks for
  -d                         do not read stdin; no half-close before the peer's
      --recv-only            the same
      --send-only            drop what comes in; end with stdin
  -N                         half-close at the end of stdin (purr does so anyway)
      --no-shutdown          do not half-close at the end of stdin
  -i TIME                    wait between lines, and between ports; between pings (default 1 s)

Raw files, with any peer:
      --sum                  with --send-file: say the SHA-256 of what was sent
      --recv-file FILE       receive into FILE, which appears when the peer has finished in order
      --expect-size SIZE     FILE must have this size, else status 5
      --expect-sha256 HEX    FILE must have this SHA-256, else status 5
      --keep-partial         keep what was received if it fails, and say where

Push and pull (files, checked: status 0 means stored, with the same SHA-256, on stable storage):
      --push                 send files and directories; with -l offer them
      --pull                 receive them into DIR (default: here); with -l wait for them
      --force                replace what exists (default: refuse it); also with --recv-file
      --rename               with --pull: keep what exists, and give what comes a number (a.1.txt)
      --max-size SIZE        with --pull: store at most SIZE bytes in all
      --no-resume            keep no part of a transfer that was cut, and go on from none
      --live                 with --push: files may grow meanwhile; send what they had when opened
      --hello-timeout TIME   time for the other end to show what it is (default 5 s)
                             --idle-timeout is for silence later on (default 30 s), not -w

Keys (TLS 1.3 by one shared key, for every TCP or Unix stream, --push and --pull included):
      --key-new              make a key, and print it with the command for the other end
      --key-file FILE        take the key from FILE's first line; - is stdin's, or a prompt
                             the variable PURR_KEY may hold it instead; keys never are arguments

Port checks:
  -z                         ask whether ports are open, and exchange no data; with -u: who answers
      --all, --any           status 0 if all ports are open, or any (default: TCP any, UDP all)
      --parallel N           ask N ports at once (default: TCP 256, UDP 64)
      --banner               TCP: print the first bytes that an open port says
      --payload P            UDP: auto, none, NAME, text:TEXT, hex:HEX, file:PATH, or - for stdin
      --expect E             UDP: any, prefix-hex:HEX, regex:RE, or NAME of a payload
      --list-payloads        print the names of the payloads, and do nothing else
      --secret-file FILE     UDP: RADIUS secret or SNMP community
      --thorough             UDP: ask silent ports again as slowly as ICMP limits want
  -c, --count N              UDP: send N pings instead, -i apart; 0: until a signal comes
      --max-loss PERCENT     with -c: status 1 if more are lost

Progress and pace:
      --progress             show how it gets on: a bar on a terminal, a line every 5 s elsewhere;
                             a file has its bar anyway once it takes longer than a second
      --no-progress          no bar
      --quiet                no bar, and no last lines about files that arrived; errors are said
      --rate RATE            send at most RATE bytes a second (20M), to all peers together;
                             with -z -u: datagrams to each host (default 100)
      --json                 say everything on stderr as JSON, an object on each line; with -z
                             print one for each port on stdout
                             SIGUSR1 (BSD, macOS: Ctrl-T) asks for a line of status at any time

Before and after:
      --wait-for TIME        try again until somebody answers, for at most TIME; then go on, or
                             with "-- CMD ARG..." behind HOST PORT become CMD
      --retry N              try again at most N times
      --ready-fd N           with -l: write the port or path to descriptor N once clients may come
      --port-file FILE       with -l: keep the port or path in FILE while clients may come

When to end:
  -w, --wait TIME            limit for connecting, and for silence in both directions; with -z
                             for each port (default: TCP 3 s, UDP 4 s, several UDP ports 2 s)
      --connect-timeout TIME limit for connecting only
      --idle-timeout TIME    limit for silence only
      --accept-timeout TIME  with -l: limit for the first client to come
  -q TIME                    end TIME after the end of stdin; -1: as --no-shutdown
  -W COUNT                   end after COUNT datagrams, or reads of a stream
      --max-conns COUNT      with -l -k: serve at most COUNT at a time, the others wait

Sockets:
      --keepalive IDLE[,INTERVAL[,COUNT]]
                             times of the TCP keepalive (on by default); 0: none
  -b                         allow broadcast
  -I SIZE, -O SIZE           receive buffer, send buffer
  -M TTL, -m TTL             TTL to send with, least TTL to accept
  -T TOS                     type of service: a number or a keyword (lowdelay, ef, af11, cs1...)
  -D                         accepted and ignored

  -v, --verbose              say what happens, in OpenBSD nc's words
      --version              print the version
  -h, --help                 print this

Exit status: 0 all went well and every byte arrived; 1 it failed or bytes were lost, and stderr
says why; 2 the command line is wrong, and nothing was opened; 128+n ended by signal n.
With --recv-file: 5 not the size or the SHA-256 that was expected, and nothing was stored.
With -z: 0 open; 1 closed, or not to be asked from here; 3 no answer; 4 filtered, somebody refused
on the way; 5 answered, but not as --expect says. With --push and --pull, on both ends: 3 cut or
not confirmed, try again; 4 refused, skipped or changed; 5 damaged; 6 no purr at the other end, or
both push, or both pull.
With a key: 6 the other end does not encrypt; 7 it does not hold the key.
`
