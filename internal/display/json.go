package display

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendJSON appends value to b as JSON. An error becomes its text, and a
// float64 is rounded to three decimals. A value that JSON cannot hold, such as
// a NaN, becomes the text of fmt.Sprint. Characters that could act on a
// terminal are escaped; a string that is no UTF-8 is escaped by Escape first.
func AppendJSON(b []byte, value any) []byte {
	switch v := value.(type) {
	case error:
		value = v.Error()
	case float64:
		value = math.Round(v*1000) / 1000
	}
	if s, ok := value.(string); ok && !utf8.ValidString(s) {
		value = Escape(s)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil { // such as a NaN
		out.Reset()
		_ = encoder.Encode(fmt.Sprint(value))
	}
	for _, r := range string(bytes.TrimSuffix(out.Bytes(), []byte("\n"))) {
		switch {
		case r < utf8.RuneSelf && r != 0x7f || unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}
