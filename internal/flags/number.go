package flags

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Number is the grammar of a whole decimal number, never octal or hexadecimal
// by accident.
type Number struct {
	What      string // names the quantity in errors, as in OpenBSD nc's "ttl too small: 0"
	Low, High int64

	units  string // letters that may follow, in either case: factors of 1024, 1024², ...
	form   string // what an error about an invalid text adds; if given, a "+" is invalid, too
	digits bool   // errors quote the number without its unit
}

// The grammars of sizes and rates.
var (
	bufferSize = Number{What: "size", Low: 1, High: math.MaxInt32, units: "kmg", digits: true}
	fileSize   = Number{What: "size", Low: 0, High: math.MaxInt64, units: "kmgt", form: " (bytes, or a number with k, M, G or T)"}
	sizeLimit  = Number{What: "size", Low: 1, High: math.MaxInt64, units: "kmgt", form: fileSize.form}
	byteRate   = Number{What: "rate", Low: 1, High: math.MaxInt64, units: "kmg", form: " (bytes a second, or a number with k, M or G)"}
)

// Parse reads a number, which may end with one of the units. It must be between
// Low and High, both included. If err is not nil, n is 0.
func (v Number) Parse(text string) (n int64, err error) {
	digits, shift := text, 0
	if last := len(text) - 1; last > 0 {
		if i := strings.IndexByte(v.units, text[last]|0x20); i >= 0 { // in lower case
			digits, shift = text[:last], 10*(i+1)
		}
	}
	n, err = strconv.ParseInt(digits, 10, 64)
	outside := errors.Is(err, strconv.ErrRange)
	if v.digits {
		text = digits
	}
	switch {
	case outside && digits[0] != '-', err == nil && n > v.High>>shift:
		return 0, fmt.Errorf("%s too large: %s", v.What, text)
	case outside, err == nil && n < v.Low:
		return 0, fmt.Errorf("%s too small: %s", v.What, text)
	case err != nil, v.form != "" && digits[0] == '+':
		return 0, fmt.Errorf("%s invalid: %s%s", v.What, text, v.form)
	}
	return n << shift, nil
}

// Int is Parse for bounds that fit an int.
func (v Number) Int(text string) (int, error) {
	n, err := v.Parse(text)
	return int(n), err
}

// ParseBufferSize reads a number of bytes from 1 to 2 GiB less 1, which is the
// range of SO_RCVBUF and SO_SNDBUF; k, M and G stand for powers of 1024.
func ParseBufferSize(text string) (int, error) { return bufferSize.Int(text) }

// ParseFileSize reads the number of bytes of a file, which may be 0; k, M, G
// and T stand for powers of 1024.
func ParseFileSize(text string) (int64, error) { return fileSize.Parse(text) }

// ParseSizeLimit is ParseFileSize without 0.
func ParseSizeLimit(text string) (int64, error) { return sizeLimit.Parse(text) }

// ParseRate reads a number of bytes a second; k, M and G stand for powers of
// 1024.
func ParseRate(text string) (int64, error) { return byteRate.Parse(text) }
