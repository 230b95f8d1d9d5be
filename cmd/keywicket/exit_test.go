package main_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
)

// An exitRow is a command, the exit code it ends with, and what it says on
// standard error. What fails prints nothing on standard output.
type exitRow struct {
	args  string // a "+" in a word is a space
	stdin string
	code  int
	says  string
}

func (r exitRow) words() []string {
	var all []string
	for _, word := range strings.Fields(r.args) {
		word = strings.Trim(word, "'")
		all = append(all, strings.ReplaceAll(word, "+", " "))
	}
	return all
}

func (r exitRow) check(t *testing.T, got result) {
	t.Helper()
	if got.code != r.code || !strings.Contains(got.err, r.says) {
		t.Errorf("%s\nwant exit code %d and %q on stderr", got, r.code, r.says)
	}
	if got.out != "" {
		t.Errorf("a failure prints to stdout: %s", got)
	}
	if !strings.HasPrefix(got.err, "keywicket: ") && !strings.Contains(got.err, "\nkeywicket: ") {
		t.Errorf("stderr does not say whose error it is: %s", got)
	}
	if strings.Contains(got.err, "rpc error") || strings.Contains(got.err, "goroutine ") {
		t.Errorf("stderr is not for people: %s", got)
	}
}

// Wrong arguments are 2, and a daemon that is not there is 3.
func TestExitWithoutDaemon(t *testing.T) {
	for _, row := range []exitRow{
		{"frobnicate", "", 2, `unknown command "frobnicate"`},
		{"", "", 2, "a command is missing"},
		{"app-password", "", 2, "a command is missing"},
		{"app-password frobnicate", "", 2, `unknown command "frobnicate"`},
		{"--frobnicate", "", 2, "unknown flag: --frobnicate"},
		{"user list --frobnicate", "", 2, "unknown flag: --frobnicate"},
		{"user add", "", 2, "the argument NAME is missing"},
		{"user add ''", "", 2, "the argument NAME is empty"},
		{"user show a b", "", 2, "what follows NAME is one argument too many"},
		{"user list a", "", 2, "this command takes no arguments"},
		{"status a", "", 2, "this command takes no arguments"},
		{"app-password delete a", "", 2, "the argument ID is missing"},
		{"app-password create a", "", 2, `"name" not set`},
		{"app-password create a --name", "", 2, "flag needs an argument: --name"},
		{"app-password create a --name b --name c", "", 2, "given already"},
		{"app-password create a --name b --json --json", "", 2, "given already"},
		{"app-password create a --name b --expires yesterday", "", 2, `"yesterday" is neither a date`},
		{"app-password create a --name b --expires -1d", "", 2, `"-1d" is neither a date`},
		{"app-password create a --name b --expires ''", "", 2, `"" is neither a date`},
		{"app-password create a --name \xff", "", 2, `the argument "\xff" is not UTF-8`},
		{"app-password create a --name b --out-fd 2", "", 2, "standard output (1), or to a descriptor from 3 on"},
		{"app-password create a --name b --out-fd 4", "", 2, "the descriptor is not open; open it, as a shell does with 4>FILE"},
		{"app-password create a --name b --out-fd 200", "", 2, "the descriptor is not open"},
		{"two-step enroll a --out-fd 0", "", 2, "--out-fd 0"},
		{"two-step confirm a --out-fd -1", "", 2, "--out-fd -1"},
		{"app-password rotate a b --out-fd x", "", 2, `"x"`},
		{"app-password rotate a b --overlap often", "", 2, `"often" is no duration`},
		{"app-password rotate a b --overlap ''", "", 2, `"" is no duration`},
		{"app-password rotate a b --overlap 100000d", "", 2, `"100000d" is too long`},
		{"verify a", "", 2, `"service" not set`},
		{"verify a hunter2 --service b", "", 2, "what follows USER is one argument too many; a text with spaces stands in quotes, the rest is said with flags, and secrets are read from standard input"},
		{"verify a --service ''", "", 2, "--service is empty"},
		{"audit tail --event app-password-delete", "", 2, "there is no \"app-password-delete\"; there are attempt, "},
		{"audit tail --event audit-torn --config /nowhere/keywicket.toml", "", 2, "/nowhere/keywicket.toml"},
		{"audit tail --reason pin", "", 2, "there is no \"pin\"; there are "},
		{"status --socket a --socket b", "", 2, "given already"},
		{"status --socket a --config b", "", 2, "give one of them"},
		{"status --config /nowhere/keywicket.toml", "", 2, "/nowhere/keywicket.toml"},
		{"serve --config /nowhere/keywicket.toml", "", 2, "/nowhere/keywicket.toml: no such file or directory; name another with --config, or make one with"},
		{"serve --socket a", "", 2, "--socket is for those who ask"},
		{"demo --socket a", "", 2, "of its own"},
		{"config check", "", 2, "the argument FILE is missing"},
		{"config check /nowhere/keywicket.toml", "", 2, "/nowhere/keywicket.toml"},
		{"client new vpn1 --address example.com", "", 2, "neither an address nor a prefix"},
		{"client new a --address 192.0.2.1 --config /tmp", "", 2, "/tmp is a folder; give the path of the file"},
		{"client new a/b", "", 2, `"a/b"`},
		{"client new a/b --address 192.0.2.1", "", 2, `"a/b"`},
		{"client new a+b --address 192.0.2.1", "", 2, `"a b"`},
		{"status --socket /nowhere/control.sock", "", 3, `start "keywicket serve"`},
		{"why a --socket /nowhere/control.sock", "", 3, `start "keywicket serve"`},
		{"reload --socket /nowhere/control.sock", "", 3, `start "keywicket serve"`},
		{"verify a --service b --socket /nowhere/control.sock", "x\n", 3, `start "keywicket serve"`},
		{"status --socket /tmp", "", 3, "/tmp is no socket"},
		{"init --dir /dev/null/a", "", 1, "/dev/null/a"},
		{"restore", "", 2, "the argument FILE is missing"},
		{"restore /nowhere/a /nowhere/b", "", 2, "stat /nowhere/a: no such file or directory\nstat /nowhere/b: no such file"},
		{"restore /tmp", "", 2, "/tmp is no regular file"},
		{"backup verify", "", 2, "the argument FILE is missing"},
		{"backup verify /nowhere/a", "", 2, "/nowhere/a: no such file"},
		{"backup /nowhere/b --since /nowhere/a", "", 2, "/nowhere/a: no such file"},
		{"plugin pin /nowhere/a", "", 2, "/nowhere/a: no such file"},
		{"plugin pin /tmp", "", 2, "/tmp is no regular file"},
		{"plugin check /nowhere/a", "", 2, "no such file"},
		{"user import /nowhere/a", "", 2, "/nowhere/a: no such file"},
		{"backup verify ''", "", 2, "the argument FILE is empty"},
		{"session list a b", "", 2, "one argument too many"},
		{"serv", "", 2, `unknown command "serv" for "keywicket"; did you mean serve?`},
		{"user ad x", "", 2, `unknown command "ad" for "keywicket user"; did you mean add?`},
		{"ap susspend x y", "", 2, "did you mean suspend?"},
		{"two-step on x", "", 2, `"keywicket two-step"; did you mean enroll?`},
		{"two-step start x", "", 2, `"keywicket two-step"` + "\n\nUsage:"},
		{"2fa enroll x", "", 2, "did you mean two-step?"},
		{"user create x", "", 2, "did you mean add?"},
		{"ap revoke x y", "", 2, "did you mean delete?"},
		{"client add x", "", 2, "did you mean new?"},
		{"status -json", "", 2, "did you mean --json?"},
		{"status --jsno", "", 2, "did you mean --json?"},
		{"status -config=x", "", 2, "did you mean --config?"},
		{"status --format x", "", 2, "unknown flag: --format\n"},
		{"xyzzy", "", 2, "Available Commands:"},
		{"help serv", "", 2, `there is no command "serv"`},
		{"help user ad", "", 2, `there is no command "user ad"`},
		{"completion tcsh", "", 2, `unknown command "tcsh"`},
	} {
		t.Run(row.args, func(t *testing.T) { row.check(t, keywicket(t, row.stdin, row.words()...)) })
	}
}

func TestExitZero(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {"--version"}, {"help", "serve"}, {"help", "ap", "create"}, {"completion", "zsh"}, {"app-password", "--help"}, {"ap", "create", "--help"}} {
		if r := keywicket(t, "", args...); r.code != 0 || r.out == "" || r.err != "" {
			t.Errorf("keywicket %q: %s", args, r)
		}
	}
}

// A secret that somebody wrote as an argument is not repeated (C1).
func TestC1ArgumentNotRepeated(t *testing.T) {
	for _, args := range []string{"verify a hunter2 --service b", "user set-password a hunter2", "two-step confirm a hunter2", "two-step check a hunter2", "app-password create a hunter2 --name b", "radius test a hunter2", "user add a hunter2"} {
		if r := keywicket(t, "", strings.Fields(args)...); r.code != 2 || strings.Contains(r.out+r.err, "hunter2") {
			t.Errorf("keywicket %s: %s", args, r)
		}
	}
}

// What the daemon refuses is 1, in words that say what to do.
func TestExitWithDaemon(t *testing.T) {
	s := newSite(t, "[group.denied]", `app_passwords = "deny"`, "[profile.console]", `pin = "device"`)
	s.edit("#limit = 40", "limit = 40")
	s.start()
	o, full := s.enroll(alain), s.enroll(beate)
	s.ok("", "user", "add", "off@contoso.com")
	s.ok("", "user", "add", "denied@contoso.com", "--group", "denied")
	s.fill(beate, 39)
	for _, row := range []exitRow{
		{"user add Alain@Contoso.com", "", 1, `"alain@contoso.com"`},
		{"user show nobody@contoso.com", "", 1, `there is no account "nobody@contoso.com"`},
		{"user disable nobody@contoso.com", "", 1, `there is no account "nobody@contoso.com"`},
		{"user delete nobody@contoso.com --yes", "", 1, `there is no account "nobody@contoso.com"`},
		{"user add two+words", "", 1, `"two words" is not a possible account name: no name has a space`},
		{"user add Jürgen+Müller", "", 1, "no name has a space"}, // where the profile speaks of writing from right to left
		{"user add " + o.first.Password, "", 1, "shaped like an app password"},
		{"user add new@contoso.com --password", "", 1, "standard input is empty"},
		{"user set-password " + alain, "", 1, "standard input is empty"},
		{"user set-password " + alain, strings.Repeat("x", 5000) + "\n", 1, "longer than"},
		{"user delete " + alain, "", 2, "--yes"},
		{"user delete " + alain, "n\n", 1, "nothing was changed"},
		{"app-password create nobody@contoso.com --name a", "", 1, `there is no account "nobody@contoso.com"`},
		{"app-password create " + alain + " --name " + strings.Repeat("x", 65), "", 1, "65 characters; 1 to 64"},
		{"app-password create " + alain + " --name ''", "", 1, "0 characters; 1 to 64"},
		{"app-password create " + alain + " --name first+app+PASSWORD", "", 1, "already; choose another name"},
		{"app-password create " + alain + " --name " + o.first.Password, "", 1, "shaped like an app password"},
		{"app-password create " + alain + " --name a --profile none", "", 1, `there is no profile "none"`},
		{"app-password create " + alain + " --name a --expires 2001-01-01", "", 1, "not in the future"},
		{"app-password create " + beate + " --name one+more", "", 1, "Longest unused:"},
		{"app-password create off@contoso.com --name a", "", 1, "two-step verification is off"},
		{"app-password create denied@contoso.com --name a", "", 1, "disallowed"},
		{"app-password delete " + alain + " " + full.first.ID + " --yes", "", 1, "has no app password"},
		{"app-password delete " + alain + " none --yes", "", 1, `has no app password "none"`},
		{"app-password delete " + alain + " " + o.first.ID, "", 2, "--yes"},
		{"app-password delete-all " + alain, "", 2, "--yes"},
		{"app-password suspend " + alain + " " + full.first.ID, "", 1, "has no app password"},
		{"app-password resume " + alain + " none", "", 1, `has no app password "none"`},
		{"app-password rotate " + alain + " none", "", 1, `has no app password "none"`},
		{"app-password rotate " + alain + " " + o.first.ID + " --overlap 31d", "", 1, "from 0 to 30 days"},
		{"app-password repin " + alain + " " + o.first.ID, "", 1, "not pinned"},
		{"app-password list nobody@contoso.com", "", 1, `there is no account "nobody@contoso.com"`},
		{"two-step enroll nobody@contoso.com", "", 1, `there is no account "nobody@contoso.com"`},
		{"user set-password " + alain, "\xff\n", 1, "not UTF-8"},
		{"two-step confirm off@contoso.com", "123456\n", 1, "no enrolment waits"},
		{"two-step confirm " + alain, "", 1, "standard input is empty"},
		{"two-step off off@contoso.com", "", 1, "off already"},
		{"two-step check " + alain, "000000x\n", 1, "the code is wrong"},
		{"two-step check " + alain, o.used + "\n", 1, "was used already"},
		{"two-step check off@contoso.com", "123456\n", 1, "off for this account"},
		{"verify " + alain + " --service radius/vpn1", "", 1, "standard input is empty"},
		{"why nobody@contoso.com", "", 1, `there is no account "nobody@contoso.com"`},
	} {
		t.Run(row.args, func(t *testing.T) { row.check(t, s.run(row.stdin, row.words()...)) })
	}
	if out := s.ok("", "app-password", "list", alain); strings.Count(out, "\n") != 2 {
		t.Errorf("something was made or lost:\n%s", out)
	}
}

// fill gives an account n more app passwords, all at once.
func (s *site) fill(account string, n int) {
	s.t.Helper()
	d := s.dial()
	for i := range n {
		_, err := d.Create(s.t.Context(), createRequest(account, fmt.Sprintf("device %02d", i)))
		must(s.t, err)
	}
}

// At the limit the refusal names the three longest unused (rule A3).
func TestLimitNamesLongestUnused(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	s.fill(alain, 39)
	s.expect(accept, alain, o.first.Password) // the oldest is in use
	r := s.refused(1, "has 40 app passwords, which is the limit", "", "app-password", "create", alain, "--name", "one more")
	for i := range 4 {
		if name := fmt.Sprintf("%q", fmt.Sprintf("device %02d", i)); strings.Contains(r.err, name) != (i < 3) {
			t.Errorf("%s named: %v\n%s", name, i >= 3, r)
		}
	}
}

// A refused sign-in is an answer: exit code 1, and the reason on standard output.
func TestExitOfVerify(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	for stdin, want := range map[string]struct {
		code int
		out  string
	}{
		o.first.Password + "\n":          {0, `granted, with the app password "First app password"`},
		o.first.Password:                 {0, "granted"},
		o.first.Password + "\r\n":        {0, "granted"},
		"wrong\n":                        {1, "refused (wrong): the password belongs to no app password"},
		mistype(o.first.Password) + "\n": {1, "refused (mistyped)"},
	} {
		r := s.run(stdin, "verify", alain, "--service", "radius/vpn1")
		if r.code != want.code || !strings.Contains(r.out, want.out) || r.err != "" {
			t.Errorf("verify: %s\nwant %d and %q", r, want.code, want.out)
		}
	}
}

// A standard input that is closed is as good as an empty one.
func TestExitStdinClosed(t *testing.T) {
	s := startSite(t)
	s.enroll(alain)
	for _, verb := range []string{"verify " + alain + " --service radius/vpn1", "user set-password " + alain, "two-step check " + alain} {
		out, ok := shell("keywicket --socket " + s.socket() + " " + verb + " <&-")
		if ok || !strings.Contains(out, "standard input is empty") {
			t.Errorf("%s: ok %v\n%s", verb, ok, out)
		}
	}
}

// What was tried is said once.
func TestAuditCannotBeOpened(t *testing.T) {
	s := newSite(t)
	writeFile(t, s.path("data/audit"), "")
	if r := s.refused(3, "not a directory", "", "serve", "--config", s.config()); strings.Count(r.err, "open the audit log") != 1 {
		t.Error(r)
	}
}

// An address that this host has not is not another program's.
func TestMetricsAddress(t *testing.T) {
	s := newSite(t, "[metrics]", `listen = "192.0.2.77:9812"`)
	s.refused(1, "this host has no such address; mend [metrics] listen", "", "serve", "--config", s.config())
}

// Somebody who listens and says nothing is told of in words, and that what came of
// the question is not known.
func TestExitSilent(t *testing.T) {
	for _, taken := range []bool{false, true} {
		path := shortDir(t) + "/a.sock"
		l, err := net.Listen("unix", path)
		must(t, err)
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				if taken {
					takeQuestion(c)
				}
				_ = c.Close()
			}
		}()
		exitRow{"user add a", "", 3, "the daemon at " + path + " gave no answer: is it stopped, its host overloaded, or this another socket than the control socket? What was asked may have been done"}.check(t, keywicket(t, "", "user", "add", "a", "--socket", path))
	}
}

// takeQuestion is a server of gRPC until a question has begun (RFC 9113).
func takeQuestion(c net.Conn) {
	_, _ = c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // SETTINGS
	_, err := io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	for frame := make([]byte, 9); err == nil && frame[3] != 1; { // HEADERS
		if _, err = io.ReadFull(c, frame); err == nil {
			_, err = io.CopyN(io.Discard, c, int64(frame[0])<<16|int64(frame[1])<<8|int64(frame[2]))
		}
	}
}

// Where the metrics are, status tells, also where the kernel chose the port.
func TestMetricsAreFound(t *testing.T) {
	s := startSite(t, "[metrics]", `listen = "127.0.0.1:0"`)
	var status struct {
		Bridges map[string]struct{ Addresses []string }
	}
	s.decode(&status, "", "status")
	if at := status.Bridges["metrics"].Addresses; len(at) != 1 || !strings.Contains(get(t, "http://"+at[0]+"/metrics"), "keywicket_store_degraded") ||
		!strings.Contains(s.ok("", "status"), at[0]) || !strings.Contains(s.log(), `"metrics":"`+at[0]) {
		t.Errorf("%q\n%s\n%s", at, s.ok("", "status"), s.log())
	}
	s.edit(`listen = "127.0.0.1:0"`, `listen = "0.0.0.0:0"`)
	s.restart()
	if out := s.ok("", "status"); !strings.Contains(out, " 0.0.0.0:") {
		t.Errorf("on every address of IPv4, and on no other:\n%s", out)
	}
	s = startSite(t)
	if out := s.ok("", "status"); strings.Contains(out, "metrics") {
		t.Errorf("without any:\n%s", out)
	}
}

// What is insecure is said at every start, with its line, and once.
func TestInsecureIsSaidOnce(t *testing.T) {
	s := newSite(t, "[radius.client.old]", `address = ["192.0.2.1"]`, `secret_file = "old.secret"`, "allow_insecure_mschap = true",
		"require_message_authenticator = false", "allow_weak_secret = true", "allow_repeated_authenticator = true")
	writeFile(t, s.path("old.secret"), "short\n")
	s.start()
	s.stop()
	said := map[string]int{}
	for line := range strings.Lines(s.log()) {
		if _, key, is := strings.Cut(line, ": radius.client.old."); is {
			key, _, _ = strings.Cut(key, ":")
			said[key]++
		} else if strings.Contains(line, `"WARN"`) {
			t.Error(line)
		}
	}
	for _, key := range []string{"allow_insecure_mschap", "require_message_authenticator", "allow_weak_secret", "allow_repeated_authenticator"} {
		if said[key] != 1 {
			t.Errorf("%s is said %d times:\n%s", key, said[key], s.log())
		}
	}
}

// A line that is there to be copied can be, whatever the names in it are.
func TestLinesToCopy(t *testing.T) {
	dir := shortDir(t) + "/a site's"
	out, ok := shell("keywicket init --dir " + strconv.Quote(dir))
	if !ok {
		t.Fatal(out)
	}
	_, check, is := strings.Cut(out, "  keywicket serve --config ")
	if said, ok := shell("keywicket config check " + check); !is || !ok {
		t.Errorf("%s\n%s", out, said)
	}
	s := startSite(t)
	for _, name := range []string{"o'brien", "-x", `a"$b`, "*"} {
		_, next, _ := strings.Cut(s.ok("", "user", "add", "--", name), "Next: ")
		if said, ok := shell(strings.Replace(next, "two-step enroll ", "--socket "+s.socket()+" user show ", 1)); !ok || !strings.Contains(said, name) {
			t.Errorf("%s: %s", next, said)
		}
	}
}
