package workerproc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

const testLimit = 16 << 20

// golden is one entry of testdata/frames/index.json.
type golden struct {
	File string `json:"file"`
	Kind string `json:"kind"`
	ID   uint32 `json:"id"`
	Body string `json:"body"`
}

func goldens(t testing.TB) []golden {
	t.Helper()
	index, err := os.ReadFile("testdata/frames/index.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	if err := json.Unmarshal(index, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// frame returns what the index says the file holds.
func (g golden) frame(t testing.TB) Frame {
	t.Helper()
	for kind, name := range kindNames {
		if name == g.Kind {
			return Frame{Kind: kind, ID: g.ID, Body: []byte(g.Body)}
		}
	}
	t.Fatalf("%s: no kind is called %q", g.File, g.Kind)
	return Frame{}
}

func (g golden) bytes(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/frames", g.File))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readAll(data []byte, limit int) ([]Frame, error) {
	r := bufio.NewReader(bytes.NewReader(data))
	var frames []Frame
	for {
		f, err := ReadFrame(r, limit)
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
	}
}

func TestGoldenFramesAreReadAndWrittenIdentically(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.File, func(t *testing.T) {
			want, file := g.frame(t), g.bytes(t)
			got, err := readAll(file, testLimit)
			if err != io.EOF {
				t.Errorf("error behind the frame = %v, want EOF", err)
			}
			if diff := cmp.Diff([]Frame{want}, got); diff != "" {
				t.Errorf("frame read (-want +got):\n%s", diff)
			}
			if written := AppendFrame(nil, want); !bytes.Equal(written, file) {
				t.Errorf("written %q, want %q", written, file)
			}
		})
	}
}

func TestEveryGoldenFileIsInTheIndex(t *testing.T) {
	files, err := filepath.Glob("testdata/frames/*.frame")
	if err != nil {
		t.Fatal(err)
	}
	var indexed []string
	kinds := map[string]bool{}
	for _, g := range goldens(t) {
		indexed = append(indexed, filepath.Join("testdata/frames", g.File))
		kinds[g.Kind] = true
	}
	slices.Sort(indexed)
	if diff := cmp.Diff(files, indexed); diff != "" {
		t.Errorf("files (-) and index (+):\n%s", diff)
	}
	for _, name := range kindNames {
		if !kinds[name] {
			t.Errorf("no golden frame of kind %s", name)
		}
	}
}

func TestFramesFollowEachOtherOnOneStream(t *testing.T) {
	var want []Frame
	stream := []byte("in front")
	for _, g := range goldens(t) {
		want = append(want, g.frame(t))
		stream = AppendFrame(stream, g.frame(t))
	}
	got, err := readAll(stream[len("in front"):], testLimit)
	if err != io.EOF {
		t.Errorf("error at the end = %v, want EOF", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

func TestLengthMustBeWithinItsBounds(t *testing.T) {
	const limit = 100
	tests := []struct {
		length uint32
		ok     bool
	}{
		{0, false}, {1, false}, {4, false}, {5, true}, {6, true}, {99, true}, {100, true}, {101, false},
		{1 << 31, false}, {1<<31 - 1, false}, {0xFFFFFFFF, false},
	}
	for _, tt := range tests {
		stream := binary.BigEndian.AppendUint32(nil, tt.length)
		stream = append(stream, byte(KindResult), 0, 0, 0, 1)
		if tt.ok {
			stream = append(stream, make([]byte, tt.length-headerSize)...)
		}
		frames, err := readAll(stream, limit)
		if tt.ok && (len(frames) != 1 || err != io.EOF) {
			t.Errorf("length %d: %d frames and %v, want one frame", tt.length, len(frames), err)
		}
		if !tt.ok && (len(frames) != 0 || !errors.Is(err, ErrFrameLength)) {
			t.Errorf("length %d: %d frames and %v, want ErrFrameLength", tt.length, len(frames), err)
		}
	}
}

// onlyReader hands out data and then fails the test if it is read further.
type onlyReader struct {
	t    *testing.T
	data []byte
}

func (r *onlyReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		r.t.Error("read on behind a length out of bounds")
		return 0, io.EOF
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func TestHugeLengthIsRefusedWithoutReadingOrAllocatingTheBody(t *testing.T) {
	var r *bufio.Reader
	head := []byte{0xFF, 0xFF, 0xFF, 0xFF}
	grown := allocated(func() {
		r = bufio.NewReaderSize(&onlyReader{t: t, data: head}, 16)
		if _, err := ReadFrame(r, testLimit); !errors.Is(err, ErrFrameLength) {
			t.Errorf("error = %v, want ErrFrameLength", err)
		}
	})
	if grown > 16<<10 {
		t.Errorf("allocated %d bytes for a refused frame", grown)
	}
}

// allocated returns how many bytes f allocates, and the rest of the process meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestLargeLengthAllocatesNoMoreThanWhatComesDeserves(t *testing.T) {
	stream := binary.BigEndian.AppendUint32(nil, 1<<30)
	stream = append(stream, byte(KindResult), 0, 0, 0, 1, '"')
	grown := allocated(func() {
		if _, err := readAll(stream, 1<<30); err != io.ErrUnexpectedEOF {
			t.Errorf("error = %v, want ErrUnexpectedEOF", err)
		}
	})
	if grown > 4*eagerBody {
		t.Errorf("allocated %d bytes for a body of 1 GiB of which one byte came", grown)
	}
}

func TestEndInsideAFrameIsUnexpected(t *testing.T) {
	for _, g := range goldens(t) {
		whole := g.bytes(t)
		for cut := range len(whole) {
			want := io.ErrUnexpectedEOF
			if cut == 0 {
				want = io.EOF
			}
			if frames, err := readAll(whole[:cut], testLimit); err != want || len(frames) != 0 {
				t.Fatalf("%s cut after %d bytes: %d frames and %v, want none and %v", g.File, cut, len(frames), err, want)
			}
		}
	}
}

func TestEndInsideALargeFrameIsUnexpected(t *testing.T) {
	whole := AppendFrame(nil, Frame{Kind: KindResult, ID: 1, Body: bytes.Repeat([]byte("x"), eagerBody+1000)})
	for _, cut := range []int{1, 9, 10, eagerBody, eagerBody + 9, len(whole) - 1} {
		if _, err := readAll(whole[:cut], testLimit); err != io.ErrUnexpectedEOF {
			t.Errorf("cut after %d bytes: %v, want ErrUnexpectedEOF", cut, err)
		}
	}
}

func TestBodiesOfAnySizeArriveWholeThroughSmallReads(t *testing.T) {
	for _, size := range []int{0, 1, 4096, eagerBody - 1, eagerBody, eagerBody + 1, 5 << 20} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(i * 7)
		}
		want := Frame{Kind: KindResult, ID: 9, Body: body}
		r := bufio.NewReader(iotest.HalfReader(bytes.NewReader(AppendFrame(nil, want))))
		got, err := ReadFrame(r, testLimit)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if got.Kind != want.Kind || got.ID != want.ID || !bytes.Equal(got.Body, body) {
			t.Errorf("size %d: frame differs", size)
		}
	}
}

func TestFailureOfTheReaderIsPassedOn(t *testing.T) {
	broken := errors.New("broken")
	whole := AppendFrame(nil, Frame{Kind: KindResult, ID: 1, Body: make([]byte, eagerBody+10)})
	for _, cut := range []int{0, 2, 6, 100, eagerBody + 15} {
		r := bufio.NewReader(io.MultiReader(bytes.NewReader(whole[:cut]), iotest.ErrReader(broken)))
		if _, err := ReadFrame(r, testLimit); err != broken {
			t.Errorf("failure after %d bytes: %v, want that of the reader", cut, err)
		}
	}
}

func TestKindsAreNamedAsInTheProtocol(t *testing.T) {
	for kind, want := range map[Kind]string{KindCall: "CALL", KindPong: "PONG", 0x7f: "0x7f", 0: "0x00"} {
		if got := kind.String(); got != want {
			t.Errorf("name of kind %d = %q, want %q", uint8(kind), got, want)
		}
	}
}
