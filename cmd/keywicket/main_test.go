package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen. It only has to be
// longer than the slowest machine needs: nothing waits for it to pass.
const patience = 90 * time.Second

// TestMain builds the program once and puts it into the PATH, where these tests,
// the test scripts and the lines that the demo prints find it by its name. Under
// some names this binary is a plugin.
func TestMain(m *testing.M) {
	if part, is := strings.CutPrefix(filepath.Base(os.Args[0]), partPrefix); is {
		bePart(part)
		return
	}
	code, err := withProgram(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withProgram(run func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "kwbin")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // other users run it too
		return 1, err
	}
	args := []string{"build", "-o", filepath.Join(dir, "keywicket")}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, ".")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return 1, fmt.Errorf("building the program: %w", err)
	}
	for name, value := range map[string]string{
		"PATH":             dir + ":" + os.Getenv("PATH"),
		"KEYWICKET_SOCKET": "",
		// A race that the detector finds in the daemon ends it, and with it the
		// test. By itself the detector has every process wait a second at its end.
		"GORACE": "halt_on_error=1 exitcode=66 atexit_sleep_ms=0",
	} {
		if err := os.Setenv(name, value); err != nil {
			return 1, err
		}
	}
	return run(), nil
}

// A result is how a command ended.
type result struct {
	code     int
	out, err string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.code, r.out, r.err)
}

// keywicket runs the program to its end, with stdin as its standard input.
func keywicket(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	return runCommand(t, stdin, func(*exec.Cmd) {}, args...)
}

// runCommand is keywicket with a change of the command before it runs.
func runCommand(t testing.TB, stdin string, change func(*exec.Cmd), args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "keywicket", args...)
	var out, stderr strings.Builder
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &stderr
	change(c)
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("keywicket %q: %v\n%s", args, err, stderr.String())
	}
	return result{c.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// A process is a program in the background.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts c, and sees to it that it does not outlive the test.
func start(t testing.TB, c *exec.Cmd) *process {
	t.Helper()
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Pdeathsig = syscall.SIGKILL // where the test itself is killed
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: c, ended: make(chan struct{})}
	go func() {
		_ = c.Wait() // ProcessState says how it ended
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		<-p.ended
	})
	return p
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%v: %v", s, err)
	}
}

// wait returns the exit code; -1 if a signal ended it.
func (p *process) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("the process does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// until polls done until it says true.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
	}
}

// shortDir is t.TempDir with a path that the path of a socket has room for.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	text, err := io.ReadAll(f)
	must(t, err)
	return string(text)
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// needRoot skips what only root can try.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
}
