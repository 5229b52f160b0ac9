package main

import (
	"context"
	"slices"
	"time"
)

// A row is one kind of work that is measured with every tool that can do it.
type row struct {
	name  string // short and stable: what -run matches
	work  string // for people
	unit  string
	lower bool // less is better
	goals []goal
	who   []contender
	lane  lane
	share float64 // the part of -size that is moved once; 0: the row is not about bytes
	times int     // runs per round
	most  int     // rounds at most; 0: as many as -rounds says
	check bool    // compare every byte in a run of its own before the rounds
	run   func(context.Context, run) (sample, error)
}

// A goal is one of the targets of the row: at least so much, or at most where less is better.
type goal struct {
	limit    float64
	against  string // the tool to compare with; "": the best peer
	absolute bool   // the limit is in the row's unit and not a ratio
}

// A contender is a tool in a row.
type contender struct {
	label   string
	tool    *tool
	variant string // tells two ways of one tool apart
	window  int    // datagrams under way, in the UDP echo rows
	aside   bool   // shown, but not compared with: see the README
}

// A run is one contender doing the row's work once.
type run struct {
	*bench
	contender
	lane  lane
	size  int64 // bytes
	check bool  // compare every byte, never mind the time
}

// A sample is the result of a run.
type sample struct {
	value float64 // in the row's unit
	cpu   float64 // CPU seconds per GB of the programs under test; 0: does not apply
	note  string
}

// pick returns the first number, or the second with -short.
func (b *bench) pick(full, short int) int {
	if b.short {
		return short
	}
	return full
}

// lasting is how long the rows go on that have no size.
func (b *bench) lasting() time.Duration {
	if b.short {
		return 100 * time.Millisecond
	}
	return time.Second
}

// silence is how long a neutral end waits for the next datagram. The short form may be run on a machine where everything
// can stand still for seconds.
func (b *bench) silence() time.Duration {
	if b.short {
		return 10 * time.Second
	}
	return 2 * time.Second
}

// allRows lists the rows in the order of the tables.
func (b *bench) allRows() []row {
	unix := lane{network: "unix"}
	rows := slices.Concat(b.streamRows("tcp", "TCP", loopback), b.streamRows("unix", "Unix", unix),
		b.echoRows(), b.udpRows(), b.tunnelRows(), b.processRows(), b.pushRows())
	for i := range rows {
		rows[i].times = max(rows[i].times, 1)
	}
	return rows
}

// contenders makes a contender of each tool named. Without tools, as for
// listing the rows, it has a name only.
func (b *bench) contenders(names ...string) []contender {
	var who []contender
	for _, name := range names {
		t := b.tools[name]
		if t == nil {
			t = &tool{name: name}
		}
		who = append(who, contender{label: name, tool: t})
	}
	return who
}

// streamRows are the transfers over one kind of stream socket. The shares give each row about the same time.
func (b *bench) streamRows(suffix, title string, l lane) []row {
	names := []string{purr, obsd, trad, ncat, socat}
	goalOr := func(tcp float64) []goal { return []goal{{limit: tcp}} }
	if l.network == "unix" {
		names = slices.DeleteFunc(names, func(name string) bool { return name == trad }) // it has no Unix sockets
		goalOr = func(float64) []goal { return []goal{{limit: 1.1}} }
	}
	rows := []row{
		{name: "file-" + suffix, work: "file on stdin -> " + title, goals: goalOr(1.1), share: 1, run: sendFrom("file")},
		{name: "sendfile-" + suffix, work: "--send-file -> " + title, goals: goalOr(1.1), share: 1, run: sendFrom("sendfile")},
		{name: "pipe-" + suffix, work: "pipe -> " + title, goals: goalOr(1.1), share: 1, run: sendFrom("pipe")},
		{name: suffix + "-null", work: title + " -> /dev/null", goals: goalOr(1.2), share: 1, run: receiveTo("null")},
		{name: suffix + "-pipe", work: title + " -> pipe", goals: goalOr(2), share: 0.5, run: receiveTo("pipe")},
		{name: suffix + "-file", work: title + " -> file", goals: goalOr(1.4), share: 0.5, run: receiveTo("file")},
		{name: suffix + "-append", work: title + " -> file with >>", goals: goalOr(1.4), share: 0.5, run: receiveTo("append")},
		{name: "pipe-" + suffix + "-pipe", work: "pipe -> " + title + " -> pipe, both ends", goals: goalOr(1.5), share: 0.5, run: through},
		{name: "both-" + suffix, work: "both directions at once, " + title, goals: goalOr(1.5), share: 0.25, run: bothWays},
		{name: "upper-" + suffix, work: "file in upper case -> " + title, goals: goalOr(2.5), share: 0.25, run: sendFrom("upper")},
	}
	for i := range rows {
		rows[i].unit, rows[i].check, rows[i].lane, rows[i].who = "GB/s", true, l, b.contenders(names...)
	}
	return rows
}

// echoRows are the servers that answer over TCP.
func (b *bench) echoRows() []row {
	who := b.contenders(purr, socat, ncat, trad)
	who[3].aside = true // it becomes the command, and is not in the way any more
	accepts := append(b.contenders(purr, socat, ncat), contender{label: "ncat -e", tool: b.tools[ncat], variant: "-e"})
	double := []goal{{limit: 2}}
	rows := []row{
		{name: "echo", work: "echo, 64 KiB messages one by one", unit: "GB/s", goals: double, check: true, run: echoes(false, 1)},
		{name: "echo-upper", work: "echo in upper case, 64 KiB messages one by one", unit: "GB/s", goals: double, check: true, run: echoes(true, 1)},
		{name: "echo-stream", work: "echo, 64 KiB messages, 16 under way", unit: "GB/s", goals: double, check: true, run: echoes(false, 16)},
		{name: "echo-upper-stream", work: "echo in upper case, 64 KiB messages, 16 under way", unit: "GB/s", goals: double, check: true, run: echoes(true, 16)},
		{name: "pingpong", work: "round trip of 1 byte, echo in upper case", unit: "µs", lower: true, goals: []goal{{limit: 0.5}}, run: pingPong},
	}
	for i := range rows {
		rows[i].who = who
	}
	return append(rows, row{name: "connections", work: "new connections, one echoed message each", unit: "/s",
		goals: []goal{{limit: 5}}, who: accepts, run: newConnections})
}

// udpRows are the rows about datagrams.
func (b *bench) udpRows() []row {
	// The peers with a program per sender join datagrams that come close together, so they get one at a time.
	const window = 32
	echo := b.contenders(purr, python, socat, ncat)
	echo[0].window, echo[1].window, echo[2].window, echo[3].window = window, window, 1, 1
	all := b.contenders(purr, obsd, trad, ncat, socat)
	return []row{
		{name: "udp-echo-32", work: "UDP echo in upper case, 32 bytes: CPU of the server per datagram", unit: "µs", lower: true, goals: []goal{{limit: 0.7}}, who: echo, run: udpEchoCost(32)},
		{name: "udp-echo-1400", work: "UDP echo in upper case, 1,400 bytes: CPU of the server per datagram", unit: "µs", lower: true, goals: []goal{{limit: 0.7}}, who: echo, run: udpEchoCost(1400)},
		{name: "udp-send", work: "1,400-byte records in a pipe -> datagrams", unit: "MB/s", goals: []goal{{limit: 1.5}}, who: all, share: 0.2, check: true, run: udpSend},
		{name: "udp-receive", work: "1,400-byte datagrams -> pipe", unit: "MB/s", goals: []goal{{limit: 1.5}}, who: all, share: 0.2, check: true, run: udpReceive},
	}
}

// processRows are the rows about the process: how fast it starts and how little it holds.
func (b *bench) processRows() []row {
	all := b.contenders(purr, obsd, trad, ncat, socat)
	// ncat's help needs a few ms; the tenth of the target is one of its start when it has something to do.
	help := []goal{{limit: 2, against: obsd}}
	refused := []goal{{limit: 0.1, against: ncat}, {limit: 2, against: obsd}, {limit: 1.5, against: bare}}
	dialers := b.contenders(purr, obsd, trad, ncat, socat, bare)
	alone := b.contenders(purr)
	idle := func(name, work, unit string, lower bool, limit float64, pick func(idleResult) float64) row {
		return row{name: name, work: work, unit: unit, lower: lower, goals: []goal{{limit: limit, absolute: true}},
			who: alone, most: 3, run: idleRow(pick)}
	}
	return []row{
		{name: "start-help", work: "start to exit, help", unit: "ms", lower: true, goals: help, who: all, times: b.pick(40, 3), run: startHelp},
		{name: "start-refused", work: "start to exit, connection refused", unit: "ms", lower: true, goals: refused, who: dialers, times: b.pick(40, 3), run: startRefused},
		{name: "memory", work: "peak memory, pipe -> TCP -> pipe", unit: "MiB", lower: true, goals: []goal{{limit: 16, absolute: true}}, who: all, lane: loopback, share: 20, most: 1, run: peakMemory},
		idle("idle-memory", "resident memory per idle connection", "KiB", true, 12,
			func(r idleResult) float64 { return r.perConn / 1024 }),
		idle("idle-answer", "idle connections that all speak at once: until the last answer", "ms", true, 1000,
			func(r idleResult) float64 { return float64(r.answer.Microseconds()) / 1e3 }),
		// "Unharmed" has no number in the target; a fifth is more than these counts vary between runs.
		idle("idle-accept", "rate of new connections beside idle ones, part of the rate without", "x", false, 0.8,
			func(r idleResult) float64 { return r.beside / r.alone }),
	}
}
