package payload

import "bytes"

// OpenVPN opcodes, the upper five bits of the first byte.
const (
	openvpnClientReset = 7
	openvpnServerReset = 8
)

// buildOpenVPN returns P_CONTROL_HARD_RESET_CLIENT_V2: our session, no
// acknowledgements, packet 0.
func buildOpenVPN(*Target) []byte {
	return append(append([]byte{openvpnClientReset << 3}, nonce(8)...), 0, 0, 0, 0, 0)
}

// matchOpenVPN accepts a server reset that acknowledges a packet of our
// session.
func matchOpenVPN(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(r) < 10 || len(x.Request) < 9 || r[0]>>3 != openvpnServerReset {
		return Answer{}, false
	}
	acks := int(r[9])
	at := 10 + 4*acks // where the remote session stands
	if acks == 0 || len(r) < at+8 || !bytes.Equal(r[at:at+8], x.Request[1:9]) {
		return Answer{}, false
	}
	return Answer{Fact: "server reset, no tls-auth"}, true
}
