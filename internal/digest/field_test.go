package digest

import (
	"bytes"
	"strings"
	"testing"

	"purr/internal/testkit"
)

func TestDigestField(t *testing.T) {
	t.Parallel()
	whole := Field(testkit.SHA256("x"))
	for _, test := range []struct {
		values    []string
		sum       bool
		malformed bool
	}{
		{nil, false, false},
		{[]string{""}, false, false},
		{[]string{whole}, true, false},
		{[]string{whole + ";p=1"}, true, false},
		{[]string{"SHA-256" + whole[7:]}, true, false},
		{[]string{"SHA-256=::"}, false, true},
		{[]string{"sha-512=:AAAA:, " + whole}, true, false},
		{[]string{"md5=:AAAA:", whole}, true, false},
		{[]string{"sha-512=:AAAA:"}, false, false},
		{[]string{"sha-256=AAAA"}, false, true},
		{[]string{"sha-256=:AAAA:"}, false, true},
		{[]string{"sha-256=:" + strings.Repeat("A", 44) + ":"}, false, true},
		{[]string{"sha-256=::"}, false, true},
		{[]string{"sha-256"}, false, true},
		{[]string{whole, whole}, true, false},
		{[]string{whole, Field(testkit.SHA256("y"))}, false, true},
		{[]string{Field(testkit.SHA256("y")) + ", " + whole}, false, true},
		{[]string{whole + ", sha-256=:AAAA:"}, false, true},
	} {
		got, err := Parse(test.values)
		if (err != nil) != test.malformed || (got != nil) != test.sum || test.sum && !bytes.Equal(got, testkit.SHA256("x")) {
			t.Errorf("%q: %x, %v", test.values, got, err)
		}
	}
}
