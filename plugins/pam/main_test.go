package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/plugins/pam/conversation"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// patience is longer than the slowest machine needs.
const patience = time.Minute

// build builds the program, with cgo or without.
func build(t *testing.T, cgo string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, conversation.Name)
	c := exec.Command("go", "build", "-o", path, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := c.CombinedOutput(); err != nil {
		if _, none := os.Stat("/usr/include/security/pam_appl.h"); none != nil && os.Getenv("CI") != "true" {
			t.Skip("libpam0g-dev is not installed")
		}
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// stacks makes a folder of PAM services.
func stacks(t *testing.T, services map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range services {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// script writes a program for pam_exec.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700))
	return path
}

// Every way that a stack can end comes back: with its step and its code, and
// what it said.
func TestConverse(t *testing.T) {
	program := build(t, "1")
	told := filepath.Join(t.TempDir(), "told")
	dir := stacks(t, map[string]string{
		"good":    "auth required pam_exec.so expose_authtok quiet " + script(t, "cat >"+told+"; echo \" $PAM_USER $PAM_RHOST $PAM_SERVICE\" >>"+told+"; exit 0") + "\naccount required pam_permit.so\n",
		"wrong":   "auth required pam_deny.so\naccount required pam_permit.so\n",
		"expired": "auth required pam_permit.so\naccount required pam_exec.so quiet " + script(t, "exit 13") + "\n",
		"broken":  "auth required /nowhere/pam_none.so\n",
		"chatty":  "auth optional pam_echo.so welcome, %u\nauth required pam_permit.so\naccount required pam_permit.so\n",
		"other":   "auth required pam_warn.so\nauth required pam_deny.so\n",
	})
	both := []string{conversation.StepAuthenticate, conversation.StepAccount}
	for service, want := range map[string]conversation.Result{
		"good":    {Step: "account", Code: conversation.Success, Asked: 1, Said: []string{"Password: "}},
		"wrong":   {Step: "authenticate", Code: conversation.AuthErr},
		"expired": {Step: "account", Code: conversation.PermDenied}, // pam_exec's own word for it
		"broken":  {Step: "authenticate", Code: conversation.ModuleUnknown},
		"chatty":  {Step: "account", Code: conversation.Success, Said: []string{"welcome, alain"}},
		"absent":  {Step: "authenticate", Code: conversation.AuthErr}, // by "other"
	} {
		got, err := conversation.Run(t.Context(), program, conversation.Request{Service: service, User: "alain", RHost: "192.0.2.7", Dir: dir, Steps: both, Password: []byte("an ex\u00e4mple")})
		if err != nil || got.Step != want.Step || got.Asked != want.Asked || !slices.Equal(got.Said, want.Said) || got.Code != want.Code && service != "expired" || got.Code == conversation.Success != (want.Code == conversation.Success) {
			t.Errorf("%s: %+v, %v; want %+v", service, got, err, want)
		}
	}
	text, err := os.ReadFile(told)
	must(t, err)
	if want := "an ex\u00e4mple alain 192.0.2.7 good\n"; string(text) != want {
		t.Errorf("the stack saw %q, want %q", text, want)
	}
}

// A stack that hangs ends with its time.
func TestHang(t *testing.T) {
	program := build(t, "1")
	begun := filepath.Join(t.TempDir(), "begun")
	dir := stacks(t, map[string]string{"hang": "auth required pam_exec.so quiet " + script(t, "cut -d \" \" -f 4 /proc/$$/stat >"+begun+".new; mv "+begun+".new "+begun+"; exec sleep 10")})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		until(t, "the stack hangs", func() bool { _, err := os.Stat(begun); return err == nil })
	}()
	got, err := conversation.Run(ctx, program, conversation.Request{Service: "hang", User: "alain", Dir: dir, Steps: []string{conversation.StepAuthenticate}})
	if !errors.Is(err, conversation.ErrLate) || got.Code == conversation.Success {
		t.Errorf("%+v, %v", got, err)
	}
	gone(t, begun)
}

// What a stack leaves behind does not hold up the answer, and is ended.
func TestLeftBehind(t *testing.T) {
	left := filepath.Join(t.TempDir(), "left")
	got, err := conversation.Run(t.Context(), script(t, "sleep 1000 & echo $! >"+left+"; echo '{\"step\":\"account\",\"code\":7}'"), conversation.Request{})
	if err != nil || got.Code != conversation.AuthErr {
		t.Errorf("%+v, %v", got, err)
	}
	gone(t, left)
}

// gone waits for the end of the process whose number stands in the file.
func gone(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	var pid int
	_, err = fmt.Sscan(string(text), &pid)
	must(t, err)
	until(t, "the process is gone", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// A program that is no keywicket-pam gives no answer, and no yes.
func TestLiars(t *testing.T) {
	for name, text := range map[string]string{
		"silence": "exit 0", "failure": "echo '{\"step\":\"account\",\"code\":0,\"asked\":0}'; exit 1", "garbage": "head -c 200000 /dev/zero",
		"half": "echo '{\"step\":\"acc'", "nothing": "echo '{}'", "killed": "kill -9 $$", "a field": "echo '{\"step\":\"account\",\"code\":0,\"asked\":0,\"allow\":1}'",
	} {
		got, err := conversation.Run(t.Context(), script(t, text), conversation.Request{Service: "x", User: "alain", Password: []byte("a secret of mine")})
		if err == nil || got.Code == conversation.Success || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := conversation.Run(t.Context(), "/nowhere", conversation.Request{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
}

// What is started gets no more than it needs, and an end with its parent.
func TestProcess(t *testing.T) {
	t.Setenv("KEYWICKET_TEST_SECRET", "x")
	out := filepath.Join(t.TempDir(), "out")
	_, err := conversation.Run(t.Context(), script(t, "env >"+out+"; echo \"pgid $(cut -d ' ' -f 5 /proc/$$/stat) $$\" | tr -s ' ' >>"+out), conversation.Request{Password: []byte("hidden")})
	if err == nil {
		t.Error("a script is taken for the program")
	}
	text, err := os.ReadFile(out)
	must(t, err)
	if strings.Contains(string(text), "KEYWICKET_TEST_SECRET") || strings.Contains(string(text), "hidden") {
		t.Errorf("it was given\n%s", text)
	}
	var group, pid int
	_, line, _ := strings.Cut(string(text), "pgid ")
	_, err = fmt.Sscan(line, &group, &pid)
	must(t, err)
	if group != pid {
		t.Errorf("process %d is in group %d", pid, group)
	}
}

// Without cgo the program says so, and with other arguments what it is.
func TestWithoutCgo(t *testing.T) {
	program := build(t, "0")
	got, err := conversation.Run(t.Context(), program, conversation.Request{Service: "x", User: "alain"})
	if err == nil || got.Code == conversation.Success || !strings.Contains(err.Error(), "built without cgo") {
		t.Errorf("%+v, %v", got, err)
	}
	c := exec.Command(program, "help")
	text, err := c.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(text), "keywicket pam check") {
		t.Errorf("%v\n%s", err, text)
	}
	c = exec.Command(program)
	text, err = c.CombinedOutput()
	if err == nil || !strings.Contains(string(text), "plugin") {
		t.Errorf("by itself: %v\n%s", err, text)
	}
}

// A program that others could change is not given a password.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, conversation.Name)
	must(t, os.WriteFile(path, nil, 0o755))
	must(t, conversation.Check(path))
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(path, link))
	must(t, conversation.Check(link))
	for what, change := range map[string]func() error{
		"the group":         func() error { return os.Chmod(path, 0o775) },
		"everybody":         func() error { return os.Chmod(path, 0o757) },
		"the folder's":      func() error { return os.Chmod(dir, 0o777) },
		"another":           func() error { return ownedByAnother(t, path) },
		"no program":        func() error { return os.Chmod(path, 0o644) },
		"a folder":          func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) },
		"nothing (removed)": func() error { return os.RemoveAll(path) },
	} {
		must(t, change())
		if err := conversation.Check(path); err == nil {
			t.Errorf("%s: taken", what)
		}
		must(t, os.RemoveAll(path))
		must(t, os.Chmod(dir, 0o755))
		must(t, os.WriteFile(path, nil, 0o755))
	}
}

func ownedByAnother(t *testing.T, path string) error {
	if os.Geteuid() != 0 {
		return os.Chmod(path, 0o644) // what the test wants of it in the end
	}
	t.Helper()
	return syscall.Chown(path, 65534, 65534)
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("waited %s in vain: %s", patience, what)
			return
		}
	}
}

// Started as a plugin host does, the program is a directory plugin.
func TestPlugin(t *testing.T) {
	c := exec.Command(build(t, "0"))
	h := wire.Handshake()
	c.Env = []string{h.MagicCookieKey + "=" + h.MagicCookieValue, fmt.Sprintf("PLUGIN_PROTOCOL_VERSIONS=%d", wire.V1), "PLUGIN_UNIX_SOCKET_DIR=" + t.TempDir()}
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, errors.Join(err, c.Process.Kill()))
	_ = c.Wait() // it was killed
	if !strings.HasPrefix(line, fmt.Sprintf("1|%d|unix|", wire.V1)) || !strings.Contains(line, "|grpc|") {
		t.Errorf("it says %q", line)
	}
}
