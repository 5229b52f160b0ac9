package halfclose

import (
	"strings"
	"testing"
)

func TestRequestLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text string
		want verdict
	}{
		{"GET / HTTP/1.1\r\n", request},
		{"GET / HTTP/1.0\n", request},
		{"\r\n\nGET / HTTP/1.1\r\n", request},
		{"M-SEARCH * HTTP/1.1", request},
		{"HEAD http://h/%20?q=HTTP/1 HTTP/1.", request},
		{"HTTPS / HTTP/1.1\r\n", request},
		{"get / HTTP/1.1\r\n", request},
		{"GET /" + strings.Repeat("x", 8000) + " HTTP/1.1\r\n", request},
		{"HTTP/1.1 200 OK\r\n", answer},
		{"HTTP/1.", answer},
		{"", undecided},
		{"GET", undecided},
		{"GET / HTTP/1", undecided},
		{"HTTP/1", undecided},
		{"GET /\r\n", neither},
		{"GET  / HTTP/1.1\r\n", neither},
		{"GET / HTTP/2.0\r\n", neither},
		{"PRI * HTTP/2.0\r\n\r\n", neither},
		{"OPTIONS sip:h SIP/2.0\r\n", neither},
		{" GET / HTTP/1.1", neither},
		{"GET /\x7f HTTP/1.1", neither},
		{"HTTP/2", neither},
		{"metric 1\n", neither},
		{"*1\r\n$4\r\nPING\r\n", neither},
		{"\x16\x03\x01", neither},
		{"\n", undecided},
		{strings.Repeat("x", longestLine), neither},
		{strings.Repeat("x", longestLine-1), undecided},
	} {
		whole, pieces := requestLine{}, requestLine{}
		more := whole.look([]byte(test.text))
		for i := range len(test.text) {
			pieces.look([]byte(test.text[i : i+1]))
		}
		if whole.verdict != test.want || pieces.verdict != test.want || more != (test.want == undecided) {
			t.Errorf("%.40q: %d, in pieces %d, more: %v; want %d", test.text, whole.verdict, pieces.verdict, more, test.want)
		}
	}
}

// The verdict does not depend on how the bytes are cut.
func FuzzRequestLine(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n"), 3)
	f.Add([]byte("HTTP/1.1 200 OK\r\n"), 5)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		cut = max(0, min(cut, len(b)))
		var whole, parts requestLine
		whole.look(b)
		parts.look(b[:cut])
		parts.look(b[cut:])
		if whole != parts {
			t.Errorf("%+v, in two parts %+v", whole, parts)
		}
	})
}
