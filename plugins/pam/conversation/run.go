package conversation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	maxOutput = 64 << 10 // octets of the program that are kept

	// afterwards is how long the program's output may stay open once it has
	// ended: what it started may have it.
	afterwards = time.Second
)

// ErrLate: the stack did not answer in time, and was killed.
var ErrLate = errors.New("the PAM stack did not answer in time")

// Run has the conversation r in a process of its own: program is keywicket-pam.
// When ctx ends it is killed with its process group. Without an error the
// result is whole.
func Run(ctx context.Context, program string, r Request) (Result, error) {
	type ended struct {
		result Result
		err    error
	}
	done := make(chan ended, 1)
	go func() {
		// The kernel kills the child when the thread that made it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		result, err := run(ctx, program, r)
		done <- ended{result, err}
	}()
	e := <-done
	return e.result, e.err
}

func run(ctx context.Context, program string, r Request) (Result, error) {
	none := Result{Step: StepStart, Code: NoCode}
	if strings.Contains(r.Service+r.User+r.RHost+r.Dir, "\x00") || bytes.IndexByte(r.Password, 0) >= 0 || len(r.Password) > MaxPassword {
		return none, fmt.Errorf("PAM takes no NUL and no password of more than %d octets", MaxPassword)
	}
	in, err := json.Marshal(r)
	if err != nil {
		return none, err
	}
	defer clear(in)
	var out, stderr bounded
	cmd := exec.CommandContext(ctx, program, Verb)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &stderr
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = afterwards
	err = cmd.Run()
	if cmd.Process != nil {
		_ = killGroup(cmd) // what the stack left behind, if there is any
	}
	switch {
	case ctx.Err() != nil:
		return none, fmt.Errorf("%w: %w", ErrLate, ctx.Err())
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return none, fmt.Errorf("%s: %w%s", program, err, stderr.told())
	}
	result := Result{Code: NoCode}
	d := json.NewDecoder(bytes.NewReader(out.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&result); err != nil || result.Step == "" {
		return none, fmt.Errorf("%s did not say how it ended%s", program, stderr.told())
	}
	return result, nil
}

// killGroup kills the program and what it started, as far as that stayed in its
// process group.
func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// bounded keeps the beginning of what is written.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), maxOutput-b.Len())])
	return len(p), nil
}

// told returns what the program wrote, for an error.
func (b *bounded) told() string {
	text := strings.TrimSpace(b.String())
	if text == "" {
		return ""
	}
	const most = 500
	if len(text) > most {
		text = text[:most]
	}
	return fmt.Sprintf(": %q", text)
}
