package dtab

import (
	"strings"
	"unicode/utf8"
)

// SyntaxError says where a text stops making sense. Its message is worded as Finagle words it.
type SyntaxError struct {
	Expected string // what could have stood there: "'/'", "label char", "simple", ...
	Found    string // what does: a quoted character or "end of input"
	Input    string // the whole text
	Offset   int    // of the offending character, in bytes from the start of Input; len(Input) at its end
}

// longestShown is how much of a text, in bytes, an error shows around the offending character. Only texts longer than
// that are cut, at places marked by three dots.
const longestShown = 4096

// Error shows the text with the offending character in square brackets.
func (e *SyntaxError) Error() string {
	before, at, after := e.Input[:e.Offset], "", ""
	if e.Offset < len(e.Input) {
		_, n := utf8.DecodeRuneInString(e.Input[e.Offset:])
		at, after = e.Input[e.Offset:e.Offset+n], e.Input[e.Offset+n:]
	}
	if len(e.Input) > longestShown {
		if len(before) > longestShown/2 {
			before = "..." + strings.ToValidUTF8(before[len(before)-longestShown/2:], "")
		}
		if len(after) > longestShown/2 {
			after = strings.ToValidUTF8(after[:longestShown/2], "") + "..."
		}
	}
	return e.Expected + " expected but " + e.Found + " found at '" + before + "[" + at + "]" + after + "'"
}

// Line returns the line of the offending character, counted from 1.
func (e *SyntaxError) Line() int { return 1 + strings.Count(e.Input[:e.Offset], "\n") }

// Column returns the place of the offending character in its line, in characters, counted from 1.
func (e *SyntaxError) Column() int {
	return 1 + utf8.RuneCountInString(e.Input[strings.LastIndexByte(e.Input[:e.Offset], '\n')+1:e.Offset])
}
