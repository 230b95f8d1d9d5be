package main_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// apart runs a verb with --out-fd 3, and returns what it wrote there.
func (s *site) apart(stdin string, args ...string) (lines []string, r result) {
	s.t.Helper()
	path := s.path("apart")
	file, err := os.Create(path)
	must(s.t, err)
	defer file.Close()
	r = runCommand(s.t, stdin, func(c *exec.Cmd) {
		c.Env = append(os.Environ(), "KEYWICKET_SOCKET="+s.socket())
		c.ExtraFiles = []*os.File{file}
	}, append(args, "--out-fd", "3")...)
	if r.code != 0 {
		s.t.Fatalf("keywicket %q: %s", args, r)
	}
	return strings.Split(strings.TrimSuffix(readFile(s.t, path), "\n"), "\n"), r
}

// With --out-fd the secrets are there and nowhere else (C1).
func TestC1OutFD(t *testing.T) {
	needRadclient(t)
	s := startSite(t)
	s.ok("", "user", "add", alain)
	s.ok("", "user", "add", beate)
	check := func(name string, want int, lines []string, r result) {
		t.Helper()
		if len(lines) != want {
			t.Errorf("%s: %d lines at the descriptor, want %d: %q", name, len(lines), want, lines)
		}
		for _, l := range lines {
			dashed := l[:4] + "-" + l[4:min(8, len(l))]
			if l == "" || strings.Contains(r.out+r.err, l) || strings.Contains(r.out, dashed) {
				t.Errorf("%s: %q stands elsewhere too:\n%s", name, l, r)
			}
		}
	}
	lines, r := s.apart("", "two-step", "enroll", alain)
	check("enroll", 1, lines, r)
	lines, r = s.apart("", "two-step", "enroll", alain, "--json")
	check("enroll --json", 1, lines, r)
	o := owner{name: alain, uri: lines[0]}
	lines, r = s.apart(o.code(t, 0)+"\n", "two-step", "confirm", alain, "--json")
	check("confirm --json", 11, lines, r)
	if !strings.Contains(r.out, `"status": "active"`) {
		t.Errorf("confirm --json tells nothing of the app password: %s", r)
	}
	s.expect(accept, alain, lines[0])

	lines, _ = s.apart("", "two-step", "enroll", beate)
	o = owner{name: beate, uri: lines[0]}
	lines, r = s.apart(o.code(t, 0)+"\n", "two-step", "confirm", beate)
	check("confirm", 11, lines, r)
	for _, flags := range [][]string{{"--name", "a"}, {"--name", "b", "--json"}} {
		lines, r = s.apart("", append([]string{"app-password", "create", alain}, flags...)...)
		check("create", 1, lines, r)
		s.expect(accept, alain, lines[0])
		lines, r = s.apart("", slices.Concat([]string{"app-password", "rotate", alain, flags[1]}, flags[2:])...)
		check("rotate", 1, lines, r)
		if !password.MatchString(lines[0]) {
			t.Errorf("%q is not the canonical form", lines[0])
		}
	}
}

// Where a secret does not arrive, the command fails and says what to do; where
// it cannot arrive, nothing is made.
func TestC1SecretNotWritten(t *testing.T) {
	s := startSite(t)
	s.enroll(alain)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	try := func(stdout, third *os.File, args ...string) result {
		return runCommand(t, "", func(c *exec.Cmd) {
			c.Env = append(os.Environ(), "KEYWICKET_SOCKET="+s.socket())
			if stdout != nil {
				c.Stdout = stdout
			}
			if third != nil {
				c.ExtraFiles = []*os.File{third}
			}
		}, args...)
	}
	for _, args := range [][]string{
		{"app-password", "create", alain, "--name", "a"},
		{"app-password", "create", alain, "--name", "b", "--json"},
		{"app-password", "rotate", alain, "a"},
	} {
		if r := try(full, nil, args...); r.code != 1 || !strings.Contains(r.err, "no space left on device; what was made cannot be shown again: delete the app password ") {
			t.Errorf("keywicket %q: %s", args, r)
		}
	}
	if r := try(nil, full, "app-password", "create", alain, "--name", "c", "--out-fd", "3"); r.code != 1 || !strings.Contains(r.err, "cannot be shown again") {
		t.Error(r)
	}
	for _, verb := range []string{"status", "app-password list " + alain, "why " + alain, "user show " + alain, "user export"} {
		if r := try(full, nil, strings.Fields(verb)...); r.code != 1 || strings.Count(r.err, "no space left") != 1 {
			t.Errorf("%s: %s", verb, r)
		}
	}
	gone, left, err := os.Pipe()
	must(t, err)
	must(t, gone.Close())
	defer left.Close()
	for _, args := range [][]string{
		{"app-password", "rotate", alain, "a"},
		{"app-password", "rotate", alain, "a", "--json"},
	} {
		if r := try(left, nil, args...); r.code != 1 || !strings.Contains(r.err, "broken pipe; what was made cannot be shown again: delete the app password ") {
			t.Errorf("whose reader went away: keywicket %q: %s", args, r)
		}
	}
	readable, err := os.Open("/dev/null")
	must(t, err)
	defer readable.Close()
	if r := try(nil, readable, "app-password", "create", alain, "--name", "d", "--out-fd", "3"); r.code != 2 || !strings.Contains(r.err, "not open for writing") {
		t.Error(r)
	}
	for _, verb := range []string{"create " + alain + " --name e", "rotate " + alain + " a"} {
		c := exec.Command("sh", "-c", "exec keywicket app-password "+verb+" --socket "+s.socket()+" >&-")
		if out, _ := c.CombinedOutput(); c.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "standard output is closed") {
			t.Errorf("%s with standard output closed: %s", verb, out)
		}
	}
	if out := s.ok("", "app-password", "list", alain); strings.Count(out, "\n") != 5 || strings.Contains(out, " d ") {
		t.Errorf("want the first one, a, b and c:\n%s", out)
	}
}

// A client's secret is made together with the lines that name it, or not at all.
func TestClientLinesNotWritten(t *testing.T) {
	s := newSite(t)
	before := s.tree()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	gone, left, err := os.Pipe()
	must(t, err)
	must(t, gone.Close())
	defer left.Close()
	for _, verb := range []string{"new vpn2 --address 192.0.2.2", "new vpn2 --json", "rotate vpn1"} {
		args := append([]string{"client"}, append(strings.Fields(verb), "--config", s.config())...)
		for to, says := range map[*os.File]string{full: "no space left on device; nothing was made", left: "broken pipe; nothing was made"} {
			if r := runCommand(t, "", func(c *exec.Cmd) { c.Stdout = to }, args...); r.code != 1 || !strings.Contains(r.err, says) || strings.Contains(r.err, "The secret for the device is in") {
				t.Errorf("keywicket %q: %s", args, r)
			}
		}
		c := exec.Command("sh", "-c", "exec keywicket "+strings.Join(args, " ")+" >&-")
		if out, _ := c.CombinedOutput(); c.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "standard output is closed") {
			t.Errorf("keywicket %q with standard output closed: %s", args, out)
		}
	}
	for _, change := range changes(before, s.tree()) {
		t.Error(change)
	}
}
