package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// newChallengeSite has a profile with every method, and a client that may use
// them all.
func newChallengeSite(t *testing.T) *site {
	t.Helper()
	needRadclient(t)
	s := newSite(t, `[profile.vpn]`, `services = ["radius/vpn*"]`, `methods = ["cleartext", "chap", "mschapv2"]`,
		`[profile.chap]`, `services = ["radius/*"]`, `methods = ["chap"]`)
	s.edit("[radius.client.vpn1]", "[radius.client.vpn1]\n"+everyMethod)
	return s
}

const everyMethod = "methods = [\"cleartext\", \"chap\", \"mschapv2\"]\nallow_insecure_mschap = true"

// probe runs "radius test" as the client vpn1.
func (s *site) probe(account, password, method string, more ...string) result {
	s.t.Helper()
	args := append([]string{"radius", "test", account, "--server", s.radius, "--secret-file", s.path("vpn1.secret"), "--method", method, "--timeout", "60s"}, more...)
	return s.run(password+"\n", args...)
}

// Every method with the app password of many that it fits, by clients of
// others; and what is written of it (R14, R17).
func TestChallengeMethods(t *testing.T) {
	s := newChallengeSite(t)
	s.start()
	o := s.enroll(alain)
	vpn, chap := s.create(alain, "Laptop", "--profile", "vpn"), s.create(alain, "Switch", "--profile", "chap")
	for i := range 10 {
		s.create(alain, fmt.Sprint("Device ", i), "--profile", "vpn")
	}
	for _, tt := range []struct {
		password, want, reason string
		attributes             []string
	}{
		{vpn.Password, accept, "", []string{`CHAP-Password = "%s"`}},
		{vpn.Password, accept, "", []string{`CHAP-Password = "%s"`, "CHAP-Challenge = 0x0123456789abcdef"}},
		{chap.Password, accept, "", []string{`CHAP-Password = "%s"`}},
		{chap.Password, reject, "method-not-enabled", []string{`User-Password = "%s"`}},
		{o.first.Password, reject, "wrong", []string{`CHAP-Password = "%s"`}}, // clear text alone
		{strings.ToUpper(vpn.Password), reject, "wrong", []string{`CHAP-Password = "%s"`}},
		{vpn.Password, reject, "method-not-enabled", []string{`MS-CHAP-Password = "%s"`}},
		{vpn.Password, reject, "malformed", []string{`CHAP-Password = "%s"`, `User-Password = "%[1]s"`}},
		{vpn.Password, reject, "malformed", []string{`CHAP-Password = "%s"`, "MS-CHAP-Challenge = 0x00", "MS-CHAP2-Response = 0x00"}},
	} {
		attributes := []string{userName(alain)}
		for _, a := range tt.attributes {
			if strings.Contains(a, "%") {
				a = fmt.Sprintf(a, tt.password)
			}
			attributes = append(attributes, a)
		}
		a := s.radclient(attributes...)
		if last := s.why(alain)[0]; a.code != tt.want || last.Reason != tt.reason {
			t.Errorf("%q: %s (%s), want %s (%s)\n%s", tt.attributes, a.code, last.Reason, tt.want, tt.reason, a.text)
		}
	}
	if out := s.ok("", "why", alain); !strings.Contains(out, "(mschapv1)\n    refused (method-not-enabled)") || !strings.Contains(out, "MS-CHAPv1 and changes of a password are never taken") {
		t.Errorf("why after MS-CHAPv1:\n%s", out)
	}
	s.radtest(vpn.Password)
	if r := s.probe(alain, vpn.Password, "mschapv2"); r.code != 0 {
		t.Errorf("MS-CHAPv2: %s", r)
	}
	var all []struct {
		Name    string
		LastUse *struct{ Method string } `json:"last_use"`
	}
	s.decode(&all, "", "app-password", "list", alain)
	for _, p := range all {
		used := map[string]string{"Laptop": "mschapv2", "Switch": "chap"}[p.Name]
		if (p.LastUse == nil) != (used == "") || p.LastUse != nil && p.LastUse.Method != used {
			t.Errorf("%s was used: %+v, want %q", p.Name, p.LastUse, used)
		}
	}
}

// radtest tries MS-CHAPv1, which is refused whatever the password is.
func (s *site) radtest(password string) {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.radius)
	must(s.t, err)
	c := exec.Command("radtest", "-t", "mschap", alain, password, "127.0.0.1:"+port, "0", s.secret("vpn1"))
	out, _ := c.CombinedOutput() // a Reject is exit 1
	if !strings.Contains(string(out), reject) {
		s.t.Errorf("radtest -t mschap: %s", out)
	}
	if last := s.why(alain)[0]; last.Reason != "method-not-enabled" || last.Method != "mschapv1" {
		s.t.Errorf("after radtest -t mschap: %+v", last)
	}
}

// What MS-CHAPv2 without a tunnel needs of a client, and the warning at every
// start and in status (R15).
func TestInsecureMSCHAP(t *testing.T) {
	s := newChallengeSite(t)
	s.start()
	s.enroll(alain)
	vpn := s.create(alain, "Laptop", "--profile", "vpn")
	const warning = "MS-CHAPv2 outside a tunnel: whoever captures"
	for start := 1; start <= 2; start++ {
		if n := strings.Count(s.log(), warning); n != start {
			t.Errorf("%d warnings after %d starts:\n%s", n, start, s.log())
		}
		s.restart()
	}
	if out := s.ok("", "status"); !strings.Contains(out, "allow_insecure_mschap") {
		t.Errorf("status:\n%s", out)
	}
	said := everyMethod
	for now, want := range map[string]int{
		"methods = [\"mschapv2\"]":                                1,
		"methods = [\"cleartext\"]\nallow_insecure_mschap = true": 1,
		"allow_insecure_mschap = true":                            0,
		"#":                                                       1,
	} {
		s.edit("[radius.client.vpn1]\n"+said, "[radius.client.vpn1]\n"+now)
		said = now
		s.reload()
		if r := s.probe(alain, vpn.Password, "mschapv2"); r.code != want {
			t.Errorf("with %q: %s", now, r)
		}
		if last := s.why(alain)[0]; want == 1 && (last.Reason != "method-not-enabled" || last.Method != "mschapv2") {
			t.Errorf("with %q: %+v", now, last)
		}
	}
}

// "radius test" with every method, right and wrong, by flags and by the
// configuration, and where nobody answers.
func TestRadiusTest(t *testing.T) {
	s := newChallengeSite(t)
	s.edit("[radius.client.vpn1]", "[radius.client.vpn1]\nreply = { \"Filter-Id\" = \"staff\" }")
	s.start()
	s.enroll(alain)
	vpn := s.create(alain, "Laptop", "--profile", "vpn")
	for _, method := range []string{"pap", "chap", "mschapv2"} {
		if r := s.probe(alain, vpn.Password, method); r.code != 0 || !strings.Contains(r.out, "Access-Accept from "+s.radius) || !strings.Contains(r.out, `Filter-Id = "staff"`) {
			t.Errorf("%s: %s", method, r)
		}
		if r := s.probe(alain, vpn.Password, method); strings.Contains(r.out, "authenticator response right, MPPE keys right") != (method == "mschapv2") {
			t.Errorf("%s: %s", method, r)
		}
		if r := s.probe(alain, "wrong", method); r.code != 1 || !strings.Contains(r.out, "Access-Reject") || r.err != "" {
			t.Errorf("%s, wrong: %s", method, r)
		}
		r := s.probe(alain, vpn.Password, method, "--json")
		var got struct {
			Result                 string
			Trusted                bool
			Milliseconds           float64
			Message_Authenticator  string
			Authenticator_Response string
			MPPE_Keys              string
			Attributes             []struct{ Name, Value string }
		}
		if err := json.Unmarshal([]byte(r.out), &got); err != nil || got.Result != "accept" || !got.Trusted || got.Message_Authenticator != "right" || got.Milliseconds <= 0 || len(got.Attributes) < 3 {
			t.Errorf("%s: %+v, %v: %s", method, got, err, r)
		}
		if mutual := method == "mschapv2"; (got.Authenticator_Response == "right") != mutual || (got.MPPE_Keys == "right") != mutual {
			t.Errorf("%s: %+v", method, got)
		}
	}
	by := func(args ...string) result {
		return s.run(vpn.Password+"\n", append([]string{"radius", "test", alain, "--timeout", "1s"}, args...)...)
	}
	if r := by("--client", "vpn1", "--config", s.config(), "--server", s.radius); r.code != 0 {
		t.Errorf("--client: %s", r)
	}
	writeFile(t, s.path("other.secret"), "another secret of 32 octets, or so\n")
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	must(t, closed.Close())
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	_, port, err := net.SplitHostPort(free.LocalAddr().String())
	must(t, errors.Join(err, free.Close()))
	other := newSite(t)
	other.edit(`listen = ["127.0.0.1:0"]`, `listen = ["127.0.0.1:`+port+`", "[::1]:`+port+`"]`)
	for _, c := range []struct{ name, address string }{{"second", "127.0.0.2"}, {"six", "::1"}, {"many", "127.0.8.0/24"}, {"far", "192.0.2.77"}, {"outer", "127.0.9.0/24"}, {"inner", "127.0.9.1"}} {
		other.add(other.ok("", "client", "new", c.name, "--address", c.address, "--config", other.config()))
	}
	other.start()
	o := other.enroll(alain)
	as := func(client string, more ...string) result {
		return other.run(o.first.Password+"\n", append([]string{"radius", "test", alain, "--client", client, "--timeout", "1s", "--config", other.config()}, more...)...)
	}
	for client, server := range map[string]string{"vpn1": "127.0.0.1:", "second": "127.0.0.1:", "six": "[::1]:", "many": "127.0.0.1:"} {
		if r := as(client); r.code != 0 || !strings.Contains(r.out, "Access-Accept from "+server+port) {
			t.Errorf("as the client %s: %s", client, r)
		}
	}
	if r := as("outer"); r.code != 3 || !strings.Contains(r.err, "no address of the client outer but of vpn1, so that silence") { // the longer prefix has the address that would be asked from
		t.Errorf("as a client whose address is another's: %s", r)
	}
	if r := other.run(o.first.Password+"\n", "radius", "test", alain, "--client", "vpn1"); r.code != 0 { // the daemon says which configuration
		t.Errorf("without --config: %s", r)
	}
	if r := as("far"); r.code != 3 || !strings.Contains(r.err, "no address of the client far but of vpn1, so that silence is what to expect") {
		t.Errorf("as a client elsewhere: %s", r)
	}
	for words, r := range map[string]result{
		"is no port":              by("--server", "127.0.0.1:99999", "--secret-file", s.path("vpn1.secret")),
		"is no time to wait":      s.run("x\n", "radius", "test", alain, "--server", s.radius, "--secret-file", s.path("vpn1.secret"), "--timeout", "0s"),
		"leave it or":             by("--server", s.radius, "--secret-file", s.path("vpn1.secret"), "--client", "vpn1"),
		"the name has 254 octets": s.run("x\n", "radius", "test", strings.Repeat("x", 254), "--server", s.radius, "--secret-file", s.path("vpn1.secret")),
		"no such file":            by("--server", s.radius, "--secret-file", s.path("absent")),
		"not cannot be reached":   by("--server", "[fe80::1]:1812", "--secret-file", s.path("vpn1.secret")),
	} {
		want := 2
		if short, is := strings.CutPrefix(words, "not "); is {
			words, want = short, 3
		}
		if r.code != want || !strings.Contains(r.err, words) {
			t.Errorf("want %d and %q: %s", want, words, r)
		}
	}
	for words, r := range map[string]result{
		"no answer, after":  by("--server", s.radius, "--secret-file", s.path("other.secret")),
		"nobody listens":    by("--server", closed.LocalAddr().String(), "--secret-file", s.path("other.secret")),
		"has no client":     by("--client", "vpn9", "--config", s.config()),
		"give --client, or": by("--server", s.radius),
		"is no method":      by("--server", s.radius, "--secret-file", s.path("vpn1.secret"), "--method", "mschap"),
	} {
		want := 2
		if strings.HasPrefix(words, "no") {
			want = 3
		}
		if r.code != want || !strings.Contains(r.err, words) {
			t.Errorf("want %d and %q: %s", want, words, r)
		}
	}
}
