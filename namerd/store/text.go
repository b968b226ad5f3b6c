package store

import (
	"errors"
	"fmt"
	"strings"

	"argosy/dtab"
)

// mostShown is how much of a line an error shows before and behind the place, in bytes.
const mostShown = 100

// ParseText reads the text of a table that a store has found where what says. The error has line and column, and shows
// only that line: tables can be long, and the error goes into logs and answers.
func ParseText(what, text string) (dtab.Dtab, error) {
	d, err := dtab.Parse(text)
	var syntax *dtab.SyntaxError
	switch {
	case err == nil:
		return d, nil
	case !errors.As(err, &syntax):
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	before, behind := syntax.Input[:syntax.Offset], syntax.Input[syntax.Offset:]
	before = before[strings.LastIndexByte(before, '\n')+1:]
	if end := strings.IndexByte(behind, '\n'); end >= 0 {
		behind = behind[:end]
	}
	if len(before) > mostShown {
		before = "..." + strings.ToValidUTF8(before[len(before)-mostShown:], "")
	}
	if len(behind) > mostShown {
		behind = strings.ToValidUTF8(behind[:mostShown], "") + "..."
	}
	shown := &dtab.SyntaxError{Expected: syntax.Expected, Found: syntax.Found, Input: before + behind, Offset: len(before)}
	return nil, fmt.Errorf("%s, line %d, column %d: %w", what, syntax.Line(), syntax.Column(), shown)
}
