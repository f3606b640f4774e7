package workerproc

import (
	"testing"
	"time"
)

func TestStayAwakeEndsWithTheAnswer(t *testing.T) {
	for name, happens := range map[string]func(t *testing.T, p *pipes){
		"something to read": func(t *testing.T, p *pipes) {
			if _, err := p.theirs.replies.WriteString("x"); err != nil {
				t.Error(err)
			}
		},
		"the worker's end is closed": func(_ *testing.T, p *pipes) { closeAll(p.theirs.replies) },
		"its own end is closed":      func(_ *testing.T, p *pipes) { closeAll(p.ours.replies) },
	} {
		t.Run(name, func(t *testing.T) {
			var p pipes
			if err := p.open(nil); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.closeOurs)
			t.Cleanup(p.theirs.close)
			happens(t, &p)
			stayAwake(p.ours.replies, time.Hour)
		})
	}
}

func TestStayAwakeEndsWithItsLimit(t *testing.T) {
	var p pipes
	if err := p.open(nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.closeOurs)
	t.Cleanup(p.theirs.close)
	began := time.Now()
	stayAwake(p.ours.replies, 3*time.Millisecond)
	if took := time.Since(began); took < 3*time.Millisecond {
		t.Errorf("it stayed awake for %s", took)
	}
}
