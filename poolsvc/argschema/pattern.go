package argschema

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// Patterns are written for the expressions of Python, or of a library that a model is checked by. Go's read alike are turned
// into ones that match at least what those match; where that is not certain there is no check.

// pattern is an expression that matches all that its text matches in Python, if not more.
type pattern struct {
	text       string
	expression *regexp.Regexp // nil matches everything
	size       int            // of the program
}

// MatchString implements jsonschema.Regexp.
func (p *pattern) MatchString(s string) bool {
	return p.expression == nil || p.expression.MatchString(s)
}

// String returns the pattern as it was written.
func (p *pattern) String() string { return p.text }

// units is what a match takes for each byte, in those of weigh.
func (p *pattern) units() float64 { return 1 + float64(p.size)/10 }

const (
	unicodeDigits = `\p{Nd}`
	unicodeWord   = `\p{L}\p{N}\p{M}\p{Pc}\x{200c}\x{200d}\x{24b6}-\x{24e9}\x{1f130}-\x{1f189}` // as pydantic has it, which is more than Python's
	unicodeSpace  = `\s\v\p{Z}\x1c-\x1f\x85`
)

// translate makes a pattern of text, or says why that cannot be done.
func translate(text string) (_ *pattern, why string) {
	p := &pattern{text: text}
	written, why := widen(text)
	if why != "" {
		return p, why
	}
	tree, err := syntax.Parse(written, syntax.Perl)
	if err != nil {
		return p, "Go has no such expressions: " + err.Error()
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return p, err.Error()
	}
	if p.expression, err = regexp.Compile(written); err != nil {
		return p, err.Error()
	}
	p.size = len(program.Inst)
	return p, ""
}

// widen rewrites what Go understands in a narrower sense: classes, which are those of ASCII in Go and of Unicode in
// Python, and $, which in Python matches before a last newline too. It says why if something cannot be rewritten.
func widen(text string) (out, why string) {
	var b strings.Builder
	class, negated := false, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		rest := text[i:]
		switch {
		case c == '\\' && i+1 < len(text):
			i++
			replaced, why := widenEscape(text[i], class, negated)
			if why != "" {
				return "", why
			}
			b.WriteString(replaced)
		case class && c == ']':
			class = false
			b.WriteByte(c)
		case class:
			for _, sign := range []string{"[:", "&&", "--", "~~", "||"} {
				if strings.HasPrefix(rest, sign) {
					return "", "sets of characters with " + sign + " are not read alike everywhere"
				}
			}
			b.WriteByte(c)
		case c == '[':
			class, negated = true, strings.HasPrefix(rest, "[^")
			b.WriteByte(c)
			if negated {
				i++
				b.WriteByte('^')
			}
			if strings.HasPrefix(text[i+1:], "]") { // which begins a set and does not end it
				i++
				b.WriteString(`\]`)
			}
		case strings.HasPrefix(rest, "(?") && !strings.HasPrefix(rest, "(?:") && !strings.HasPrefix(rest, "(?P<"):
			return "", "groups with (? are not read alike everywhere"
		case strings.HasPrefix(rest, "{,"):
			return "", "{,n} is not read alike everywhere"
		case c == '$':
			b.WriteString(`(?:\n?$)`)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// widenEscape rewrites the escape of one character, outside of a set or in one.
func widenEscape(c byte, class, negated bool) (out, why string) {
	wide := map[byte]string{'d': unicodeDigits, 'w': unicodeWord, 's': unicodeSpace}[c]
	switch {
	case (c == 'b' || c == 'B') && !class:
		return "", `\b and \B depend on what letters are`
	case c == 'b':
		return `\x08`, ""
	case strings.IndexByte("QEC", c) >= 0:
		return "", `\` + string(c) + " is not read alike everywhere"
	case strings.IndexByte("DWS", c) >= 0 && negated && class:
		return "", `\` + string(c) + " in a set that is not to match depends on what letters are"
	case wide == "" || class && negated:
		return `\` + string(c), ""
	case class:
		return wide, ""
	default:
		return "[" + wide + "]", ""
	}
}
