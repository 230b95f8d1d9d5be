package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A pamSite is a site with the PAM bridge, the module, keywicket-pam, and a
// folder of PAM services. The accounts are no users of this host.
type pamSite struct {
	*site
	module, program, services string
}

// newPAMSite builds the module and keywicket-pam, and starts nothing.
func newPAMSite(t *testing.T, more ...string) *pamSite {
	t.Helper()
	needRoot(t)
	if _, err := os.Stat("/usr/include/security/pam_appl.h"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("install libpam0g-dev")
		}
		t.Skip("libpam0g-dev is not installed")
	}
	p := &pamSite{site: newSite(t, append([]string{"[pam]", `socket = "pam.sock"`}, more...)...)}
	must(t, os.Chmod(p.dir, 0o755))
	p.services = p.path("pam.d")
	must(t, os.Mkdir(p.services, 0o755))
	p.program, p.module = p.path("keywicket-pam"), p.path("pam_keywicket.so")
	run := func(c *exec.Cmd) {
		t.Helper()
		c.Env = append(os.Environ(), "CGO_ENABLED=1", "SECURITYDIR="+p.dir)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	run(exec.Command("go", "build", "-o", p.program, "../../plugins/pam"))
	run(exec.Command("../../contrib/build-pam"))
	p.stack("sshd", "")
	return p
}

// stack writes a PAM service that asks the module, after more lines.
func (p *pamSite) stack(service, more string, options ...string) {
	p.t.Helper()
	line := p.module + " socket=" + p.path("pam.sock") + " " + strings.Join(options, " ") + "\n"
	writeFile(p.t, filepath.Join(p.services, service), more+"auth required "+line+"account required "+line)
}

// check runs "pam check".
func (p *pamSite) check(stdin, service, user string, more ...string) result {
	p.t.Helper()
	return p.run(stdin, append([]string{"pam", "check", service, user, "--pam-dir", p.services, "--program", p.program}, more...)...)
}

// wantCheck is check, and compares how it ends.
func (p *pamSite) wantCheck(code int, says, stdin, service, user string, more ...string) {
	p.t.Helper()
	if r := p.check(stdin, service, user, more...); r.code != code || !strings.Contains(r.out+r.err, says) {
		p.t.Errorf("pam check %s %s: %s\nwant exit code %d and %q", service, user, r, code, says)
	}
}

// "pam check" has a real conversation, with the real module, and says what to do.
func TestPAMCheck(t *testing.T) {
	t.Parallel()
	p := newPAMSite(t)
	p.start()
	text := p.enroll(alain).first.Password
	p.wantCheck(1, "the service is not one where app passwords count", text, "sshd", alain)
	p.wantCheck(2, `the service "sshd" is not listed in [pam] services of `+p.config(), text, "sshd", alain, "--config", p.config())
	p.edit(`socket = "pam.sock"`, "socket = \"pam.sock\"\nservices = [\"sshd\", \"jump\", \"end\", \"yes\"]")
	p.ok("", "reload")
	p.wantCheck(0, "Keywicket granted it", text+"\n", "sshd", alain, "--rhost", "192.0.2.7")
	p.wantCheck(0, `"sshd" lets `+alain+" in", text, "sshd", alain, "--config", p.config())
	if r := p.run("", "why", alain); !strings.Contains(r.out, "pam/sshd from 192.0.2.7, device 192.0.2.7") {
		t.Errorf("why: %s", r)
	}
	writeFile(t, filepath.Join(p.services, "local"), "auth required pam_deny.so\naccount required pam_permit.so\n")
	included := filepath.Join(p.services, "sshd") // whole: libpam 1.5 looks for others in /etc/pam.d
	writeFile(t, filepath.Join(p.services, "including"), "auth include "+included+"\naccount substack "+included+"\n")
	p.stack("before", "auth requisite pam_deny.so\n")
	p.stack("option", "", "no_such_option")
	typo := filepath.Join(p.services, "typo")
	writeFile(t, typo, strings.Replace(readFile(t, included), "auth required", "auth suficient", 1))
	writeFile(t, filepath.Join(p.services, "gone"), "auth required /nowhere/pam_keywicket.so\n")
	writeFile(t, p.path("sleep"), "#!/bin/sh\nexec sleep 20\n")
	must(t, os.Chmod(p.path("sleep"), 0o700))
	jump := func(service, over, behind string) string {
		path := filepath.Join(p.services, service)
		writeFile(t, path, strings.Replace(readFile(t, included), "auth required", "auth [success="+over+" default=bad]", 1)+behind)
		return path
	}
	jumping := jump("jump", "2", "auth requisite pam_deny.so\n")
	ending := jump("end", "1", "auth requisite pam_deny.so\n")
	jump("yes", "1", "auth requisite pam_deny.so\nauth required pam_permit.so\n")
	p.stack("slow", "auth optional pam_exec.so quiet "+p.path("sleep")+"\n")
	var all sync.WaitGroup // libpam holds each refusal up
	for _, tt := range []struct {
		code                          int
		says, stdin, service, account string
		more                          []string
	}{
		{1, "Keywicket refused it (wrong)", "kfmwtbrqhjaxpdnesgcy", "sshd", alain, nil},
		{1, "Keywicket refused it (unknown-account)", text, "sshd", "nobody@contoso.com", nil},
		{1, "the user \"root\" has the id 0, and the module asks about nobody below 1000", text, "sshd", "root", nil},
		{2, `there is no PAM service "none"`, text, "none", alain, nil},
		{2, "is no PAM service", text, "../sshd", alain, nil},
		{1, "standard input is empty", "", "sshd", alain, nil},
		{2, "does not stand in the auth part", text, "local", alain, nil},
		{1, "Keywicket refused it (out-of-scope)", text, "including", alain, nil}, // found, and by its own name
		{1, "Keywicket was not asked", text, "before", alain, nil},
		{2, `the module has no option "no_such_option"`, text, "option", alain, nil},
		{2, typo + ":1: libpam knows no \"suficient\"; did you mean sufficient?", text, "typo", alain, nil},
		{2, jumping + ":1: success=2 jumps too far: the lines of auth behind it are 1", text, "jump", alain, nil},
		{1, ending + ":1: the jump leaves out all that follows, and is no yes by itself", text, "end", alain, nil},
		{0, "Keywicket granted it", text, "yes", alain, nil},
		{3, "could not be loaded", text, "gone", alain, nil}, // and its socket is not there either
		{3, "did not answer within", text, "slow", alain, []string{"--timeout", "1s"}},
	} {
		all.Go(func() { p.wantCheck(tt.code, tt.says, tt.stdin, tt.service, tt.account, tt.more...) })
	}
	all.Wait()
	p.jumps()

	var out struct {
		Result, Step, Code string
		Said, Findings     []string
		Attempt            struct{ Result, Service string }
	}
	r := p.check(text, "sshd", alain, "--json")
	must(t, json.Unmarshal([]byte(r.out), &out))
	if r.code != 0 || out.Result != "granted" || out.Step != "account" || out.Code != "PAM_SUCCESS" || out.Attempt.Result != "granted" || out.Attempt.Service != "pam/sshd" {
		t.Errorf("--json: %s", r)
	}
	p.ok("", "user", "disable", alain)
	p.wantCheck(1, "Keywicket refused it (account-disabled)", text, "sshd", alain)
	p.stop()
	p.wantCheck(3, "is not there: is the daemon running", text, "sshd", alain)
	must(t, os.Chmod(p.program, 0o777))
	p.wantCheck(3, "could be changed by others than root", text, "sshd", alain)
	must(t, os.Remove(p.program))
	p.wantCheck(3, "no such file", text, "sshd", alain)
}

// jumps: a jump over more lines than follow is told, and is what libpam refuses.
func (p *pamSite) jumps() {
	p.t.Helper()
	var all sync.WaitGroup
	const permit = "auth required pam_permit.so\n"
	one, two := "auth [success=1 default=ignore] pam_permit.so\n", "auth [default=ignore success=2] pam_permit.so\n"
	for i, tt := range []struct{ x, sub, want string }{
		{permit + one + permit, "", ""},
		{permit + two + permit, "", "x:2: success=2 jumps too far: the lines of auth behind it are 1"},
		{permit + one + "account required pam_permit.so\n", "", "x:2: success=1 jumps too far: the lines of auth behind it are 0"},
		{permit + "auth [success=ok default=3] pam_deny.so\n" + permit + "-auth required pam_none.so\n", "", "x:2: default=3 jumps too far: the lines of auth behind it are 2"},
		{permit + two + "auth include SUB\n", permit + "account required pam_deny.so\n" + permit, ""},
		{permit + two + "@include SUB\n", permit + "account required pam_deny.so\n", "x:2: success=2 jumps too far: the lines of auth behind it are 1"},
		{permit + "auth include SUB\n" + permit, one, ""},
		{permit + "@include SUB\n", one, "sub:1: success=1 jumps too far"},
		{permit + one + "auth substack SUB\n", "auth required pam_deny.so\n" + permit, ""},
		{permit + two + "auth substack SUB\n", permit + permit, "x:2: success=2 jumps too far"},
		{permit + two + "auth substack SUB\n" + permit, "auth required pam_deny.so\n", ""},
		{permit + "auth substack SUB\n" + permit, one, "sub:1: success=1 jumps too far"},
		{permit + "auth substack SUB\n" + permit, one + permit, ""},
	} {
		x, sub := fmt.Sprintf("jumps%d", i), filepath.Join(p.services, fmt.Sprintf("sub%d", i)) // whole: libpam 1.5 looks for others in /etc/pam.d
		writeFile(p.t, filepath.Join(p.services, x), strings.ReplaceAll(tt.x, "SUB", sub)+"account required pam_permit.so\n")
		writeFile(p.t, sub, tt.sub)
		code, want := 2, strings.NewReplacer("x:", x+":", "sub:", filepath.Base(sub)+":").Replace(tt.want)
		if want == "" {
			code = 0
		}
		all.Go(func() {
			r := p.check("any", x, "root")
			if r.code != code || !strings.Contains(r.out, want) || strings.Contains(r.out, "jumps too far") != (want != "") {
				p.t.Errorf("%q and %q: %s\nwant exit code %d and %q", tt.x, tt.sub, r, code, want)
			}
		})
	}
	all.Wait()
}

// The bridge as a whole: figures, status, and a reload while others sign in.
func TestPAMBridge(t *testing.T) {
	needRoot(t)
	s := startSite(t, "[pam]", `socket = "pam.sock"`, `services = ["sshd", "ftp"]`)
	text := s.enroll(alain).first.Password
	sock := s.path("pam.sock")
	info, err := os.Lstat(sock)
	must(t, err)
	if info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v", info.Mode())
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for n := 0; ; n++ {
				if v := askPAM(t, sock, "sshd", alain, text); v != 1 {
					t.Errorf("while it was read again: verdict %d", v)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 5 {
		s.edit(`services = ["sshd", "ftp"]`, `services = ["dovecot", "sshd"]`)
		s.ok("", "reload")
		s.edit(`services = ["dovecot", "sshd"]`, `services = ["sshd", "ftp"]`)
		s.ok("", "reload")
	}
	close(done)
	all.Wait()
	if v := askPAM(t, sock, "dovecot", alain, text); v != 2 {
		t.Errorf("a service that is not listed: %d", v)
	}
	var status struct {
		Bridges map[string]struct {
			Addresses []string
			Counters  map[string]uint64
		}
	}
	s.decode(&status, "", "status")
	if b := status.Bridges["pam"]; len(b.Addresses) != 1 || b.Addresses[0] != sock || b.Counters["allow"] < 4 || b.Counters["deny"] != 1 {
		t.Errorf("status: %+v", b)
	}
	s.edit(`socket = "pam.sock"`, `socket = "other.sock"`)
	s.refused(2, "this cannot change while running", "", "reload")
	s.edit(`socket = "other.sock"`, `socket = "pam.sock"`)
	s.stop()
	if _, err := os.Lstat(sock); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}

// What Prometheus is told of PAM.
func TestPAMMetrics(t *testing.T) {
	needRoot(t)
	address := freePort(t)
	s := startSite(t, "[metrics]", `listen = "`+address+`"`, "[pam]", `socket = "pam.sock"`, `services = ["sshd"]`)
	text := s.enroll(alain).first.Password
	askPAM(t, s.path("pam.sock"), "sshd", alain, text)
	askPAM(t, s.path("pam.sock"), "su", alain, text)
	r, err := http.Get("http://" + address + "/metrics")
	must(t, err)
	defer r.Body.Close()
	page, err := io.ReadAll(r.Body)
	must(t, err)
	for _, want := range []string{
		`keywicket_attempts_total{bridge="pam",method="cleartext",reason="",result="granted"} 1`,
		`keywicket_attempts_total{bridge="pam",method="cleartext",reason="out-of-scope",result="refused"} 1`,
		`keywicket_attempt_duration_seconds_count{bridge="pam"} 1`,
		`keywicket_pam_requests_total{answer="allow"} 1`, `keywicket_pam_requests_total{answer="deny"} 1`,
		`keywicket_pam_closed_total{reason="malformed"} 0`,
	} {
		if !strings.Contains(string(page), want+"\n") {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
}

// askPAM asks as the module does, octet by octet of the wire, and returns the
// verdict; 0 is none.
func askPAM(t testing.TB, sock, service, user, password string) byte {
	t.Helper()
	conn, err := net.Dial("unix", sock)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	body := "\x01\x01" + "0123456789abcdef"
	for _, field := range []string{service, user, "192.0.2.7", "ssh", password} {
		body += string([]byte{byte(len(field) >> 8), byte(len(field))}) + field
	}
	_, err = io.WriteString(conn, string([]byte{0, 0, byte(len(body) >> 8), byte(len(body))})+body)
	must(t, err)
	reply, err := io.ReadAll(conn)
	must(t, err)
	if want := "\x00\x00\x00\x13\x01\x81" + "0123456789abcdef"; len(reply) != 23 || string(reply[:22]) != want {
		return 0
	}
	return reply[22]
}

// A socket that the service manager made is served, stays when the daemon ends,
// and goes to no program of a later start.
func TestPAMSocketActivation(t *testing.T) {
	needRoot(t)
	s := newSite(t, "[pam]", `socket = "not-used.sock"`, `services = ["sshd"]`)
	given := filepath.Join(shortDir(t), "given.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: given, Net: "unix"})
	must(t, err)
	defer l.Close()
	file, err := l.File()
	must(t, err)
	defer file.Close()
	for range 2 {
		// The shell knows its number before it becomes the daemon.
		c := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=other:pam exec keywicket serve --config "$0" 2>>"$1"`, s.config(), s.path("stderr.log"))
		null, err := os.Open(os.DevNull)
		must(t, err)
		c.ExtraFiles = []*os.File{null, file}
		s.daemon = start(t, c)
		must(t, null.Close())
		var text string
		until(t, "the daemon answers", func() bool { return s.run("", "status").code == 0 })
		if r := s.run("", "app-password", "list", alain); r.code != 0 {
			text = s.enroll(alain).first.Password
			if v := askPAM(t, given, "sshd", alain, text); v != 1 {
				t.Errorf("verdict %d", v)
			}
		} else if v := askPAM(t, given, "sshd", alain, "kfmwtbrqhjaxpdnesgcy"); v != 2 {
			t.Errorf("after a restart: verdict %d", v)
		}
		if _, err := os.Lstat(s.path("not-used.sock")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a second socket was made: %v", err)
		}
		s.stop()
		if _, err := os.Lstat(given); err != nil {
			t.Errorf("the service manager's socket is gone: %v", err)
		}
	}
	c := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=pam exec keywicket serve --config "$0"`, s.config())
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	c.ExtraFiles = []*os.File{null}
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), `the socket "pam" of the service manager`) {
		t.Errorf("no socket: %v\n%s", err, out)
	}
}
