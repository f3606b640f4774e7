// Package longtext takes the inside of long strings out of JSON text, so that a parser need not look at each of their bytes. What
// is left is JSON if and only if the whole is.
package longtext

import (
	"bytes"
	"encoding/binary"
)

// What is worth looking for.
const (
	minText  = 64 << 10 // bytes of text
	minInner = 4 << 10  // bytes of a string
	patience = 256      // strings in a row that are not taken
)

// Cut is JSON text whose long strings are empty.
type Cut struct {
	Text  []byte
	holes []hole
}

// hole is where the inside of a string was.
type hole struct {
	at   int // in Text
	size int // bytes that are not there
}

// Of cuts text. It is all there, in the same memory, if it has no long strings of plain ASCII, or any escape, which makes it hard
// to tell where strings end.
func Of(text []byte) Cut { return cut(text, minText, minInner) }

func cut(text []byte, minText, minInner int) Cut {
	whole := Cut{Text: text}
	if len(text) < minText || bytes.IndexByte(text, '\\') >= 0 {
		return whole
	}
	var c Cut
	kept := 0 // what is before is in c.Text, or cut
	for at, inVain := 0, 0; inVain < patience; {
		begin := bytes.IndexByte(text[at:], '"') + 1
		if begin == 0 {
			break
		}
		begin += at
		size := bytes.IndexByte(text[begin:], '"')
		if size < 0 {
			break
		}
		end := begin + size
		at = end + 1
		if size < minInner || isName(text[at:]) || !plain(text[begin:end]) {
			inVain++
			continue
		}
		inVain = 0
		c.Text = append(c.Text, text[kept:begin]...)
		c.holes = append(c.holes, hole{len(c.Text), size})
		kept = end
	}
	if rest := text[kept:]; len(c.Text)+len(rest) <= len(text)/2 { // else the copy costs more than it saves
		c.Text = append(c.Text, rest...)
		return c
	}
	return whole
}

// Holes is the number of strings that were cut.
func (c Cut) Holes() int { return len(c.holes) }

// Original translates the borders of a value in Text into those in the whole text, and counts the holes in it.
func (c Cut) Original(from, to int) (begin, end, holes int) {
	begin, end = from, to
	for _, h := range c.holes {
		if h.at < from {
			begin += h.size
		}
		if h.at < to {
			end += h.size
		}
		if from <= h.at && h.at < to {
			holes++
		}
	}
	return begin, end, holes
}

// isName reports whether the string before rest is the name of a member: names are compared, and so have to be whole.
func isName(rest []byte) bool {
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return len(rest) > 0 && rest[0] == ':'
}

// plain reports whether text is ASCII without control characters.
func plain(text []byte) bool {
	const high, space = 0x8080808080808080, 0x2020202020202020
	for ; len(text) >= 32; text = text[32:] {
		a, b := binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[8:])
		c, d := binary.LittleEndian.Uint64(text[16:]), binary.LittleEndian.Uint64(text[24:])
		// The high bit of a byte that is not plain is set; the borrow of one that is not may set others.
		odd := a | (a - space) | b | (b - space) | c | (c - space) | d | (d - space)
		if odd&high != 0 {
			return false
		}
	}
	for _, c := range text {
		if c < ' ' || c >= 0x80 {
			return false
		}
	}
	return true
}
