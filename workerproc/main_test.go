package workerproc

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// fakeVar names the environment variable that turns the test binary into one of its own children.
const fakeVar = "FAKE_WORKER"

func TestMain(m *testing.M) {
	mode := os.Getenv(fakeVar)
	switch {
	case mode == "":
		goleak.VerifyTestMain(m)
	case mode == "owner":
		ownFake()
	case mode == "grandchild":
		beGrandchild()
	case fakeStarts[mode] != nil:
		runFake(fakeStarts[mode])
	default:
		fmt.Fprintf(os.Stderr, "there is no fake worker %q\n", mode)
		os.Exit(2)
	}
}
