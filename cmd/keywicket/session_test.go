package main_test

import (
	"crypto/md5"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const recorded = "Accounting-Response"

// class returns the Class of an Access-Accept as it goes back in accounting.
func (a answer) class() string {
	if m := regexp.MustCompile(`\tClass = (0x[0-9a-f]+)\n`).FindStringSubmatch(a.text); m != nil {
		return "Class = " + m[1]
	}
	return `Class = "none came"`
}

// account sends one Accounting-Request, which must be recorded.
func (s *site) account(status string, attributes ...string) {
	s.t.Helper()
	if a := s.accountWith(nil, status, attributes...); a.code != recorded {
		s.t.Errorf("%s %q: %s\n%s\n%s", status, attributes, a.code, a.text, s.log())
	}
}

func (s *site) accountWith(options []string, status string, attributes ...string) answer {
	s.t.Helper()
	all := append([]string{"Acct-Status-Type = " + status, "NAS-IP-Address = 192.0.2.10"}, attributes...)
	return s.radclientWith(append([]string{"-r", "1", "-t", "60"}, options...), all...)
}

// newSessionSite is a site with accounting, whose client takes
// Disconnect-Requests at an address. Nothing is started.
func newSessionSite(t *testing.T, disconnect string, more ...string) *site {
	t.Helper()
	needRadclient(t)
	s := newSite(t, more...)
	s.edit(`#accounting = ["127.0.0.1:1813"]`, `accounting = ["127.0.0.1:0"]`)
	s.edit("[radius.client.vpn1]\n", "[radius.client.vpn1]\ndisconnect = \""+disconnect+"\"\n")
	return s
}

type listed struct {
	Account     string
	AppPassword struct{ ID, Name string } `json:"app_password"`
	Client      string
	Device      string
	Address     string
	Since       time.Time
	OctetsIn    uint64 `json:"octets_in"`
	OctetsOut   uint64 `json:"octets_out"`
	Ending      *struct {
		Outcome, Detail string
		Asked           time.Time
	}
}

func (s *site) sessions(account ...string) []listed {
	s.t.Helper()
	var all []listed
	s.decode(&all, "", append([]string{"session", "list"}, account...)...)
	return all
}

// What radclient tells of a session is listed (design, section 13), after a kill
// too, and until it is over or its client began anew.
func TestSessionList(t *testing.T) {
	t.Parallel()
	s := newSessionSite(t, "off")
	s.start()
	o := s.enroll(alain)
	s.enroll(beate)
	class := s.expect(accept, alain, o.first.Password).class()
	id := `Acct-Session-Id = "0000000A"`
	s.account("Start", id, class, `Calling-Station-Id = "00-11-22-AA-BB-CC"`, "Framed-IP-Address = 10.0.0.5", userName("ignored"))
	s.account("Interim-Update", id, class, "Acct-Input-Octets = 5", "Acct-Input-Gigawords = 1", "Acct-Output-Octets = 7", "Message-Authenticator = 0x00")
	s.account("Start", `Acct-Session-Id = "foreign"`, `Class = 0x0102`, userName(alain))
	if out := s.ok("", "session", "list"); !regexp.MustCompile(`(?m)^alain@contoso.com +First app password +vpn1 +00:11:22:aa:bb:cc +10.0.0.5 +\S+ \S+ +4.0 GiB +7 B$`).MatchString(out) {
		t.Errorf("listed as\n%s", out)
	}
	s.crash() // what was answered is there
	all := s.sessions(alain)
	if len(all) != 1 {
		t.Fatalf("after a kill: %+v", all)
	}
	l := all[0]
	if l.Account != alain || l.AppPassword.ID != o.first.ID || l.AppPassword.Name != o.first.Name || l.Client != "vpn1" ||
		l.Device != "00:11:22:aa:bb:cc" || l.Address != "10.0.0.5" || time.Since(l.Since) > time.Hour || l.Ending != nil {
		t.Errorf("listed as %+v", l)
	}
	if n := len(s.sessions(beate)); n != 0 {
		t.Errorf("somebody else has %d", n)
	}
	s.refused(1, "there is no account", "", "session", "list", "nobody")
	s.account("Stop", id, class)
	if all := s.sessions(); len(all) != 0 {
		t.Errorf("after the end: %+v", all)
	}
	s.account("Start", `Acct-Session-Id = "2"`, s.expect(accept, alain, o.first.Password).class())
	s.account("Accounting-On")
	if all := s.sessions(); len(all) != 0 {
		t.Errorf("after a restart of the client: %+v", all)
	}
	writeFile(t, s.path("wrong.secret"), "not the shared secret at all")
	if a := s.accountWith([]string{"-t", "1", "-S", s.path("wrong.secret")}, "Start", id, class); a.code != silence {
		t.Errorf("with another secret: %s", a.code)
	}
	if a := s.radclientStatus(); a != recorded {
		t.Errorf("Status-Server: %s", a)
	}
}

// radclientStatus asks the port for accounting whether it is there.
func (s *site) radclientStatus() string {
	s.t.Helper()
	c := exec.Command("radclient", "-x", "-r", "1", "-t", "60", "-S", s.path("vpn1.secret"), s.accounting, "status")
	c.Stdin = strings.NewReader("Message-Authenticator = 0x00\n")
	out, _ := c.CombinedOutput()
	if m := regexp.MustCompile(`(?m)^Received (\S+) Id`).FindStringSubmatch(string(out)); m != nil {
		return m[1]
	}
	return string(out)
}

// startFreeRADIUS starts FreeRADIUS as a device that ends sessions, and returns
// its log.
func startFreeRADIUS(t *testing.T, address, secret string) (log string) {
	t.Helper()
	if _, err := exec.LookPath("freeradius"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("freeradius is missing: apt-get install freeradius")
		}
		t.Skip("freeradius is missing: apt-get install freeradius")
	}
	dir := t.TempDir()
	host, port, err := net.SplitHostPort(address)
	must(t, err)
	writeFile(t, filepath.Join(dir, "radiusd.conf"), fmt.Sprintf(`
libdir = /usr/lib/freeradius
run_dir = %[1]s
logdir = %[1]s
raddbdir = %[1]s
pidfile = %[1]s/pid
log {
	destination = stdout
}
client keywicket {
	ipaddr = 127.0.0.1
	secret = %[2]s
	require_message_authenticator = yes
}
modules {
}
server coa {
	listen {
		type = coa
		ipaddr = %[3]s
		port = %[4]s
	}
	recv-coa {
	}
	send-coa {
	}
}
`, dir, secret, host, port))
	log = filepath.Join(dir, "log")
	f, err := os.Create(log)
	must(t, err)
	defer f.Close()
	c := exec.Command("freeradius", "-f", "-X", "-d", dir, "-n", "radiusd")
	c.Stdout, c.Stderr = f, f
	p := start(t, c)
	until(t, "FreeRADIUS is ready", func() bool {
		if p.hasEnded() {
			t.Fatalf("FreeRADIUS ended:\n%s", readFile(t, log))
		}
		return strings.Contains(readFile(t, log), "Ready to process requests")
	})
	return log
}

// freeUDP returns a UDP port of 127.0.0.1 that nobody uses at the moment.
func freeUDP(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer conn.Close()
	return conn.LocalAddr().String()
}

// Whatever takes an app password away ends its sessions at the device, here
// FreeRADIUS, which checks both signatures; that is told by the command and the
// audit.
func TestDeletingEndsSessions(t *testing.T) {
	nas := freeUDP(t)
	s := newSessionSite(t, nas)
	log := startFreeRADIUS(t, nas, s.secret("vpn1"))
	s.start()
	o := s.enroll(alain)
	use := func(made issued, ids ...string) {
		t.Helper()
		for _, id := range ids {
			s.account("Start", fmt.Sprintf("Acct-Session-Id = %q", id), s.expect(accept, alain, made.Password).class(), userName(alain), `Calling-Station-Id = "device `+id+`"`)
		}
	}
	tv, phone, laptop := s.create(alain, "tv"), s.create(alain, "phone"), s.create(alain, "laptop")
	use(tv, "tv1", "tv2")
	use(phone, "phone1")
	use(laptop, "laptop1")
	use(o.first, "first1")
	if out := s.ok("", "app-password", "delete", alain, "tv", "--yes"); out != fmt.Sprintf("Deleted: \"tv\" (id %s); 2 sessions ended\n", tv.ID) {
		t.Errorf("delete says %q", out)
	}
	var changed []struct {
		ID       string
		Sessions []struct{ Client, Device, Outcome, Detail string }
	}
	s.decode(&changed, "", "app-password", "suspend", alain, "phone")
	if c := changed[0]; c.ID != phone.ID || len(c.Sessions) != 1 || c.Sessions[0].Outcome != "ended" || c.Sessions[0].Client != "vpn1" || c.Sessions[0].Device != "device phone1" {
		t.Errorf("suspend --json says %+v", changed)
	}
	if all := s.sessions(); len(all) != 2 {
		t.Errorf("left are %+v", all)
	}
	if out := s.ok("", "user", "disable", alain); !strings.Contains(out, "; 2 sessions ended") {
		t.Errorf("disable says %q", out)
	}
	if all := s.sessions(); len(all) != 0 {
		t.Errorf("left are %+v", all)
	}
	until(t, "the audit tells of all", func() bool { return strings.Count(s.audit(), `"event":"session-ended"`) == 5 })
	text := readFile(t, log)
	if n := strings.Count(text, "Sent Disconnect-ACK"); n != 5 {
		t.Errorf("FreeRADIUS ended %d, want 5:\n%s", n, text)
	}
	for _, want := range []string{`Acct-Session-Id = "tv1"`, `User-Name = "` + alain + `"`, `NAS-IP-Address = 192.0.2.10`, `Calling-Station-Id = "device tv1"`, "Event-Timestamp = "} {
		if !strings.Contains(text, want) {
			t.Errorf("FreeRADIUS was not told %s", want)
		}
	}
}

// A deletion is durable before a device is asked, and does not wait for one
// that is silent, which stays in the list.
func TestDeletingDoesNotWaitForASilentDevice(t *testing.T) {
	t.Parallel()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	s := newSessionSite(t, silent.LocalAddr().String())
	s.start()
	o := s.enroll(alain)
	s.account("Start", `Acct-Session-Id = "1"`, s.expect(accept, alain, o.first.Password).class())
	out := make(chan string)
	go func() {
		out <- s.run("", "app-password", "delete-all", alain, "--yes").out
	}()
	must(t, silent.SetReadDeadline(time.Now().Add(patience)))
	_, _, err = silent.ReadFrom(make([]byte, 4096))
	must(t, err)
	s.expect(reject, alain, o.first.Password)
	if said := <-out; !strings.Contains(said, "; vpn1 did not answer yet") {
		t.Errorf("it says %q", said)
	}
	s.wantNotEnded("waiting", "", "did not answer yet and is asked again")
	until(t, "the audit tells of it", func() bool { return strings.Contains(s.audit(), `"event":"session-not-ended"`) })
	s.wantNotEnded("unanswered", "", "did not answer")
}

// wantNotEnded wants one session of alain that was to be ended, with that for
// programs, and that for people at the end of its line.
func (s *site) wantNotEnded(outcome, detail, text string) {
	s.t.Helper()
	all := s.sessions(alain)
	if len(all) != 1 {
		s.t.Fatalf("%d sessions are listed, want the one that goes on", len(all))
	}
	if n := all[0].Ending; n == nil || n.Outcome != outcome || n.Detail != detail || time.Since(n.Asked) > time.Hour {
		s.t.Errorf("listed as %+v, want %s (%s)", n, outcome, detail)
	}
	if out := s.ok("", "session", "list"); !strings.HasSuffix(out, " "+text+"\n") || !strings.Contains(out, "NOT ENDED\n") {
		s.t.Errorf("listed as\n%s", out)
	}
}

// A device that refuses to end a session stays in the list, with what it says.
func TestListTellsWhoRefused(t *testing.T) {
	t.Parallel()
	nas, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer nas.Close()
	s := newSessionSite(t, nas.LocalAddr().String())
	s.start()
	go refuseDisconnects(nas, s.secret("vpn1"))
	o := s.enroll(alain)
	s.account("Start", `Acct-Session-Id = "1"`, s.expect(accept, alain, o.first.Password).class())
	if out := s.ok("", "app-password", "delete-all", alain, "--yes"); !strings.HasSuffix(out, "; vpn1 refused (Administratively-Prohibited)\n") {
		t.Errorf("it says %q", out)
	}
	s.wantNotEnded("refused", "Administratively-Prohibited", "refused (Administratively-Prohibited)")
}

// refuseDisconnects answers each Disconnect-Request with a Disconnect-NAK and
// Error-Cause 501 (RFC 5176, section 3.5), until conn is closed.
func refuseDisconnects(conn net.PacketConn, secret string) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		nak := append([]byte{42, buf[1], 0, 26}, buf[4:min(n, 20)]...)
		nak = append(nak, 101, 6, 0, 0, 1, 0xF5)
		sum := md5.Sum(append(slices.Clone(nak), secret...))
		copy(nak[4:], sum[:])
		if _, err := conn.WriteTo(nak, from); err != nil {
			return
		}
	}
}
