package main_test

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// A shared secret changes without a moment in which the device is locked out,
// with the lines that "client rotate" prints.
func TestClientRotate(t *testing.T) {
	t.Parallel()
	needRadclient(t)
	metrics := freePort(t)
	s := newSite(t, "[metrics]", `listen = "`+metrics+`"`)
	s.start()
	o := s.enroll(alain)
	s.expect(accept, alain, o.first.Password)
	old := s.secret("vpn1")

	lines := s.ok("", "client", "rotate", "vpn1", "--config", s.config())
	file := regexp.MustCompile(`(?m)^secret_file +=.*"(.*)"$`).FindStringSubmatch(lines)[1]
	if strings.TrimSpace(readFile(t, file)) == old || readFile(t, s.path("vpn1.secret")) != old+"\n" {
		t.Fatalf("the secrets before and after are the same, or the old file was touched:\n%s", lines)
	}
	made := readFile(t, file) // a second one of the same day leaves it alone: it may be in use
	if again := s.ok("", "client", "rotate", "vpn1", "--config", s.config()); strings.Contains(again, file) || readFile(t, file) != made {
		t.Errorf("%s was made again:\n%s", file, again)
	}
	s.edit(regexp.MustCompile(`(?m)^secret_file.*$`).FindString(readFile(t, s.config())), lines)
	s.reload()

	const unused, used = "nothing has come with it yet", "it is still in use: 1 packet(s), the last just now from 127.0.0.1"
	if out := s.ok("", "status"); !strings.Contains(out, unused) {
		t.Errorf("status before the first packet, want %q:\n%s", unused, out)
	}
	s.expect(accept, alain, o.first.Password) // radclient checks the reply, and so its secret
	if out := s.ok("", "status"); !strings.Contains(out, used) {
		t.Errorf("status after one packet, want %q:\n%s", used, out)
	}
	if page := get(t, "http://"+metrics+"/metrics"); !strings.Contains(page, `keywicket_radius_old_secret_packets_total{client="vpn1"} 1`) {
		t.Errorf("figures:\n%s", page)
	}
	if !strings.Contains(s.log(), "request with the old shared secret") {
		t.Errorf("nothing in the log:\n%s", s.log())
	}
	writeFile(t, s.path("vpn1.secret"), readFile(t, file)) // now the device has the new one
	s.expect(accept, alain, o.first.Password)

	s.refused(1, "is being changed already", "", "client", "rotate", "vpn1", "--config", s.config())
	s.refused(2, "has no client", "", "client", "rotate", "vpn2", "--config", s.config())
	s.refused(2, "is no duration", "", "client", "rotate", "vpn1", "--overlap", "soon", "--config", s.config())

	// The day comes: it is not taken, and its file may go.
	writeFile(t, s.path("vpn1.secret"), old+"\n")
	s.edit(regexp.MustCompile(`(?m)^old_secret_until.*$`).FindString(readFile(t, s.config())), `old_secret_until = "`+time.Now().AddDate(0, 0, -1).Format(time.DateOnly)+`"`)
	s.reload()
	if a := s.radclientWith([]string{"-r", "1", "-t", "1"}, userName(alain), userPassword(o.first.Password)); a.code != silence {
		t.Errorf("with the old secret after its end: %s", a.text)
	}
	if out := s.ok("", "status"); !strings.Contains(out, "the old secret is not taken any more") {
		t.Errorf("status after the end:\n%s", out)
	}
	s.edit(`old_secret_file  = "`+s.path("vpn1.secret"), `old_secret_file  = "`+s.path("gone.secret"))
	s.reload()
}
