package awake

import (
	"os"
	"testing"
	"time"
)

// pipe returns the ends of one, which are closed at the end of the test.
func pipe(t *testing.T) (in, out *os.File) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), out.Close() }) // which the test may have done already
	return in, out
}

func TestItEndsWithWhatIsAwaited(t *testing.T) {
	for name, happens := range map[string]func(in, out *os.File) error{
		"something to read":    func(_, out *os.File) error { _, err := out.WriteString("x"); return err },
		"the end of the other": func(_, out *os.File) error { return out.Close() },
		"its own end":          func(in, _ *os.File) error { return in.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			in, out := pipe(t)
			if err := happens(in, out); err != nil {
				t.Fatal(err)
			}
			For(in, time.Hour, nil)
		})
	}
}

func TestItEndsWhenSomebodyElseHasReadIt(t *testing.T) {
	in, _ := pipe(t)
	done := make(chan struct{})
	close(done)
	For(in, time.Hour, done)
}

func TestItEndsWithItsLimit(t *testing.T) {
	in, _ := pipe(t)
	began := time.Now()
	For(in, 3*time.Millisecond, nil)
	if took := time.Since(began); took < 3*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

func TestWhatIsAwaitedIsNotRead(t *testing.T) {
	in, out := pipe(t)
	if _, err := out.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	For(in, time.Hour, nil)
	if n, err := in.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
