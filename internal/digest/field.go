package digest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
)

// Field returns a SHA-256 as the value of a Repr-Digest field.
func Field(sum []byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}

// Parse finds the SHA-256 among the values of a Repr-Digest field or its
// like: nil if there is none, an error if it is malformed, or if two of them
// differ.
func Parse(values []string) (found []byte, err error) {
	for _, value := range values {
		for member := range strings.SplitSeq(value, ",") {
			name, text, _ := strings.Cut(strings.Trim(member, " \t"), "=")
			if !strings.EqualFold(name, "sha-256") { // RFC 9651 has lower case, other programs do not
				continue
			}
			text, _, _ = strings.Cut(text, ";") // parameters mean nothing here
			inside, opened := strings.CutPrefix(text, ":")
			inside, closed := strings.CutSuffix(inside, ":")
			sum, err := base64.StdEncoding.DecodeString(inside)
			if !opened || !closed || err != nil || len(sum) != 32 {
				return nil, errors.New("malformed sha-256 digest")
			}
			if found != nil && !bytes.Equal(found, sum) {
				return nil, errors.New("two sha-256 digests that differ")
			}
			found = sum
		}
	}
	return found, nil
}
