package badgerstore_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
	"github.com/keywicket/keywicket/core/store/storetest"
)

// childDir names, in the environment, the directory whose store this test
// binary shall serve instead of running tests.
const childDir = "BADGERSTORE_TEST_CHILD_DIR"

// childLies makes the child acknowledge what it has not written yet.
const childLies = "BADGERSTORE_TEST_CHILD_LIES"

type liar struct{ store.Store }

func (l liar) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	go func() { _, _ = l.Store.Apply(context.WithoutCancel(ctx), b) }()
	return 1, nil
}

func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	opened, err := badgerstore.Open(dir, badgerstore.Options{})
	if err == nil {
		var s store.Store = opened
		if os.Getenv(childLies) != "" {
			s = liar{s}
		}
		err = storetest.Serve(s, os.Stdin, os.Stdout)
	}
	fmt.Fprintln(os.Stderr, "the child ends:", err)
	os.Exit(1)
}

// startChild opens the store in dir in a process of its own. kill is SIGKILL.
func startChild(tb testing.TB, dir string) (s store.Store, kill func()) {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	tb.Cleanup(kill)
	return storetest.Dial(out, in), kill
}

func TestSurvivesKill(t *testing.T) {
	storetest.RunDurable(t, startChild)
}
