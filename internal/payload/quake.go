package payload

import (
	"bytes"
	"fmt"
	"strings"

	"purr/internal/display"
)

// gameHeader begins every out-of-band datagram of the Quake family.
const gameHeader = "\xff\xff\xff\xff"

const a2sInfo = gameHeader + "TSource Engine Query\x00"

// buildA2S returns an A2S_INFO request, without a challenge.
func buildA2S(*Target) []byte { return []byte(a2sInfo) }

// matchA2S accepts the information, or a challenge. The first challenge is
// answered with a request that repeats it, as servers demand since 2020; a
// second one is not.
func matchA2S(x *Exchange) (Answer, bool) {
	r, ok := bytes.CutPrefix(x.Reply, []byte(gameHeader))
	if !ok || len(r) == 0 || !bytes.HasPrefix(x.Request, []byte(a2sInfo)) {
		return Answer{}, false
	}
	switch {
	case r[0] == 'A' && len(r) == 5:
		a := Answer{Fact: "challenge"}
		if len(x.Request) == len(a2sInfo) {
			a.Next = append([]byte(a2sInfo), r[1:5]...)
		}
		return a, true
	case r[0] == 'I' && len(r) > 2:
		fields := bytes.SplitN(r[2:], []byte{0}, 5) // name, map, folder, game, the rest
		fact := Quote(fields[0], 60)
		if len(fields) > 1 {
			fact += ", map " + display.Payload(fields[1], 30)
		}
		if len(fields) == 5 && len(fields[4]) >= 4 { // app id (2), players, most players
			fact += fmt.Sprintf(", %d/%d players", fields[4][2], fields[4][3])
		}
		return Answer{Fact: fact}, true
	}
	return Answer{}, false
}

// buildQuake3 returns a getinfo request with a random challenge, which the
// server repeats.
func buildQuake3(*Target) []byte { return []byte(gameHeader + "getinfo " + hexNonce(8)) }

// matchQuake3 accepts an infoResponse: one line of \key\value pairs, of which
// challenge repeats our nonce.
func matchQuake3(x *Exchange) (Answer, bool) {
	info, ok := bytes.CutPrefix(x.Reply, []byte(gameHeader+"infoResponse\n\\"))
	nonce, asked := bytes.CutPrefix(x.Request, []byte(gameHeader+"getinfo "))
	if !ok || !asked {
		return Answer{}, false
	}
	values := map[string]string{}
	fields := strings.SplitN(strings.TrimRight(string(info), "\x00\n"), `\`, 129) // a real one has about 15 pairs
	for i := 0; i+1 < len(fields); i += 2 {
		values[fields[i]] = fields[i+1]
	}
	if values["challenge"] != strings.TrimSpace(string(nonce)) {
		return Answer{}, false
	}
	text := func(key string) string { return display.Payload([]byte(values[key]), 40) }
	return Answer{Fact: fmt.Sprintf("%s, map %s, %s/%s players", Quote([]byte(values["hostname"]), 60),
		text("mapname"), text("clients"), text("sv_maxclients"))}, true
}
