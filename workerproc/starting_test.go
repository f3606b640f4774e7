package workerproc

import (
	"os"
	"testing"
)

func TestPhasesSayWhereTheTimeOfAStartWent(t *testing.T) {
	cfg := pythonConfig(t)
	const app = "import time\nfrom charmer import command, on_start\ntime.sleep(0.05)\n\n" +
		"@command\ndef echo(): pass\n\n@on_start\ndef warm(): time.sleep(0.05)\n"
	if err := os.WriteFile(cfg.App, []byte(app), 0o644); err != nil {
		t.Fatal(err)
	}
	w := spawn(t, cfg)
	p := w.Phases()
	method, imports := "fork", p.Import == 0 // the zygote has
	if !cfg.Preload {
		method, imports = "exec", p.Import > 0
	}
	if p.Spawn <= 0 || !imports || p.Handshake <= 0 || p.Spawn+p.Import+p.Handshake != w.ReadyAfter() {
		t.Errorf("%+v of %s", p, w.ReadyAfter())
	}
	if w.StartMethod() != method {
		t.Errorf("start method = %q, want %q", w.StartMethod(), method)
	}
}

func TestStartWithoutAnImportHasNoPhaseForIt(t *testing.T) {
	for _, mode := range []string{"good", "slow"} {
		w := spawnFake(t, mode)
		if p := w.Phases(); p.Spawn <= 0 || p.Import != 0 || p.Spawn+p.Handshake != w.ReadyAfter() {
			t.Errorf("%s: %+v of %s", mode, p, w.ReadyAfter())
		}
	}
}

func TestImportEndsWithTheFirstStageAfterIt(t *testing.T) {
	var c startClock
	for _, stage := range []string{"spawn", "import app", "import numpy", "on_start warm", "import late", ""} {
		was := c
		c.stage(stage)
		changed := c != was
		if want := stage == "import app" || stage == "on_start warm"; changed != want {
			t.Errorf("stage %q changed the clock: %v, want %v", stage, changed, want)
		}
	}
}
