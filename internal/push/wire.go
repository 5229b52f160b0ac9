package push

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"purr/internal/digest"
	"purr/internal/relpath"
)

// Each direction of a connection is a sequence of lines, some of them followed
// by content. A line is one JSON object, a tab, the first 8 hexadecimal digits
// of the object's SHA-256, and a newline. An empty line keeps the connection
// alive.
//
// The sender's lines, of which each new id is higher than the last:
//
//	file    a small file, with its digest; n bytes of content follow
//	offer   a large file
//	proof   the digest of an offered file, in answer to "same"
//	block   n bytes of an offered file follow, which belong at offset at
//	done    the digest of an offered file of at bytes, all of which were sent
//	abort   the end of an offered file without its digest
//	left    a path that is not sent, and why; it has no id
//	link    a symbolic link
//	dir     a directory, after everything that it holds
//	more    a request to the dialling receiver for a further connection
//	end     the sender's totals: nothing follows
//
// The receiver's lines:
//
//	want    the blocks of an offered file, from offset at on if the digest of
//	        the sender's first at bytes is the same, else from 0
//	same    there is a file of that size: its digest is to be proved first
//	result  the outcome of a file, link or directory
//	single  no further connection could be opened
//	end     the receiver's totals, after the last result: nothing follows
//
// Links and directories come behind all files of the stream. Until its result a
// receiver holds the line of each, and that of a small file.
//
// Either end may send fail, which ends the transfer.
//
// The further connections of a transfer carry offers only.
//
// Every id gets exactly one result, unless it is aborted first. An offer is
// aborted behind its want or same only: until then it waits for its turn, and
// the receiver would not know how many such waits there are. An offered file
// that was wanted ends with done or abort, also behind a result that has come
// too early: until then its blocks are dropped. Without a result or an abort,
// at most maxLarge offers, and maxSmall other ids with maxContent bytes, may be
// under way.
const (
	maxLine  = 64 << 10
	maxBlock = digest.BlockSize - blockRoom // half of it takes 4 % more time

	maxLarge   = 4
	maxSmall   = 2048 // as many as a line with 50 ms of delay needs
	maxContent = 9 << 20
)

// An op is the kind of a line.
type op string

const (
	opFile   op = "file"
	opOffer  op = "offer"
	opProof  op = "proof"
	opBlock  op = "block"
	opDone   op = "done"
	opAbort  op = "abort"
	opLeft   op = "left"
	opLink   op = "link"
	opDir    op = "dir"
	opMore   op = "more"
	opWant   op = "want"
	opSame   op = "same"
	opResult op = "result"
	opSingle op = "single"
	opFail   op = "fail"
)

// A message is one line.
type message struct {
	End    *totals   `json:"end,omitempty"` // in place of an op
	Op     op        `json:"op,omitempty"`
	ID     int64     `json:"id,omitempty"`
	Path   string    `json:"path,omitempty"` // escaped as in a URL: a name may be any bytes
	Size   int64     `json:"size,omitempty"`
	Mode   uint32    `json:"mode,omitempty"`  // permission bits
	Mtime  *[2]int64 `json:"mtime,omitempty"` // seconds since 1970, nanoseconds
	Target string    `json:"target,omitempty"`
	Digest []byte    `json:"digest,omitempty"` // SHA-256
	At     int64     `json:"at,omitempty"`     // an offset
	Total  int64     `json:"total,omitempty"`  // bytes of all files of the transfer, in one line with bytes
	N      int       `json:"n,omitempty"`      // bytes of content behind the line
	Result string    `json:"result,omitempty"` // "stored", "identical" or "failed"
	As     string    `json:"as,omitempty"`     // where it was stored, escaped, if not at its path
	Kind   string    `json:"kind,omitempty"`   // of a failure
	Error  string    `json:"error,omitempty"`  // its reason

	length int64 // of the line that was decoded
}

// The results.
const (
	resultStored    = "stored"
	resultIdentical = "identical"
	resultFailed    = "failed"
)

// totals are one end's sums.
type totals struct {
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
	Worst string `json:"worst,omitempty"` // the kind of the worst failure

	Streams int `json:"streams,omitempty"` // the sender's connections, on the first one
}

// kindNames are the kinds that stand on the wire.
var kindNames = [NeedsKey + 1]string{Cut: "cut", Unsynced: "unsynced", Abandoned: "abandoned", Failed: "failed", Refused: "refused", Damaged: "damaged", Violation: "violation"}

// namedKind returns the kind that a peer names; Refused for an unknown name,
// for a failure is never a success.
func namedKind(name string) Kind {
	if kind := slices.Index(kindNames[:], name); kind >= 0 && name != "" {
		return Kind(kind)
	}
	return Refused
}

// encode returns the line of a message.
func encode(m *message) []byte {
	line, err := json.Marshal(m)
	if err != nil { // there is no value that cannot be encoded
		panic(err)
	}
	sum := sha256.Sum256(line)
	line = append(line, '\t')
	line = hex.AppendEncode(line, sum[:4])
	return append(line, '\n')
}

var (
	errLineDigest = &Error{Kind: Damaged, Text: "a line was damaged on the way"}
	errNoLine     = &Error{Kind: Violation, Text: "not a line of a transfer"}
)

// decode reads a line without its newline. The error is an *Error.
func decode(line []byte) (*message, error) {
	tab := len(line) - 9
	if tab < 0 || line[tab] != '\t' {
		return nil, errLineDigest
	}
	sum := sha256.Sum256(line[:tab])
	var digits [8]byte
	hex.Encode(digits[:], sum[:4])
	if string(digits[:]) != string(line[tab+1:]) {
		return nil, errLineDigest
	}
	m := &message{length: int64(len(line))}
	if err := json.Unmarshal(line[:tab], m); err != nil {
		return nil, errNoLine
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

// check returns a Violation if a number or the digest is out of the range that
// it has in every line. Rules of a single op are checked where it is handled.
func (m *message) check() error {
	switch {
	case m.ID < 0 || m.Size < 0 || m.At < 0 || m.Total < 0 || m.N < 0 || m.N > maxBlock,
		len(m.Digest) != 0 && len(m.Digest) != 32,
		m.Mode&^uint32(fs.ModePerm) != 0,
		m.Mtime != nil && (m.Mtime[1] < 0 || m.Mtime[1] >= 1e9):
		return errorf(Violation, "a value out of range in a line %s", strconv.Quote(string(m.Op)))
	}
	return nil
}

// path returns the path that a message names.
func (m *message) path() (string, error) {
	path, err := relpath.Unescape(m.Path)
	if err != nil || path == "" {
		return "", errorf(Violation, "a path that is not escaped as in a URL")
	}
	return path, nil
}

// modTime returns the time of Mtime; zero if there is none.
func (m *message) modTime() time.Time {
	if m.Mtime == nil {
		return time.Time{}
	}
	return time.Unix(m.Mtime[0], m.Mtime[1])
}

// mtime returns t in the form of message.Mtime; modTime is the reverse.
func mtime(t time.Time) *[2]int64 { return &[2]int64{t.Unix(), int64(t.Nanosecond())} }

// failed returns the kind and reason in a result, left or fail line as an
// Error.
func (m *message) failed() *Error { return &Error{Kind: namedKind(m.Kind), Text: m.Error} }
