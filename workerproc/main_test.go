package workerproc

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// fakeVar names the environment variable that turns the test binary into one of its own children.
const fakeVar = "FAKE_WORKER"

func TestMain(m *testing.M) {
	mode := os.Getenv(fakeVar)
	switch {
	case mode == "":
		goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { os.Exit(withExec(code)) }))
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

// noPreload is the environment variable that has the tests with Python start it with exec.
const noPreload = "CHARMER_NO_PRELOAD"

// withExec runs the tests once more after they have passed, with exec: what holds for forks of a zygote holds there too.
func withExec(code int) int {
	if list := flag.Lookup("test.list"); code != 0 || os.Getenv(noPreload) != "" || list != nil && list.Value.String() != "" {
		return code
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), noPreload+"=true")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "with %s: %v\n", noPreload, err)
		return 1
	}
	return 0
}
