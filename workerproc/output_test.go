package workerproc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func linesOf(t testing.TB, r io.Reader) []string {
	t.Helper()
	got := []string{}
	if err := readLines(r, func(line string, _ int64) { got = append(got, line) }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLinesAreCutAtNewlines(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"", []string{}},
		{"a\nb\n", []string{"a", "b"}},
		{"a\nno newline", []string{"a", "no newline"}},
		{"\n\n", []string{"", ""}},
		{"windows\r\nline\r\n", []string{"windows", "line"}},
		{"a\rb\r\r\n", []string{"a\rb\r"}},
		{"last\r", []string{"last"}},
		{"bad \xff\xfe utf-8\xc3\n", []string{"bad \uFFFD utf-8\uFFFD"}},
		{"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x8d\n", []string{"grüß 🐍"}},
		{"nul\x00byte\n", []string{"nul\x00byte"}},
	}
	for _, tt := range tests {
		for _, slow := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
			if diff := cmp.Diff(tt.want, linesOf(t, slow(strings.NewReader(tt.in)))); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tt.in, diff)
			}
		}
	}
}

func TestLongLineIsCutAndCounted(t *testing.T) {
	const size = 10 << 20
	in := io.MultiReader(strings.NewReader("before\n"), io.LimitReader(repeat('x'), size), strings.NewReader("\nafter\n"))
	var lines []string
	grown := allocated(func() { lines = linesOf(t, in) })
	want := []string{"before", strings.Repeat("x", maxLine) + fmt.Sprintf("… (%d bytes cut)", size-maxLine), "after"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if grown > 1<<20 {
		t.Errorf("allocated %d bytes for a line of %d", grown, size)
	}
}

// repeat is a reader of the same byte without end.
type repeat byte

func (b repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

func TestLineOfExactlyTheBoundIsWhole(t *testing.T) {
	whole := strings.Repeat("x", maxLine)
	for in, want := range map[string]string{
		whole + "\n":   whole,
		whole:          whole,
		whole + "y\n":  whole + "… (1 bytes cut)",
		whole + "\r\n": whole + "… (1 bytes cut)",
	} {
		if diff := cmp.Diff([]string{want}, linesOf(t, strings.NewReader(in))); diff != "" {
			t.Errorf("line of %d bytes (-want +got):\n%s", len(in), diff)
		}
	}
}

func TestFailureOfTheReaderComesBehindItsLastLine(t *testing.T) {
	broken := errors.New("broken")
	var got []string
	err := readLines(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), func(line string, _ int64) { got = append(got, line) })
	if err != broken {
		t.Errorf("error = %v, want that of the reader", err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// FuzzReadLines compares with lines cut the plain way: none is longer than its bound, and no byte is lost uncounted.
func FuzzReadLines(f *testing.F) {
	f.Add([]byte("a\r\nb\n\xff\n"), uint16(1), uint16(0))
	f.Add([]byte("\r"), uint16(7), uint16(maxLine))
	f.Add([]byte("x\ny"), uint16(40000), uint16(3*maxLine))
	f.Add([]byte("\xc3"), uint16(3), uint16(maxLine-1))
	f.Fuzz(func(t *testing.T, data []byte, step, more uint16) {
		data = append(bytes.Repeat([]byte("\xe2\x82\xac"), int(more)/3), data...) // so that lines get long enough
		got := linesOf(t, &stepReader{data: data, step: int(step) + 1})
		if diff := cmp.Diff(plainLines(data), got); diff != "" {
			t.Fatalf("lines of %q (-want +got):\n%s", data, diff)
		}
		for _, line := range got {
			if len(line) > 3*maxLine+64 || !utf8.ValidString(line) {
				t.Fatalf("line of %d bytes, valid = %t", len(line), utf8.ValidString(line))
			}
		}
	})
}

func plainLines(data []byte) []string {
	pieces := bytes.Split(data, []byte("\n"))
	if len(pieces[len(pieces)-1]) == 0 {
		pieces = pieces[:len(pieces)-1]
	}
	lines := []string{}
	for _, piece := range pieces {
		line := string(bytes.TrimSuffix(piece, []byte("\r")))
		if len(piece) > maxLine {
			line = fmt.Sprintf("%s… (%d bytes cut)", piece[:maxLine], len(piece)-maxLine)
		}
		lines = append(lines, strings.ToValidUTF8(line, "\uFFFD"))
	}
	return lines
}

type stepReader struct {
	data []byte
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(r.step, len(p))], r.data)
	r.data = r.data[n:]
	return n, nil
}

func TestRingKeepsTheLastLines(t *testing.T) {
	var r ring
	for i := range 3 * ringLines {
		r.add(Line{Stream: "stdout", Message: fmt.Sprint("line ", i)})
	}
	got := r.output()
	if len(got) != ringLines {
		t.Errorf("lines = %d, want %d", len(got), ringLines)
	}
	if first, want := got[0], fmt.Sprint("stdout: line ", 2*ringLines); first != want {
		t.Errorf("oldest = %q, want %q", first, want)
	}
	if last, want := got[len(got)-1], fmt.Sprint("stdout: line ", 3*ringLines-1); last != want {
		t.Errorf("youngest = %q, want %q", last, want)
	}
}

func TestRingKeepsNoMoreThanItsBytes(t *testing.T) {
	var r ring
	held := func() (n int) {
		for _, l := range r.lines {
			n += len(l.Message)
		}
		return n
	}
	for i, size := range []int{10, maxLine, maxLine, 0, ringBytes, 1, ringBytes + 1, 5, maxLine, ringBytes - 1, ringBytes - 1} {
		for range 9 {
			r.add(Line{Stream: "stderr", Message: strings.Repeat("x", size)})
			if held() != r.bytes || r.bytes > ringBytes {
				t.Fatalf("step %d: %d bytes held, %d counted, %d allowed", i, held(), r.bytes, ringBytes)
			}
		}
	}
	r.add(Line{Stream: "stderr", Message: "last"})
	if got := r.output(); got[len(got)-1] != "stderr: last" {
		t.Errorf("youngest = %.20q, want the line added last", got[len(got)-1])
	}
}

func TestStderrTailLeavesStdoutOut(t *testing.T) {
	var r ring
	if got := r.stderrTail(""); got == nil || len(got) != 0 {
		t.Errorf("tail of nothing = %#v, want an empty list", got)
	}
	r.add(Line{Stream: "stderr", Message: "too old"})
	want := []string{}
	for i := range tailLines {
		text, stream := fmt.Sprint(i), []string{"stderr", "log"}[i%2]
		r.add(Line{Stream: stream, Message: text})
		r.add(Line{Stream: "stdout", Message: "out"})
		want = append(want, text)
	}
	if diff := cmp.Diff(want, r.stderrTail("")); diff != "" {
		t.Errorf("tail (-want +got):\n%s", diff)
	}
}
