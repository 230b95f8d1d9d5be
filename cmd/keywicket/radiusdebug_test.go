package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/bridges/radius"
)

// A watch is a running "keywicket radius debug".
type watch struct {
	t     testing.TB
	p     *process
	lines chan string
}

func (s *site) debug(args ...string) *watch {
	s.t.Helper()
	c := exec.Command("keywicket", append([]string{"radius", "debug"}, args...)...)
	c.Env = append(os.Environ(), "KEYWICKET_SOCKET="+s.socket())
	from, to, err := os.Pipe()
	must(s.t, err)
	c.Stdout = to
	w := &watch{t: s.t, p: start(s.t, c), lines: make(chan string, 1000)}
	must(s.t, to.Close())
	go func() {
		defer close(w.lines)
		defer from.Close()
		for in := bufio.NewReader(from); ; {
			text, err := in.ReadString('\n')
			if err != nil {
				return
			}
			w.lines <- text
		}
	}()
	return w
}

// next returns what is printed up to a line with word in it.
func (w *watch) next(word string) string {
	w.t.Helper()
	var seen strings.Builder
	timeout := time.After(patience)
	for {
		select {
		case text, ok := <-w.lines:
			seen.WriteString(text)
			if strings.Contains(text, word) {
				return seen.String()
			}
			if !ok {
				w.t.Fatalf("it ended before %q:\n%s", word, seen.String())
			}
		case <-timeout:
			w.t.Fatalf("waited in vain for %q:\n%s", word, seen.String())
		}
	}
}

// Live packets, each with what was decided and why; no secret; who is not a
// client, whose secret is another one and who signs nothing are told apart.
func TestRadiusDebug(t *testing.T) {
	s := newChallengeSite(t)
	writeFile(t, s.path("plain.secret"), "the secret of a plain client\n")
	s.add("[radius.client.plain]", `address = ["127.0.0.3"]`, `secret_file = "plain.secret"`)
	s.start()
	o := s.enroll(alain)
	vpn := s.create(alain, "Laptop", "--profile", "vpn")

	w := s.debug()
	all := w.next("Waiting for packets")
	see := func(words ...string) {
		t.Helper()
		seen := w.next(words[len(words)-1])
		for _, word := range words {
			if !strings.Contains(seen, word) {
				t.Errorf("want %q in:\n%s", word, seen)
			}
		}
		all += seen
	}
	s.expect(accept, alain, o.first.Password, "Calling-Station-Id = 00-11-22-AA-BB-CC")
	see("Access-Request from 127.0.0.1:", "(client vpn1)", `User-Name = "`+alain+`"`, "User-Password = (32 octets)", `Calling-Station-Id = "00-11-22-AA-BB-CC"`,
		"Access-Accept: granted with the app password", "Message-Authenticator = (16 octets)", "Class = (")
	s.expect(reject, alain, "wrong")
	see("Access-Reject: wrong: the password belongs to no app password of this account")
	s.expect(reject, o.first.Password, o.first.Password)
	see(`User-Name = "[app password]"`, "unknown-account")
	s.radtest(vpn.Password)
	see("MS-CHAP-Response = (50 octets)", "MS-CHAPv1 is never taken: one recorded answer gives its NT hash away. Set the device to PAP, or to MS-CHAPv2")
	if r := s.probe(alain, vpn.Password, "mschapv2"); r.code != 0 {
		t.Errorf("MS-CHAPv2: %s", r)
	}
	see("MS-CHAP2-Response = (50 octets)", `granted with the app password "Laptop"`, "MS-CHAP2-Success = (", "MS-MPPE-Recv-Key = (")

	silent := func(from, secret string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if code, err := s.exchange(ctx, from, secret, alain, vpn.Password); err == nil {
			t.Errorf("from %s: %v", from, code)
		}
	}
	silent("127.0.0.2", s.secret("vpn1"))
	see("silence: 127.0.0.2 is not a client")
	silent("127.0.0.3", s.secret("vpn1"))
	see("silence: plain's packets fail their Message-Authenticator: the shared secret differs")
	s.unsigned(silence, alain, vpn.Password)
	see("silence: vpn1's packets carry no Message-Authenticator", `or "auto" in [radius.client.vpn1]`)
	s.edit("[radius.client.vpn1]", "[radius.client.vpn1]\nrequire_message_authenticator = false")
	s.reload()
	s.unsigned(accept, alain, vpn.Password)
	see(`granted with the app password "Laptop"`)
	writeFile(t, s.path("vpn1.secret"), "another secret than the daemon's\n")
	s.unsigned(silence, alain, vpn.Password) // a Reject, signed with the other secret
	see("Access-Reject", "its User-Password is no text: most likely the shared secret of vpn1 differs")

	for _, secret := range []string{o.first.Password, vpn.Password, s.secret("plain"), "wrong\n"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is shown:\n%s", secret, all)
		}
	}
	w.p.signal(t, syscall.SIGINT)
	if code := w.p.wait(t); code != 0 {
		t.Errorf("interrupted: exit code %d", code)
	}
}

// unsigned signs in without Message-Authenticator.
func (s *site) unsigned(want, name, password string) {
	s.t.Helper()
	wait := "60"
	if want == silence {
		wait = "0.3"
	}
	c := exec.Command("radclient", "-x", "-r", "1", "-t", wait, "-S", s.path("vpn1.secret"), s.radius, "auth")
	c.Stdin = strings.NewReader(userName(name) + ", " + userPassword(password) + "\n")
	out, _ := c.CombinedOutput()
	if got := string(out); strings.Contains(got, accept) != (want == accept) {
		s.t.Errorf("unsigned, want %s:\n%s", want, got)
	}
}

// Filters, JSON, and how it ends.
func TestRadiusDebugFilters(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	w := s.debug("--json", "--user", strings.ToUpper(alain), "--client", "vpn1")
	first := ""
	until(t, "something is seen", func() bool { // nothing tells when it looks on
		s.expect(reject, beate, "wrong")
		s.expect(accept, alain, o.first.Password)
		select {
		case first = <-w.lines:
			return true
		default:
			return false
		}
	})
	var p struct {
		Client, Code, Result, Sentence string
		Attributes                     []struct{ Name, Value string }
		AppPassword                    *struct{ ID string } `json:"app_password"`
	}
	if err := json.Unmarshal([]byte(first), &p); err != nil || p.Client != "vpn1" || p.Code != "Access-Request" || p.Result != "Access-Accept" || p.AppPassword == nil || p.AppPassword.ID != o.first.ID || len(p.Attributes) < 3 {
		t.Errorf("%v: %s", err, first)
	}
	if strings.Contains(first, beate) {
		t.Errorf("the filter lets others through: %s", first)
	}
	if r := s.refused(1, "has no client", "", "radius", "debug", "--client", "vpn9"); r.out != "" {
		t.Errorf("it says that it waits: %s", r)
	}
	s.daemon.signal(t, syscall.SIGTERM)
	if code := s.daemon.wait(t); code != 0 {
		t.Errorf("the daemon: exit code %d", code)
	}
	if code := w.p.wait(t); code != 3 {
		t.Errorf("after the daemon has stopped: exit code %d", code)
	}
	s.refused(3, "no daemon", "", "radius", "debug")
}

// Every reason to drop a packet stands in the manual of operation, where who
// reads it in status finds what to do.
func TestDropReasonsAreExplained(t *testing.T) {
	manual := readFile(t, "../../contrib/docs/operation.md")
	for _, reason := range radius.DropReasons() {
		if !regexp.MustCompile("(?m)^\\|[^|]*`" + reason + "`").MatchString(manual) {
			t.Errorf("contrib/docs/operation.md does not explain %s", reason)
		}
	}
}
