package main_test

import (
	"strings"
	"testing"
	"time"
)

const mainPassword = "correct horse battery"

// The app password is let in and the main password is not, also after the
// daemon was stopped, and after it was killed.
func TestSignInThroughRestarts(t *testing.T) {
	t.Parallel()
	needRadclient(t)
	s := newSite(t)
	s.edit(`reject_delay = "0s"`, `reject_delay = "1s"`) // as everybody has it
	s.start()
	o := s.enroll(alain)
	s.ok(mainPassword+"\n", "user", "set-password", alain)
	both := func() {
		t.Helper()
		s.expect(accept, alain, o.first.Password)
		s.expect(accept, "ALAIN@Contoso.com", o.first.Password)
		s.expect(reject, alain, mainPassword)
		s.expect(reject, alain, "")
	}
	both()
	s.restart()
	both()
	s.crash()
	both()
	if out := s.ok("", "why", alain); !strings.Contains(out, "main-password-refused") || !strings.Contains(out, "granted with") {
		t.Errorf("why after restarts:\n%s", out)
	}
	if out := s.ok("", "audit", "verify", "--config", s.config()); !strings.Contains(out, "nothing is missing or changed") {
		t.Errorf("audit verify after a crash:\n%s", out)
	}
}

// What was acknowledged is there after a kill at once (S7, rule A8).
func TestAcknowledgedSurvivesKill(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	for range 3 {
		made := s.create(alain, "Printer")
		s.crash()
		s.expect(accept, alain, made.Password)
		s.ok("", "app-password", "delete", alain, made.ID, "--yes")
		s.crash()
		s.expect(reject, alain, made.Password)
		if last := s.why(alain)[0]; last.Reason != "deleted" || last.AppPassword == nil || last.AppPassword.Name != "Printer" {
			t.Fatalf("after the deletion: %+v", last)
		}
	}
	s.ok("", "two-step", "off", alain, "--yes")
	s.crash()
	s.expect(reject, alain, o.first.Password)
	if last := s.why(alain)[0]; last.Reason != "two-step-off" {
		t.Fatalf("after two-step off: %+v", last)
	}
}

// The reply has what the client, the group and the profile give.
func TestReplyAttributes(t *testing.T) {
	needRadclient(t)
	s := newSite(t, `[group."Domain Admins"]`, `reply = { "Filter-Id" = "admins" }`,
		`[profile.vpn]`, `letters = 28`, `services = ["radius/vpn*"]`,
		`reply = { "Class" = "staff", "Tunnel-Private-Group-Id" = "42", "Cisco-AVPair" = ["shell:priv-lvl=15", "a=b"] }`)
	s.edit("[radius.client.vpn1]", "[radius.client.vpn1]\nreply = { \"Session-Timeout\" = \"28800\" }")
	s.start()
	o := s.enroll(alain, "--group", "Domain Admins")
	vpn := s.create(alain, "Laptop", "--profile", "vpn")
	if len(vpn.Password) != 28 {
		t.Errorf("the profile's app password has %d letters", len(vpn.Password))
	}
	fromProfile := []string{"Class = 0x7374616666", `Tunnel-Private-Group-Id:0 = "42"`, `Cisco-AVPair = "shell:priv-lvl=15"`, `Cisco-AVPair = "a=b"`}
	a := s.expect(accept, alain, vpn.Password)
	for _, want := range append(fromProfile, "Session-Timeout = 28800", `Filter-Id = "admins"`) {
		if !a.has(want) {
			t.Errorf("the reply lacks %s:\n%s", want, a.text)
		}
	}
	if n := strings.Count(a.text, "\tClass = "); n != 2 {
		t.Errorf("%d Class in the reply; want the profile's and the session's:\n%s", n, a.text)
	}
	a = s.expect(accept, alain, o.first.Password)
	for _, other := range fromProfile {
		if a.has(other) {
			t.Errorf("the default profile has %s of another:\n%s", other, a.text)
		}
	}
	if a := s.expect(reject, alain, "wrong"); strings.Contains(a.text[strings.Index(a.text, "Received"):], "Class") {
		t.Errorf("a refusal has attributes of a grant:\n%s", a.text)
	}
}

// A delay of zero is none, and not the default of one second. The quickest of
// many refusals says so on any machine.
func TestRejectDelayZero(t *testing.T) {
	needRadclient(t)
	s := startSite(t)
	quickest := time.Hour
	for range 10 {
		begin := time.Now()
		s.expect(reject, alain, "wrong")
		quickest = min(quickest, time.Since(begin))
	}
	if quickest >= time.Second {
		t.Errorf("with reject_delay = \"0s\" the quickest of ten refusals took %s", quickest)
	}
}
