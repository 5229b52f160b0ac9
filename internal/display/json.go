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

// AppendJSON appends a value. Characters that could act on a terminal and bytes
// that are no UTF-8 are escaped, as in display.Escape.
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
