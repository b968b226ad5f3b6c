package main

import (
	"os"
	"strconv"

	"golang.org/x/term"

	"argosy/internal/explanation"
)

// style says how pictures are drawn where this command writes: without colours unless on a terminal, and also there
// with NO_COLOR (https://no-color.org) or TERM=dumb.
func (m *meta) style() explanation.Style {
	var s explanation.Style
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		s.Width = n
	}
	f, isFile := m.out.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return s
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		s.Width = width
	}
	s.Colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}
