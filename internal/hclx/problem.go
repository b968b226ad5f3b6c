package hclx

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

const (
	maxProblems = 200 // more are not collected: the first ones are likely to be their cause
	widest      = 200 // characters of a line that are shown
)

// Problem is one mistake in a configuration.
type Problem struct {
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`   // from 1; 0 where no place can be told
	Column    int    `json:"column,omitempty"` // in characters, from 1
	EndColumn int    `json:"end_column,omitempty"`
	Message   string `json:"message"`
	Hint      string `json:"hint,omitempty"`   // what would be right
	Source    string `json:"source,omitempty"` // the line, with secrets taken out
}

// Error is a configuration that is refused, as a whole.
type Error struct {
	Problems []Problem
	Syntax   bool // files cannot be read or parsed, so that what they say was not looked at
}

// InvalidConfig marks the error, so that a command can choose its exit code.
func (*Error) InvalidConfig() {}

// Error shows every problem with its line and a caret below what is meant.
func (e *Error) Error() string {
	var b strings.Builder
	for _, p := range e.Problems {
		p.render(&b)
	}
	return strings.TrimRight(b.String(), "\n")
}

// MarshalJSON writes {"problems": [...]}.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Problems []Problem `json:"problems"`
	}{e.Problems})
}

func (p Problem) render(b *strings.Builder) {
	switch {
	case p.Line > 0:
		fmt.Fprintf(b, "%s:%d:%d: %s\n", p.File, p.Line, p.Column, p.Message)
	case p.File != "":
		fmt.Fprintf(b, "%s: %s\n", p.File, p.Message)
	default:
		fmt.Fprintln(b, p.Message)
	}
	gutter := "  "
	if p.Line > 0 && p.Source != "" {
		number := fmt.Sprint(p.Line)
		gutter += strings.Repeat(" ", len(number)+1)
		line, caret := p.shown()
		fmt.Fprintf(b, "  %s | %s\n", number, line)
		fmt.Fprintf(b, "%s| %s\n", gutter, caret)
	}
	if p.Hint != "" {
		fmt.Fprintf(b, "%s= %s\n", gutter, p.Hint)
	}
}

// shown is the line, or of a long one the part around what is meant, and below it the caret. Tabs are kept, so that the
// caret stands where the terminal puts the text.
func (p Problem) shown() (line, caret string) {
	chars := []rune(p.Source)
	start, end := p.Column-1, p.EndColumn-1
	if start > len(chars) {
		start = 0 // a hidden line is shorter than it was
	}
	end = max(min(end, len(chars)), start+1)
	if len(chars) > widest {
		from := max(0, min(start-widest/4, len(chars)-widest))
		to := min(len(chars), from+widest)
		chars, start, end = chars[from:to], start-from, min(end, to)-from
		if from > 0 {
			copy(chars, []rune("..."))
		}
		if to < len([]rune(p.Source)) {
			copy(chars[len(chars)-3:], []rune("..."))
		}
	}
	var b strings.Builder
	for i := range start {
		if i < len(chars) && chars[i] == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	b.WriteString(strings.Repeat("^", max(end-start, 1)))
	return string(chars), b.String()
}

func (d *Decoder) add(at Range, message, hint string) {
	p := Problem{
		File: at.Filename, Line: at.Start.Line, Column: at.Start.Column, EndColumn: at.End.Column,
		Message: withoutUser(message), Hint: withoutUser(hint),
	}
	if f := d.files[at.Filename]; f != nil && at.Start.Line > 0 {
		line := sourceLine(f, at)
		if at.End.Line > at.Start.Line {
			p.EndColumn = len([]rune(line)) + 1
		}
		p.Source = withoutUser(withoutSecrets(f, at, line))
	}
	if len(d.problems) < maxProblems && !slices.Contains(d.problems, p) {
		d.problems = append(d.problems, p)
	}
}

// sourceLine returns the line in which a range starts.
func sourceLine(f *hcl.File, at Range) string {
	lines := bytes.Split(f.Bytes, []byte("\n"))
	if at.Start.Line > len(lines) {
		return ""
	}
	return strings.ToValidUTF8(strings.TrimRight(string(lines[at.Start.Line-1]), "\r"), "\uFFFD")
}

// Keys that name secrets, misspelled ones among them, and the values of such keys that may be shown because they only say where
// the secret is.
var (
	secretKey = regexp.MustCompile(`(?i)([a-z0-9_-]*(?:token|secret|passw)[a-z0-9_-]*)("?\s*[=:]\s*)(\S.*)`)
	elsewhere = regexp.MustCompile(`^(?:env|file)\("[^"]*"\)\s*\}*\s*$`)
	aPath     = regexp.MustCompile(`^"(?:[/.~]|\$\{|[a-z_-]{1,20}/|[^"/]{1,40}\.[a-z]{1,8}")`) // and no token by mistake
	userInURL = regexp.MustCompile(`(://|[\s"'=])[^/@\s"':]*:[^/@\s"']*@|://[^/@\s"']+@`)
	inQuery   = regexp.MustCompile(`(?i)([?&][a-z_-]*(?:token|secret|passw|auth|key)[a-z_-]*=)[^&\s"'#]+`)
	heredoc   = regexp.MustCompile(`^<<[-~]?\s*([A-Za-z0-9_-]+)`)
)

// withoutUser hides the user, and so the password, of URLs, and tokens in their queries.
func withoutUser(text string) string {
	text = userInURL.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "://") {
			return "://(secret)@"
		}
		return found[:1] + "(secret)@"
	})
	return inQuery.ReplaceAllString(text, "$1(secret)")
}

// isElsewhere reports whether the value of a key only says where a secret is.
func isElsewhere(key, value string) bool {
	return elsewhere.MatchString(value) || strings.HasSuffix(strings.ToLower(key), "file") && aPath.MatchString(value)
}

// unread is why a file cannot be read. Where a key wants the file of a secret, and what it has may be the secret itself, the name is
// left out.
func unread(a Attr, path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) && secretKey.MatchString(a.Name+" = x") && !aPath.MatchString(`"`+path+`"`) {
		return at.Err
	}
	return pathless(err)
}

// withoutSecrets hides the values of keys that name secrets, whatever is wrong with the line.
func withoutSecrets(f *hcl.File, at Range, line string) string {
	if m := secretKey.FindStringSubmatch(line); m != nil {
		if isElsewhere(m[1], m[3]) {
			return line
		}
		return secretKey.ReplaceAllString(line, "$1$2(secret)")
	}
	if inHeredoc(f.Bytes, at.Start.Line) {
		return "(secret)"
	}
	if f.Body == nil {
		return line
	}
	// The value may go on for several lines.
	if a := f.AttributeAtPos(at.Start); a != nil && secretKey.MatchString(a.Name+" = x") && a.Range.Start.Line != at.Start.Line {
		return "(secret)"
	}
	return line
}

// inHeredoc reports whether a line, from 1, is in a text of several lines that is the value of a key that names a secret. It needs
// no syntax tree: where it matters there may be none.
func inHeredoc(text []byte, line int) bool {
	end := ""
	n := 0
	for l := range bytes.Lines(text) {
		if n++; n >= line {
			break
		}
		l := strings.TrimSpace(string(l))
		if end != "" {
			if l == end {
				end = ""
			}
		} else if m := secretKey.FindStringSubmatch(l); m != nil {
			if h := heredoc.FindStringSubmatch(m[3]); h != nil {
				end = h[1]
			}
		}
	}
	return end != ""
}

// sorted orders problems by file, in the order of reading, then line and column.
func (d *Decoder) sorted() []Problem {
	out := slices.Clone(d.problems)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(slices.Index(d.order, a.File), slices.Index(d.order, b.File)), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return out
}
