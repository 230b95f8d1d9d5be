package main_test

import (
	"os"
	"strings"
	"testing"
)

// Users of this host see and make their own app passwords, and nobody else's;
// everything else is the administrator's still.
func TestSelfService(t *testing.T) {
	needRoot(t)
	s := newSite(t)
	s.edit(`group = ""`, "group = \"\"\nself_service = \"self.sock\"")
	s.start()
	must(t, os.Chmod(s.dir, 0o755))
	own := s.path("self.sock")
	d := s.dial()
	o := s.enrollQuickly(d, "daemon") // whose uid is 1 on every Debian
	s.enrollQuickly(d, beate)
	s.ok("correct horse battery\n", "user", "set-password", "daemon")
	asDaemon, asNobody := as(1), as(nobody)
	if r := runCommand(t, "", asDaemon, "app-password", "list", "--socket", own); r.code != 0 || !strings.Contains(r.out, o.first.ID) {
		t.Errorf("his own: %s", r)
	}
	if r := runCommand(t, "", asNobody, "app-password", "list", "--socket", own); r.code != 1 || !strings.Contains(r.err, `there is no account "nobody"`) || r.out != "" {
		t.Errorf("who has no account: %s", r)
	}
	for _, args := range [][]string{
		{"app-password", "list", beate}, {"app-password", "list", "daemon"}, {"app-password", "create", "daemon", "--name", "x"}, {"app-password", "delete-all", "daemon", "--yes"},
		{"user", "list"}, {"status"}, {"two-step", "off", "daemon", "--yes"}, {"reload"}, {"verify", "daemon", "--service", "pam/sshd"}, {"why", "daemon"}, {"keyring", "list"},
	} {
		if r := runCommand(t, "x\n", asDaemon, append(args, "--socket", own)...); r.code == 0 || r.out != "" {
			t.Errorf("%q at the self-service socket: %s", args, r)
		}
		if r := runCommand(t, "x\n", asDaemon, append(args, "--socket", s.socket())...); r.code == 0 || r.out != "" {
			t.Errorf("%q at the control socket: %s", args, r)
		}
	}
	create := func(stdin string) result {
		return runCommand(t, stdin, asDaemon, "app-password", "create", "--name", "Xbox", "--socket", own, "--json")
	}
	code := o.recovery[0]
	for what, stdin := range map[string]string{
		"wrong": "wrong\n" + code + "\n", "an app password": o.first.Password + "\n" + code + "\n", "a wrong code": "correct horse battery\n000000\n",
	} {
		if r := create(stdin); r.code != 1 || r.out != "" || !strings.Contains(r.err, "the main password or the security code is wrong") {
			t.Errorf("%s: %s", what, r)
		}
	}
	for what, stdin := range map[string]string{"nothing": "", "one line": "correct horse battery\n", "an empty one": "\n" + code + "\n"} {
		if r := create(stdin); r.code != 1 || r.out != "" || !strings.Contains(r.err, "two lines") {
			t.Errorf("%s: %s", what, r)
		}
	}
	if r := create("correct horse battery\n" + code + "\n"); r.code != 0 || !strings.Contains(r.out, `"password"`) || strings.Contains(r.out+r.err, "correct horse") {
		t.Errorf("with both: %s", r)
	}
	if r := create("correct horse battery\n" + code + "\n"); r.code != 1 {
		t.Errorf("the code again: %s", r)
	}
	if r := s.run("", "why", "daemon"); !strings.Contains(r.out, "self/create") {
		t.Errorf("why: %s", r)
	}
	until(t, "the audit says who", func() bool { return strings.Contains(s.audit(), `"actor":"uid 1 (daemon)"`) })
	s.refused(2, "the argument USER is missing", "", "app-password", "list", "--socket", s.path("none.sock"))
	s.refused(2, "--reply is the administrator's", "", "app-password", "create", "--name", "x", "--reply", "Class=x", "--socket", own)
	s.edit(`self_service = "self.sock"`, `self_service = "control.sock"`)
	s.refused(2, "this is also the socket of [control]", "", "reload")
	s.stop()
	if _, err := os.Lstat(own); !os.IsNotExist(err) {
		t.Errorf("the socket stays: %v", err)
	}
}
