package main_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// hostile has what would move the cursor, colour the terminal, turn the text
// around or end the line.
const hostile = "a\x1b[31m\x1b]0;title\x07\u202e\u2066\u200b\rb\nc\u009bd\x7f"

// visible says whether a terminal shows out as it is.
func visible(t *testing.T, title, out string) {
	t.Helper()
	for _, r := range out {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s prints %U: %q", title, r, out)
			return
		}
	}
}

// Texts from outside are escaped wherever a person reads them (C1).
func TestTerminalIsSafe(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	d := s.dial()
	_, err := d.Verify(t.Context(), &controlv1.VerifyRequest{Account: alain, Password: o.first.Password, Service: "radius/" + hostile, Device: hostile})
	must(t, err)
	_, err = d.Verify(t.Context(), &controlv1.VerifyRequest{Account: alain, Password: "wrong", Service: hostile, Device: hostile})
	must(t, err)
	for _, verb := range []string{"app-password list", "why", "user show"} {
		out := s.ok("", append(strings.Fields(verb), alain)...)
		visible(t, verb, out)
		if verb != "user show" && !strings.Contains(out, `\u001b[31m`) {
			t.Errorf("%s does not show what was there: %q", verb, out)
		}
	}
	if n := strings.Count(s.ok("", "why", alain), "\n"); n != 4 {
		t.Errorf("two attempts in %d lines", n)
	}
	for _, args := range [][]string{
		{hostile},
		{"user", "show", hostile},
		{"user", "add", hostile},
		{"user", "add", "beate", hostile},
		{"user", "add", "beate", "--group", hostile},
		{"app-password", "create", alain, "--name", hostile},
		{"app-password", "create", alain, "--name", "x", "--profile", hostile},
		{"app-password", "create", alain, "--name", "x", "--expires", hostile},
		{"app-password", "delete", alain, hostile, "--yes"},
		{"app-password", "delete", alain, hostile},
		{"app-password", "delete-all", hostile},
		{"why", hostile},
		{"status", "--" + hostile},
		{"config", "check", "/nowhere/" + hostile},
		{"client", "new", hostile, "--address", "127.0.0.1"},
		{"client", "new", "a", "--address", hostile},
	} {
		r := s.run("", args...)
		if r.code == 0 {
			t.Errorf("keywicket %q: %s", args, r)
		}
		visible(t, strings.Join(args[:1], " "), r.out+r.err)
	}
	visible(t, "the log", strings.ReplaceAll(s.log(), "\n", ""))
}

// Over RADIUS too, where anybody can put any octets into an attribute.
func TestTerminalIsSafeFromDevices(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	s.expect(accept, alain, o.first.Password, `Calling-Station-Id = "\033[31mred\342\200\256"`)
	s.expect(reject, `evil\033[2J`, "wrong")
	out := s.ok("", "why", alain)
	visible(t, "why", out)
	if !strings.Contains(out, `1b[31mred\u202e`) {
		t.Errorf("why: %q", out)
	}
	s.stop()
	visible(t, "the log", s.log())
	visible(t, "the audit", s.audit())
	visible(t, "audit tail", s.ok("", "audit", "tail", "--config", s.config()))
}
