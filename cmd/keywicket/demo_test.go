package main_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A screen is what a program in the background printed so far.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A demo is a running "keywicket demo" with a temporary directory of its own.
type demo struct {
	*process
	tmp, address string
	screen       *screen
}

func startDemo(t *testing.T) *demo {
	t.Helper()
	d := &demo{tmp: shortDir(t), screen: &screen{}}
	c := exec.Command("keywicket", "demo")
	c.Env = append(os.Environ(), "TMPDIR="+d.tmp)
	c.Stdout, c.Stderr = d.screen, d.screen
	d.process = start(t, c)
	until(t, "the demo is ready", func() bool {
		if d.hasEnded() {
			t.Fatalf("the demo ended:\n%s", d.screen)
		}
		return strings.Contains(d.screen.String(), "Ctrl-C ends the demo")
	})
	d.address = regexp.MustCompile(`RADIUS is on (127\.0\.0\.1:\d+)`).FindStringSubmatch(d.screen.String())[1]
	return d
}

// lines returns the lines to copy and paste that begin with prefix.
func (d *demo) lines(prefix string) []string {
	return regexp.MustCompile(`(?m)^`+prefix+` .*$`).FindAllString(d.screen.String(), -1)
}

// end ends the demo by s, and wants nothing to be left.
func (d *demo) end(t *testing.T, s syscall.Signal) {
	t.Helper()
	d.signal(t, s)
	if code := d.wait(t); code != 0 {
		t.Errorf("after %v: exit code %d\n%s", s, code, d.screen)
	}
	left, err := os.ReadDir(d.tmp)
	must(t, err)
	for _, e := range left {
		t.Errorf("after %v the demo left %s behind", s, e.Name())
	}
	c, err := net.ListenPacket("udp", d.address)
	if err != nil {
		t.Fatalf("after %v the port is not free: %v", s, err)
	}
	must(t, c.Close())
}

// shell runs a line as somebody who copied it.
func shell(line string) (out string, ok bool) {
	text, err := exec.Command("sh", "-c", line).CombinedOutput()
	return string(text), err == nil
}

// Every line that the demo prints does what the demo says.
func TestDemoLines(t *testing.T) {
	needRadclient(t)
	d := startDemo(t)
	asks, looks := d.lines("echo"), d.lines("keywicket")
	if len(asks) != 3 {
		t.Fatalf("%d radclient lines:\n%s", len(asks), d.screen)
	}
	for i, want := range []string{accept, accept, reject} {
		if out, ok := shell(asks[i]); !strings.Contains(out, "Received "+want) || ok != (want == accept) {
			t.Errorf("%s\n%s\nwant %s", asks[i], out, want)
		}
	}
	wants := []struct{ verb, out string }{
		{"why", "(main-password-refused): the main password was used"},
		{"app-password list", "Laptop VPN"},
		{"app-password create", `App password "Printer"`},
		{"app-password delete", `Deleted: "Xbox in the den"`},
		{"two-step off", "Two-step verification is off"},
		{"status", "access-accept: 2"},
	}
	if len(looks) != len(wants) {
		t.Fatalf("%d keywicket lines, %d are known here:\n%s", len(looks), len(wants), d.screen)
	}
	for i, want := range wants {
		out, ok := shell(looks[i])
		if !strings.Contains(looks[i], " "+want.verb) || !ok || !strings.Contains(out, want.out) {
			t.Errorf("%s\n%s\nwant %q", looks[i], out, want.out)
		}
	}
	if out, _ := shell(asks[1]); !strings.Contains(out, "Received "+reject) {
		t.Errorf("with two-step verification off:\n%s", out)
	}
	for _, told := range []string{`GRANTED with "Xbox in the den"`, "REFUSED (main-password-refused)", "REFUSED (two-step-off)"} {
		until(t, "the demo shows "+told, func() bool { return strings.Contains(d.screen.String(), told) })
	}
	d.end(t, syscall.SIGINT)
}

// Where its port is taken the demo takes another, so that two run at once.
// However it is ended, nothing is left.
func TestDemoTwice(t *testing.T) {
	first, second := startDemo(t), startDemo(t)
	if first.address == second.address {
		t.Errorf("two demos on %s", first.address)
	}
	first.end(t, syscall.SIGTERM)
	second.end(t, syscall.SIGHUP) // the terminal was closed
}

// Nothing is left either where nobody reads what it prints any more, as in
// "keywicket demo | head".
func TestDemoPipeClosed(t *testing.T) {
	d := &demo{tmp: shortDir(t)}
	r, w, err := os.Pipe()
	must(t, err)
	c := exec.Command("keywicket", "demo")
	c.Env = append(os.Environ(), "TMPDIR="+d.tmp)
	c.Stdout = w
	p := start(t, c)
	must(t, w.Close())
	must(t, r.Close())
	if code := p.wait(t); code != 1 {
		t.Errorf("exit code %d", code)
	}
	left, err := os.ReadDir(d.tmp)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
