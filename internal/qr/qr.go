// Package qr draws a text as a QR code (ISO/IEC 18004) on a terminal.
package qr

import (
	"strings"

	"rsc.io/qr/coding"
)

// quiet is the width in modules of the light margin that readers need around
// the code (ISO/IEC 18004, section 5.3.8).
const quiet = 4

// The colours are set one by one, from the part of the palette that themes
// leave alone: 16 is black and 231 is white. A code in the colours of a dark
// terminal would be inverted, which many readers do not take.
const (
	colours = "\x1b[38;5;16;48;5;231m"
	reset   = "\x1b[0m"
)

// Draw returns the lines of a QR code of text; "" if the text is too long for
// one, more than 2953 bytes. Each character is two modules, one above the
// other.
func Draw(text string) string {
	code := encode(text)
	if code == nil {
		return ""
	}
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		b.WriteString(colours)
		for x := -quiet; x < code.Size+quiet; x++ {
			switch upper, lower := code.Black(x, y), code.Black(x, y+1); {
			case upper && lower:
				b.WriteString("█")
			case upper:
				b.WriteString("▀")
			case lower:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		b.WriteString(reset + "\n")
	}
	return b.String()
}

// encode returns the smallest code of text, at the highest level of error
// correction that does not make it larger; nil if the text is too long.
func encode(text string) *coding.Code {
	content := coding.String(text)
	for version := coding.Version(coding.MinVersion); version <= coding.MaxVersion; version++ {
		for level := coding.H; level >= coding.L; level-- {
			if content.Bits(version) > version.DataBytes(level)*8 {
				continue
			}
			const mask = 0 // any is valid; that of the lowest penalty is easier to read in print
			plan, err := coding.NewPlan(version, level, mask)
			if err != nil {
				return nil
			}
			code, _ := plan.Encode(content) // fails if the content does not fit
			return code
		}
	}
	return nil
}
