package workerproc

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// expiredPipe returns a pipe whose reader is past its deadline.
func expiredPipe(t *testing.T) (*pipeReader, *os.File) {
	t.Helper()
	watchLeaks(t)
	ours, theirs, err := pipe(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(ours, theirs) })
	if err := ours.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	return &pipeReader{file: ours}, theirs
}

func TestPipeIsReadToItsEndPastTheDeadline(t *testing.T) {
	r, theirs := expiredPipe(t)
	if _, err := theirs.WriteString("last words"); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "last words" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestPipeThatIsHeldOpenIsNotWaitedForPastTheDeadline(t *testing.T) {
	r, theirs := expiredPipe(t)
	if _, err := theirs.WriteString("last words"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "last words" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %q, %v; want what is there and ErrDeadlineExceeded", got, err)
	}
}

func TestPipeThatIsFloodedIsNotReadForEver(t *testing.T) {
	r, theirs := expiredPipe(t)
	chunk := make([]byte, 32<<10)
	read := 0
	for {
		if _, err := theirs.Write(chunk); err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(r, chunk)
		read += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil || read > 2*maxLate {
			t.Fatalf("%d bytes read, %v", read, err)
		}
	}
	if read < maxLate {
		t.Errorf("gave up after %d bytes, which may be those of the dead", read)
	}
}
