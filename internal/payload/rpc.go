package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// rpcNull returns a call of procedure 0, which has no effect, without
// authentication (RFC 5531 9).
func rpcNull(program, version uint32) []byte {
	call := nonce(4) // xid
	for _, n := range []uint32{0, 2, program, version, 0, 0, 0, 0, 0} {
		call = binary.BigEndian.AppendUint32(call, n)
	}
	return call
}

// buildRPCBind returns a call of the null procedure of rpcbind, version 2.
func buildRPCBind(*Target) []byte { return rpcNull(100000, 2) }

// buildNFS returns a call of the null procedure of NFS, version 3.
func buildNFS(*Target) []byte { return rpcNull(100003, 3) }

// rpcAccept names accept_stat, RFC 5531 9.
var rpcAccept = []string{"SUCCESS", "PROG_UNAVAIL", "PROG_MISMATCH", "PROC_UNAVAIL", "GARBAGE_ARGS", "SYSTEM_ERR"}

// matchRPC accepts any reply with the transaction ID of the call. The fact is
// its status (RFC 5531 9).
func matchRPC(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(r) < 16 || len(x.Request) < 40 || !bytes.Equal(r[:4], x.Request[:4]) || binary.BigEndian.Uint32(r[4:]) != 1 {
		return Answer{}, false
	}
	if binary.BigEndian.Uint32(r[8:]) != 0 { // MSG_DENIED
		return Answer{Fact: fmt.Sprintf("denied, reject_stat %d", binary.BigEndian.Uint32(r[12:]))}, true
	}
	if len(r) < 20 {
		return Answer{Fact: "accepted"}, true
	}
	// The verifier precedes accept_stat: its flavour, its length, and its bytes
	// padded to a multiple of four.
	at := 20 + (int64(binary.BigEndian.Uint32(r[16:]))+3)&^3
	if int64(len(r)) < at+4 {
		return Answer{Fact: "accepted"}, true
	}
	if stat := binary.BigEndian.Uint32(r[at:]); int(stat) < len(rpcAccept) {
		return Answer{Fact: rpcAccept[stat]}, true
	}
	return Answer{Fact: "accepted"}, true
}
