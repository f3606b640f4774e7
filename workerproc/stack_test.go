package workerproc

import "testing"

func TestStacksShowTheFramesOfTheApp(t *testing.T) {
	const dump = "Thread 0x01 (most recent call first):\n" +
		"  File \"/usr/lib/python3.11/threading.py\", line 320 in wait\n" +
		"\n" +
		"Current thread 0x02 (most recent call first):\n" +
		"  File \"/srv/app.py\", line 7 in slow\n" +
		"  File \"/cache/runtime-1/charmer/_run.py\", line 99 in _perform\n" +
		"  File \"/cache/runtime-1/__main__.py\", line 11 in <module>\n" +
		"  File \"<frozen runpy>\", line 88 in _run_code\n"
	const want = "Thread 0x01 (most recent call first):\n" +
		"  File \"/usr/lib/python3.11/threading.py\", line 320 in wait\n" +
		"\n" +
		"Current thread 0x02 (most recent call first):\n" +
		"  File \"/srv/app.py\", line 7 in slow\n"
	if got := guestFrames(dump, "/cache/runtime-1"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := guestFrames(dump, ""); got != dump {
		t.Errorf("the dump of another worker was changed: %q", got)
	}
	const demo = "  File \"/cache/runtime-1/charmer/demo.py\", line 48 in sleep\n"
	if got := guestFrames(demo, "/cache/runtime-1"); got != demo {
		t.Errorf("the demo app is an app too: %q", got)
	}
}
