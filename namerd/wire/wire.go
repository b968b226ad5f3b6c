// Package wire is the JSON of Namerd's HTTP control API: address sets, bound trees and delegations, written the way
// Namerd writes them and read the way Linkerd does.
//
// The keys have Namerd's order, "type" first. Numbers that are doubles have a decimal point: Linkerd honours a weight
// only then. What is written has no newline at its end. What is read may have unknown keys, which are ignored.
package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Encode writes v without escapes for HTML and without a newline. It is for values that cannot fail to encode.
func Encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Line is Encode with a newline: one document of a stream.
func Line(v any) []byte { return append(Encode(v), '\n') }

// Double is a number that is written as Java writes a double: always with a decimal point, with an exponent below 0.001
// and from ten million on.
type Double float64

// MarshalJSON writes infinities, which JSON has none of, as the largest number.
func (d Double) MarshalJSON() ([]byte, error) {
	v := max(-math.MaxFloat64, min(math.MaxFloat64, float64(d)))
	switch abs := math.Abs(v); {
	case math.IsNaN(v):
		return nil, fmt.Errorf("encode number: %v", v)
	case abs != 0 && (abs < 1e-3 || abs >= 1e7):
		digits, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'E', -1, 64), "E")
		exponent = strings.TrimPrefix(exponent, "+")
		if sign, ok := strings.CutPrefix(exponent, "-"); ok {
			exponent = "-" + strings.TrimLeft(sign, "0")
		} else {
			exponent = strings.TrimLeft(exponent, "0")
		}
		return []byte(pointed(digits) + "E" + exponent), nil
	}
	return []byte(pointed(strconv.FormatFloat(v, 'f', -1, 64))), nil
}

func pointed(digits string) string {
	if strings.Contains(digits, ".") {
		return digits
	}
	return digits + ".0"
}

// decode reads one JSON value.
func decode(body []byte, what string, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}
