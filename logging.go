package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// newLogger writes to out, for people if that is a terminal and JSON otherwise, unless the settings say which.
func newLogger(s settings, out io.Writer, terminal bool) *slog.Logger {
	level := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[s.LogLevel]
	if s.Debug {
		level = slog.LevelDebug
	}
	if s.LogFormat == "text" || (s.LogFormat == "auto" && terminal) {
		return slog.New(newTextHandler(out, level, terminal))
	}
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level}))
}

// newLog returns a logger that never waits for the reader of out. The end of the program must call end, which writes out
// what is left.
func newLog(s settings, out io.Writer) (log *slog.Logger, end func()) {
	terminal := isTerminal(out)
	direct := newLogger(s, out, terminal)
	w := newLogWriter(out, func(lost int) { direct.Error("log lines dropped: nobody read them in time", "lines", lost) })
	return newLogger(s, w, terminal), w.Close
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// textHandler writes records for people: one line as tint makes it, and indented below it the attributes that have lines
// of their own, such as tracebacks. Much of it is text from guests, so nothing in it but tint's colors reaches the terminal
// as a control character: they are written as Go would in a string.
type textHandler struct {
	*textOutput
	line   slog.Handler // writes to buf
	blocks []block      // given by With
}

// textOutput is what handlers made from one another by With have in common.
type textOutput struct {
	out io.Writer
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// block is an attribute that is shown below the line.
type block struct {
	key   string
	lines []string
}

func newTextHandler(out io.Writer, level slog.Level, color bool) *textHandler {
	o := &textOutput{out: out}
	return &textHandler{textOutput: o, line: tint.NewTextHandler(&o.buf, &tint.Options{
		Level: level, TimeFormat: time.TimeOnly, NoColor: !color, ReplaceAttr: quoteUnprintable,
	})}
}

// Enabled reports whether records of a level are written.
func (h *textHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.line.Enabled(ctx, level)
}

// Handle writes r in one Write.
func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	var attrs []slog.Attr
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	inline, blocks := split(attrs)
	line := slog.NewRecord(r.Time, r.Level, visible(r.Message), r.PC)
	line.AddAttrs(inline...)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Reset()
	if err := h.line.Handle(ctx, line); err != nil {
		return err
	}
	for _, b := range slices.Concat(h.blocks, blocks) {
		h.buf.WriteString("  " + b.key + ":\n")
		for _, text := range b.lines {
			h.buf.WriteString("    " + visible(text) + "\n")
		}
	}
	_, err := h.out.Write(h.buf.Bytes())
	return err
}

// WithAttrs returns a handler that adds attrs to each record.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	inline, blocks := split(attrs)
	return &textHandler{textOutput: h.textOutput, line: h.line.WithAttrs(inline), blocks: slices.Concat(h.blocks, blocks)}
}

// WithGroup returns a handler that puts name before the keys on the line. Those below it stay as they are.
func (h *textHandler) WithGroup(name string) slog.Handler {
	return &textHandler{textOutput: h.textOutput, line: h.line.WithGroup(name), blocks: h.blocks}
}

// split takes the attributes that have lines of their own out of attrs. Lists without any are left out altogether.
func split(attrs []slog.Attr) (inline []slog.Attr, blocks []block) {
	for _, a := range attrs {
		value := a.Value.Resolve()
		if list, ok := value.Any().([]string); ok {
			if len(list) > 0 {
				blocks = append(blocks, block{key: a.Key, lines: list})
			}
			continue
		}
		if kind := value.Kind(); kind == slog.KindString || kind == slog.KindAny {
			if text := strings.TrimRight(value.String(), "\n"); strings.Contains(text, "\n") {
				blocks = append(blocks, block{key: a.Key, lines: strings.Split(text, "\n")})
				continue
			}
		}
		inline = append(inline, a)
	}
	return inline, blocks
}

// quoteUnprintable makes tint quote a value that has anything to escape in it. Left to itself tint lets escape sequences
// pass, and also makes them of a text that spells one; bytes it quotes as they are.
func quoteUnprintable(_ []string, a slog.Attr) slog.Attr {
	if _, ok := a.Value.Any().(slog.Level); ok || (a.Value.Kind() != slog.KindString && a.Value.Kind() != slog.KindAny) {
		return a
	}
	if text := a.Value.String(); len(strconv.Quote(text)) > len(text)+2 {
		a.Value = slog.AnyValue([]byte(text))
	}
	return a
}

// visible escapes what a terminal would not show as it is; tabs stay.
func visible(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\t' || unicode.IsGraphic(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// visibleLines is visible for text of several lines.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = visible(line)
	}
	return strings.Join(lines, "\n")
}
