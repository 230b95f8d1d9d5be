package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal makes a terminal. shown returns what stands on it.
func openTerminal(t *testing.T) (side *os.File, shown func() string) {
	t.Helper()
	side, shown, _ = openKeyboard(t)
	return side, shown
}

// openKeyboard is openTerminal with what types there.
func openKeyboard(t *testing.T) (side *os.File, shown func() string, typed func(string)) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	fd := int(master.Fd())
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	side, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	var mu sync.Mutex
	var text strings.Builder
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			if err != nil { // as soon as nobody has the other side
				return
			}
			mu.Lock()
			text.Write(b[:n])
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = side.Close()
		<-ended
		_ = master.Close()
	})
	return side, func() string {
			mu.Lock()
			defer mu.Unlock()
			return text.String()
		}, func(keys string) {
			t.Helper()
			_, err := master.WriteString(keys)
			must(t, err)
		}
}

// hides says whether a terminal does not show what is typed.
func hides(t *testing.T, side *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(side.Fd()), unix.TCGETS)
	must(t, err)
	return state.Lflag&unix.ECHO == 0
}

// Who is asked something can go away: nothing is done, and the terminal shows again
// what is typed.
func TestInterruptedPrompt(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	for _, tt := range []struct {
		args, prompt string
		by           syscall.Signal
	}{
		{"app-password delete " + alain + " " + o.first.ID, "[y/N] ", syscall.SIGINT},
		{"two-step off " + alain, "[y/N] ", syscall.SIGTERM},
		{"user set-password " + alain, "New main password for " + alain + ": ", syscall.SIGINT},
		{"verify " + alain + " --service x", "Password: ", syscall.SIGTERM},
	} {
		side, shown := openTerminal(t)
		c := exec.Command("keywicket", append(strings.Fields(tt.args), "--socket", s.socket())...)
		c.Stdin, c.Stdout, c.Stderr = side, side, side
		p := start(t, c)
		until(t, "it asks", func() bool { return strings.HasSuffix(shown(), tt.prompt) || p.hasEnded() })
		hidden := func() bool { return hides(t, side) }
		if !strings.HasSuffix(tt.prompt, "[y/N] ") {
			until(t, "nothing is shown", hidden)
		}
		p.signal(t, tt.by)
		if code := p.wait(t); code != 1 {
			t.Errorf("keywicket %s, by %s: exit code %d\n%s", tt.args, tt.by, code, shown())
		}
		until(t, "it says why it ends", func() bool { return strings.Contains(shown(), "keywicket: interrupted, and nothing was changed") })
		if hidden() {
			t.Errorf("keywicket %s: the terminal does not show what is typed", tt.args)
		}
	}
	s.verdict(t, o.first.Password, "")
}

// Who types nothing has entered nothing, by Enter as by Ctrl-D; what is typed is
// not shown, and taken when the line ends.
func TestHiddenPrompt(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	const ctrlC, ctrlD, nothing = "\x03", "\x04", "keywicket: nothing was entered, and nothing was changed"
	for _, tt := range []struct {
		args, typed string
		code        int
		says        string
	}{
		{"user set-password " + alain, ctrlD, 1, nothing},
		{"user set-password " + alain, "\n", 1, nothing},
		{"user set-password " + alain, "left unfinished" + ctrlC, 1, "interrupted, and nothing was changed"},
		{"verify " + alain + " --service x", ctrlD, 1, nothing},
		{"verify " + alain + " --service x", o.first.Password + "\r", 0, "granted"},
		{"verify " + alain + " --service x", o.first.Password + ctrlD + ctrlD, 0, "granted"},
		{"two-step check " + alain, ctrlD, 1, nothing},
	} {
		side, shown, typed := openKeyboard(t)
		c := exec.Command("keywicket", append(strings.Fields(tt.args), "--socket", s.socket())...)
		c.Stdin, c.Stdout, c.Stderr = side, side, side
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // where Ctrl-C comes from
		p := start(t, c)
		until(t, "it asks", func() bool { return strings.HasSuffix(shown(), ": ") && hides(t, side) || p.hasEnded() })
		typed(tt.typed)
		if code := p.wait(t); code != tt.code {
			t.Errorf("keywicket %s, %q: exit code %d\n%s", tt.args, tt.typed, code, shown())
		}
		until(t, "it says how it ends", func() bool { return strings.Contains(shown(), tt.says) })
		if hides(t, side) || strings.Contains(shown(), strings.Trim(tt.typed, ctrlC+ctrlD+"\r\n")) && len(tt.typed) > 1 {
			t.Errorf("keywicket %s, %q: the terminal does not show what is typed now, or did before\n%s", tt.args, tt.typed, shown())
		}
	}
}

// Also where what it reads is a pipe that nobody writes to.
func TestInterruptedInput(t *testing.T) {
	s := startSite(t)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	var stderr strings.Builder
	c := exec.Command("keywicket", "user", "delete", alain, "--socket", s.socket())
	s.ok("", "user", "add", alain)
	out, shown := openTerminal(t)
	c.Stdin, c.Stdout, c.Stderr = r, &stderr, out
	p := start(t, c)
	until(t, "it asks", func() bool { return strings.HasSuffix(shown(), "[y/N] ") || p.hasEnded() })
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t); code != 1 {
		t.Errorf("exit code %d: %s", code, shown())
	}
	s.ok("", "user", "show", alain)
}

// Somebody who is there is asked before app passwords are lost.
func TestRestoreAsks(t *testing.T) {
	s := startSite(t)
	s.enroll(alain)
	s.ok("", "backup", s.path("backup"))
	later := s.create(alain, "Later")
	s.stop()
	side, shown := openTerminal(t)
	c := exec.Command("keywicket", "restore", s.path("backup"), "--config", s.config())
	c.Stdin, c.Stdout, c.Stderr = side, side, side
	p := start(t, c)
	until(t, "it asks", func() bool { return strings.HasSuffix(shown(), "Go on? [y/N] ") || p.hasEnded() })
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t); code != 1 || !strings.Contains(shown(), "1 app passwords that were made after it will not work any more") {
		t.Errorf("exit code %d: %s", code, shown())
	}
	s.start()
	s.verdict(t, later.Password, "")
}
