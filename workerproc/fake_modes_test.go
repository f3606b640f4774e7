package workerproc

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// fakeStarts says what a fake does up to READY. A fake that returns from it serves calls.
var fakeStarts = map[string]func(*fake){
	"good": func(f *fake) { f.hello(""); f.ready() },
	"slow": func(f *fake) {
		f.hello("")
		f.log(0, "loading")
		for i := range 3 {
			f.send(KindProgress, 0, fmt.Sprintf(`{"stage":"step %d"}`, i))
		}
		f.ready()
	},
	"at-once": func(f *fake) { // a LOG and READY in one write
		f.hello("")
		f.raw(oneLog(0) + string(AppendFrame(nil, Frame{Kind: KindReady, Body: []byte(`{"commands":[],"hooks":[]}`)})))
	},
	"stacks":     func(f *fake) { f.answerSignal(); f.ready() },
	"stack-drip": func(f *fake) { f.dripSignal(); f.ready() },
	"stack-deaf": func(f *fake) { f.hello(`,"stack_signal":39`); f.ready() }, // Go ignores it
	"stack-dies": func(f *fake) { f.hello(`,"stack_signal":15`); f.ready() },
	"deaf":       func(f *fake) { f.hello(""); f.ready(); forever() },
	"stubborn":   func(f *fake) { signal.Ignore(syscall.SIGTERM); f.hello(""); f.ready(); forever() },
	"leashed": func(f *fake) { // stuck, and held by the lifeline alone
		signal.Ignore(syscall.SIGTERM)
		f.armLifeline()
		f.hello("")
		f.grandchild(nil)
		f.ready()
		forever()
	},

	"silent":         func(f *fake) { forever() },
	"hello-only":     func(f *fake) { f.hello(""); forever() },
	"stuck-import":   func(f *fake) { f.hello(""); f.send(KindProgress, 0, `{"stage":"import app"}`); forever() },
	"stuck-stacks":   func(f *fake) { f.answerSignal(); forever() },
	"exit-at-start":  func(f *fake) { fmt.Fprintln(os.Stderr, "no module\ncalled app"); os.Exit(3) },
	"exit-in-import": func(f *fake) { f.hello(""); f.send(KindProgress, 0, `{"stage":"import app"}`); os.Exit(4) },
	"kill-in-import": func(f *fake) { f.hello(""); killSelf(syscall.SIGKILL) },
	"short-hello":    func(f *fake) { f.raw("\x00\x00\x00\x20\x81\x00"); os.Exit(5) },
	"version":        func(f *fake) { f.send(KindHello, 0, `{"protocol":2}`); forever() },
	"no-version":     func(f *fake) { f.send(KindHello, 0, `{}`); forever() },
	"print-at-start": func(f *fake) { f.raw("Welcome to my program\n"); forever() },
	"huge-at-start":  func(f *fake) { f.raw("\xff\xff\xff\xff"); forever() },
	"hello-json":     func(f *fake) { f.send(KindHello, 0, `{"protocol":`); forever() },
	"ready-json":     func(f *fake) { f.hello(""); f.send(KindReady, 0, `{"commands":{}}`); forever() },
	"progress-json":  func(f *fake) { f.hello(""); f.send(KindProgress, 0, `["import"]`); forever() },
	"early-result":   func(f *fake) { f.hello(""); f.send(KindResult, 1, `1`); forever() },
	"early-ready":    func(f *fake) { f.ready(); forever() },
	"early-error":    func(f *fake) { f.send(KindError, 0, `{"kind":"start"}`); forever() },
	"early-id":       func(f *fake) { f.hello(""); f.send(KindError, 1, `{"kind":"start"}`); forever() },
	"hello-twice":    func(f *fake) { f.hello(""); f.hello(""); forever() },
	"ready-twice":    func(f *fake) { f.hello(""); f.ready(); f.ready(); forever() },
	"refuse":         func(f *fake) { f.refuse(); os.Exit(1) },
	"refuse-stay":    func(f *fake) { f.refuse(); forever() },
	"refuse-json":    func(f *fake) { f.hello(""); f.send(KindError, 0, `"no"`); forever() },
}

func (f *fake) refuse() {
	f.hello("")
	f.send(KindProgress, 0, `{"stage":"import app"}`)
	fmt.Fprintln(os.Stderr, "a warning")
	f.send(KindError, 0, `{"kind":"start","stage":"on_start warm","type":"ValueError","message":"no model","traceback":"Traceback …"}`)
}

// fakeCommands says what a fake does in a call.
var fakeCommands = map[string]func(*fake, fakeCall){
	"echo":        func(f *fake, c fakeCall) { f.send(KindResult, c.id, string(c.Args)) },
	"envelope":    func(f *fake, c fakeCall) { f.result(c, c.body) },
	"session_end": func(f *fake, c fakeCall) { f.result(c, c.body) },
	"environ":     func(f *fake, c fakeCall) { f.result(c, os.Environ()) },
	"descriptors": func(f *fake, c fakeCall) {
		var links [8]string
		for fd := range links {
			links[fd], _ = os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
		}
		f.result(c, links)
	},
	"read": func(f *fake, c fakeCall) { // a file below /proc/self
		var args struct{ Name string }
		_ = json.Unmarshal(c.Args, &args)
		text, err := os.ReadFile("/proc/self/" + args.Name)
		f.result(c, string(text)+fmt.Sprint(err))
	},
	"group": func(f *fake, c fakeCall) { f.result(c, []int{os.Getpid(), syscall.Getpgrp()}) },

	// ERROR replies, after which the fake is healthy.
	"raise":  func(f *fake, c fakeCall) { f.goldenError(c, "exception", "") },
	"choose": func(f *fake, c fakeCall) { f.goldenError(c, "command_error", `,"code":"gone","status":410`) },
	"bad":    func(f *fake, c fakeCall) { f.goldenError(c, "bad_result", "") },
	"misfit": func(f *fake, c fakeCall) {
		f.goldenError(c, "invalid_args", `,"errors":[{"pointer":"/a","detail":"b"}]`)
	},
	"unknown": func(f *fake, c fakeCall) { f.goldenError(c, "unknown_command", "") },
	"sys-exit": func(f *fake, c fakeCall) {
		f.send(KindError, c.id, `{"kind":"exception","type":"SystemExit","message":"3","exiting":true}`)
		os.Exit(3)
	},

	// Output.
	"log": func(f *fake, c fakeCall) {
		f.send(KindLog, c.id, `{"level":"warning","stream":"log","logger":"app.db","message":"slow query"}`)
		f.send(KindLog, 0, `{"level":"error","stream":"log","message":"between calls"}`)
		f.send(KindLog, 77, `{"level":"critical","stream":"log","message":"of nobody"}`)
		f.log(c.id, "printed")
		f.result(c, nil)
	},
	"log-at-once": func(f *fake, c fakeCall) { // in one write with the answer
		f.raw(oneLog(c.id) + string(AppendFrame(nil, Frame{Kind: KindResult, ID: c.id, Body: []byte(`1`)})))
	},
	"log-exit": func(f *fake, c fakeCall) { f.raw(oneLog(c.id)); os.Exit(3) },
	"log-on": func(f *fake, c fakeCall) { // and on
		for {
			f.raw(oneLog(c.id))
		}
	},
	"print": func(f *fake, c fakeCall) { // and answer with the next call
		fmt.Fprintln(os.Stderr, "printed by C")
		next, _ := f.next()
		f.result(c, nil)
		f.send(KindResult, next.ID, `null`)
	},
	"flood": func(f *fake, c fakeCall) {
		fmt.Fprint(os.Stderr, strings.Repeat("x", 10<<20))
		fmt.Fprint(os.Stderr, "\nlater line\n")
		f.result(c, nil)
	},
	"last-words": func(f *fake, c fakeCall) { // more than the reader takes at once, all of it written before the end
		f.log(c.id, "last words"+strings.Repeat(".", 8<<10))
		f.send(KindResult, c.id, `"`+strings.Repeat("x", 58<<10)+`"`)
		os.Exit(0)
	},

	// Breaches of the protocol.
	"garbage":       func(f *fake, c fakeCall) { f.raw("HTTP/1.1 200 OK\r\n\r\n"); forever() },
	"huge":          func(f *fake, c fakeCall) { f.raw("\xff\xff\xff\xff\x84\x00\x00\x00\x01"); forever() },
	"tiny":          func(f *fake, c fakeCall) { f.raw("\x00\x00\x00\x04\x84\x00\x00\x00"); forever() },
	"wrong-id":      func(f *fake, c fakeCall) { f.send(KindResult, c.id+98, `1`); forever() },
	"wrong-error":   func(f *fake, c fakeCall) { f.send(KindError, 0, `{"kind":"exception"}`); forever() },
	"unknown-kind":  func(f *fake, c fakeCall) { f.send(0x7f, c.id, `1`); forever() },
	"send-call":     func(f *fake, c fakeCall) { f.send(KindCall, c.id, `{}`); forever() },
	"send-ready":    func(f *fake, c fakeCall) { f.ready(); forever() },
	"send-progress": func(f *fake, c fakeCall) { f.send(KindProgress, 0, `{"stage":"x"}`); forever() },
	"send-pong":     func(f *fake, c fakeCall) { f.send(KindPong, 0, ``); forever() },
	"send-chunk":    func(f *fake, c fakeCall) { f.send(KindChunk, c.id, `1`); forever() },
	"give-up":       func(f *fake, c fakeCall) { f.send(KindError, c.id, `{"kind":"cancelled"}`); forever() },
	"late-progress": func(f *fake, c fakeCall) { f.send(KindProgress, c.id+1, `{"fraction":1}`); forever() },
	"not-json":      func(f *fake, c fakeCall) { f.send(KindResult, c.id, `{"a":NaN}`); forever() },
	"bad-utf8":      func(f *fake, c fakeCall) { f.send(KindResult, c.id, "\"\xff\xfe\""); forever() },
	"no-body":       func(f *fake, c fakeCall) { f.send(KindResult, c.id, ``); forever() },
	"two-texts":     func(f *fake, c fakeCall) { f.send(KindResult, c.id, `1 2`); forever() },
	"error-json":    func(f *fake, c fakeCall) { f.send(KindError, c.id, `exception`); forever() },
	"error-cut":     func(f *fake, c fakeCall) { f.send(KindError, c.id, `{"kind":`); forever() },
	"error-kind":    func(f *fake, c fakeCall) { f.send(KindError, c.id, `{"kind":"whim"}`); forever() },
	"log-json":      func(f *fake, c fakeCall) { f.send(KindLog, c.id, `{"message":1}`); forever() },
	"twice":         func(f *fake, c fakeCall) { f.result(c, 1); f.result(c, 2); forever() },
	"short-exit":    func(f *fake, c fakeCall) { f.halfResult(c); os.Exit(4) },
	"short-desert":  func(f *fake, c fakeCall) { f.halfResult(c); _ = f.out.Close(); forever() },

	// Ends.
	"exit":       func(f *fake, c fakeCall) { fmt.Fprintln(os.Stderr, "out of\r\ncheese"); os.Exit(3) },
	"exit-0":     func(f *fake, c fakeCall) { os.Exit(0) },
	"kill":       func(f *fake, c fakeCall) { killSelf(syscall.SIGKILL) },
	"term":       func(f *fake, c fakeCall) { killSelf(syscall.SIGTERM) },
	"segfault":   func(f *fake, c fakeCall) { segfault() },
	"short-kill": func(f *fake, c fakeCall) { f.halfResult(c); killSelf(syscall.SIGKILL) },
	"desert":     func(f *fake, c fakeCall) { _ = f.out.Close(); forever() },

	// Calls that do not end.
	"hang":       func(f *fake, c fakeCall) { f.log(c.id, "hanging"); forever() },
	"short-hang": func(f *fake, c fakeCall) { f.halfResult(c); forever() },

	// Calls that see the STOP.
	"finish": func(f *fake, c fakeCall) { f.awaitStop(c); f.result(c, "finished"); os.Exit(0) },
	"linger": func(f *fake, c fakeCall) {
		f.awaitStop(c)
		_ = f.out.Close()
		time.Sleep(exitLag + exitLag/2)
		os.Exit(7)
	},

	// Grandchildren, in the worker's group and outside.
	"breed":  func(f *fake, c fakeCall) { f.result(c, f.grandchild(nil)) },
	"escape": func(f *fake, c fakeCall) { f.result(c, f.grandchild(&syscall.SysProcAttr{Setsid: true})) },
}

func oneLog(id uint32) string {
	return string(AppendFrame(nil, Frame{Kind: KindLog, ID: id, Body: []byte(`{"level":"info","stream":"stdout","message":"a line"}`)}))
}

func (f *fake) goldenError(c fakeCall, kind, more string) {
	f.send(KindError, c.id, fmt.Sprintf(`{"kind":%q,"type":"T","message":"m","traceback":"t"%s}`, kind, more))
}

// awaitStop says that the call runs and reads a STOP.
func (f *fake) awaitStop(c fakeCall) {
	f.log(c.id, "running")
	if frame, err := f.next(); err != nil || frame.Kind != KindStop {
		f.die("%v with %v came, not a STOP", frame.Kind, err)
	}
}
