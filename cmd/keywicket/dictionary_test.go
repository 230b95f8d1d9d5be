package main_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The administrator's own attributes go into answers, by reload too; and what
// does not fit is a fault with its place.
func TestOwnDictionary(t *testing.T) {
	needRadclient(t)
	s := newSite(t)
	s.edit("[radius]\n", "[radius]\ndictionary = [\"dictionary.acme\"]\n")
	s.add("[profile.default]", `reply = { "Acme-Level" = "high", "Tunnel-Private-Group-Id:1" = "42", "Cisco-AVPair" = ["a=1", "b=2"] }`)
	s.refused(2, "keywicket.toml:", "", "config", "check", s.config()) // it is not there yet
	const head = "VENDOR Acme 32473\nBEGIN-VENDOR Acme\nATTRIBUTE Acme-Level 2 integer\n"
	writeFile(t, s.path("dictionary.acme"), head+"VALUE Acme-Level low 1\nEND-VENDOR Acme\n")
	s.refused(2, `profile.default.reply.Acme-Level: Acme-Level: "high" is neither a number that fits nor one of low`, "", "config", "check", s.config())
	writeFile(t, s.path("dictionary.acme"), head+"VALUE Acme-Level high 4294967296\nEND-VENDOR Acme\n")
	s.refused(2, "dictionary.acme:4: 4294967296 does not fit; values of Acme-Level go up to 4294967295", "", "config", "check", s.config())
	writeFile(t, s.path("dictionary.acme"), head+"VALUE Acme-Level high 7\nSTRUCT Acme\nEND-VENDOR Acme\n")
	s.refused(2, `dictionary.acme:5: "STRUCT" begins no line of a dictionary`, "", "serve", "--config", s.config())
	writeFile(t, s.path("dictionary.acme"), head+"VALUE Acme-Level high 7\nEND-VENDOR Acme\n")
	s.start()
	o := s.enroll(alain)
	got := s.expect(accept, alain, o.first.Password)
	for _, want := range []string{"Tunnel-Private-Group-Id:1 = \"42\"", "Cisco-AVPair = \"a=1\"", "Cisco-AVPair = \"b=2\"", "Attr-26.32473.2 = 0x00000007"} {
		if !got.has(want) {
			t.Errorf("want %s in\n%s", want, got.text)
		}
	}
	if r := s.run(o.first.Password+"\n", "radius", "test", alain, "--server", s.radius, "--client", "vpn1", "--config", s.config()); r.code != 0 || !strings.Contains(r.out, "Acme-Level = high") {
		t.Errorf("radius test calls it otherwise: %s", r)
	}
	writeFile(t, s.path("dictionary.acme"), strings.Replace(head, "2 integer", "3 byte", 1)+"VALUE Acme-Level high 7\nEND-VENDOR Acme\n")
	s.reload()
	if got := s.expect(accept, alain, o.first.Password); !got.has("Attr-26.32473.3 = 0x07") {
		t.Errorf("after the reload\n%s", got.text)
	}
}

// A VLAN for one device: before everything that its profile says, kept when it
// is rotated, and no yes without it once its name is gone.
func TestReplyOfOneAppPassword(t *testing.T) {
	t.Parallel()
	needRadclient(t)
	s := newSite(t)
	s.edit("[radius]\n", "[radius]\ndictionary = [\"dictionary.acme\"]\n")
	s.add("[profile.default]", `reply = { "Tunnel-Private-Group-Id" = "1", "Filter-Id" = "all" }`)
	writeFile(t, s.path("dictionary.acme"), "ATTRIBUTE Acme-VLAN 250 integer\n")
	s.start()
	o := s.enroll(alain)
	s.refused(1, `"Tunel-Type" is no known attribute; is Tunnel-Type meant?`, "", "app-password", "create", alain, "--name", "TV", "--reply", "Tunel-Type=VLAN")
	s.refused(1, `"many" is no number`, "", "app-password", "create", alain, "--name", "TV", "--reply", "Acme-VLAN=many")
	s.refused(2, "is no attribute; write it as", "", "app-password", "create", alain, "--name", "TV", "--reply", "Acme-VLAN")
	tv := s.create(alain, "TV", "--reply", "Tunnel-Private-Group-Id=42", "--reply", "Acme-VLAN = 7")
	own := func(password string) {
		t.Helper()
		got := s.expect(accept, alain, password)
		for _, want := range []string{`Tunnel-Private-Group-Id:0 = "42"`, `Filter-Id = "all"`, "X-Ascend-Call-By-Call = 7"} {
			if !got.has(want) {
				t.Errorf("want %s in\n%s", want, got.text)
			}
		}
	}
	own(tv.Password)
	if got := s.expect(accept, alain, o.first.Password); !got.has(`Tunnel-Private-Group-Id:0 = "1"`) {
		t.Errorf("another app password has\n%s", got.text)
	}
	var all []struct {
		Name  string
		Reply []struct{ Name, Value string }
	}
	s.decode(&all, "", "app-password", "list", alain)
	for _, p := range all {
		if (len(p.Reply) == 2 && p.Reply[1].Name == "Acme-VLAN" && p.Reply[1].Value == "7") != (p.Name == "TV") || p.Reply == nil {
			t.Errorf("%+v", p)
		}
	}
	if out := s.ok("", "app-password", "list", alain); !strings.Contains(out, "Tunnel-Private-Group-Id=42, Acme-VLAN=7") {
		t.Error(out)
	}
	var rotated issued
	s.decode(&rotated, "", "app-password", "rotate", alain, "TV")
	s.restart()
	own(rotated.Password)

	writeFile(t, s.path("dictionary.acme"), "# nothing any more\n")
	s.reload()
	uses := s.uses(alain, "TV")
	if a := s.radclientWith([]string{"-r", "1", "-t", "1"}, userName(alain), userPassword(rotated.Password)); a.code != silence {
		t.Errorf("without its attribute: %s", a.text)
	}
	var attempts []struct {
		Result, Reason string
		AppPassword    struct{ Name string } `json:"app_password"`
	}
	s.decode(&attempts, "", "why", alain)
	if got := attempts[0]; got.Result != "refused" || got.Reason != "unavailable" || got.AppPassword.Name != "TV" || s.uses(alain, "TV") != uses {
		t.Errorf("what was met with silence is recorded as %+v, and used %d times after %d", got, s.uses(alain, "TV"), uses)
	}
	s.expect(accept, alain, o.first.Password)
	if out := s.ok("", "status"); !strings.Contains(out, "dropped, reply-unknown: 1") {
		t.Error(out)
	}
}

// Attributes that fit each by themselves and not together: that is told before, and
// what is met with silence is recorded as that, with its reason.
func TestRepliesThatDoNotFit(t *testing.T) {
	t.Parallel()
	needRadclient(t)
	s := newSite(t)
	lines := func(text string) string {
		var all []string
		for i := range 10 {
			all = append(all, fmt.Sprintf("\"%d%s\"", i, strings.Repeat(text, 239)))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	s.add("[profile.default]", `reply = { "Reply-Message" = `+lines("p")+` }`)
	s.edit("[radius.client.vpn1]\n", "[radius.client.vpn1]\n"+`reply = { "Filter-Id" = `+lines("c")+" }\n")
	if out := s.ok("", "config", "check", s.config()); !strings.Contains(out, `radius.client.vpn1.reply: there are 4840 octets of attributes (its own, those of the profile "default"), and`) {
		t.Error(out)
	}
	s.start()
	o := s.enroll(alain)
	if a := s.radclientWith([]string{"-r", "1", "-t", "1"}, userName(alain), userPassword(o.first.Password)); a.code != silence {
		t.Errorf("more than fits: %s", a.text)
	}
	var attempts []struct{ Result, Reason string }
	s.decode(&attempts, "", "why", alain)
	if got := attempts[0]; got.Result != "refused" || got.Reason != "unavailable" || s.uses(alain, o.first.Name) != 0 {
		t.Errorf("what was met with silence is recorded as %+v, and used %d times", got, s.uses(alain, o.first.Name))
	}
	if out := s.ok("", "audit", "tail", "--config", s.config(), "--reason", "unavailable"); !strings.Contains(out, "have 4840 octets of reply attributes, and here is room for 3803; take some away") {
		t.Error(out)
	}
	if out := s.ok("", "status"); !strings.Contains(out, "dropped, reply-too-large: 1") || !strings.Contains(out, "there are 4840 octets of attributes") {
		t.Error(out)
	}
}

// Every fault is told at once: two in one line, those of two files that are not
// there, and one of another file that stands at the same line.
func TestEveryFaultOfReplies(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	long := strings.Repeat("x", 250)
	var many []string
	for i := range 16 {
		many = append(many, fmt.Sprintf("%q", long+strconv.Itoa(10+i)))
	}
	s.edit("[radius]\n", "[radius]\ndictionary = [\"dictionary.acme\", \"gone\", \"gone too\"]\n")
	s.add("[profile.default]", `reply = { "FilterId" = "x", "Framed-IP-Address" = "y", "Class" = [] }`)
	s.add("[group.a]", `reply = { "Reply-Message" = "a", "reply-message" = "b" }`)
	s.add("[group.b]", `reply = { "Class" = [`+strings.Join(many, ", ")+`] }`)
	s.add("[group.c]", `reply = { "Class" = [`+strings.Join(many[2:], ", ")+`] }`)
	writeFile(t, s.path("dictionary.acme"), strings.Repeat("#\n", s.lineOf(`reply = { "FilterId"`)-1)+"STRUCT a\n")
	out := s.refused(2, "", "", "config", "check", s.config()).err
	for _, want := range []string{"gone: no such file", "gone too: no such file", "dictionary.acme:"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	s.edit(`"dictionary.acme", "gone", "gone too"`, "")
	out = s.refused(2, "", "", "config", "check", s.config()).err
	for _, want := range []string{
		`reply.FilterId: "FilterId" is no known attribute`, `reply.Framed-IP-Address: Framed-IP-Address: "y" is no IPv4 address`, "reply.Class: the list is empty",
		"group.a.reply.reply-message: it stands there as Reply-Message already; put all its values into one list",
		"group.b.reply: these attributes have 4064 octets, and an answer has room for 3803; leave some out",
	} {
		if strings.Count(out, want) != 1 {
			t.Errorf("not once %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "group.c") || strings.Count(out, "\n") != 5 {
		t.Error(out)
	}
}

// lineOf returns the line of the configuration that begins with text.
func (s *site) lineOf(text string) int {
	s.t.Helper()
	before, _, ok := strings.Cut(readFile(s.t, s.config()), "\n"+text)
	if !ok {
		s.t.Fatalf("no line of the configuration begins with %s", text)
	}
	return strings.Count(before, "\n") + 2
}

// uses returns how often an app password was used.
func (s *site) uses(account, name string) int {
	s.t.Helper()
	var all []struct {
		Name string
		Uses int
	}
	s.decode(&all, "", "app-password", "list", account)
	for _, p := range all {
		if p.Name == name {
			return p.Uses
		}
	}
	return -1
}

// A dictionary is read once by who needs it: to check, to start and to reload.
func TestDictionaryIsReadOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.edit("[radius]\n", "[radius]\ndictionary = [\"dictionary.acme\"]\n")
	path := s.path("dictionary.acme")
	writeFile(t, path, "ATTRIBUTE Acme-VLAN 250 integer\n")
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	must(t, err)
	seen := os.NewFile(uintptr(fd), "inotify")
	defer seen.Close()
	// With the closing in between, as the kernel makes one of two openings in a row.
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN|unix.IN_CLOSE_NOWRITE)
	must(t, err)
	for _, each := range []struct {
		doing string
		do    func()
	}{{"config check", func() { s.ok("", "config", "check", s.config()) }}, {"start", s.start}, {"reload", s.reload}} {
		each.do()
		events := make([]byte, 64*unix.SizeofInotifyEvent)
		n, err := unix.Read(fd, events)
		if n /= 2 * unix.SizeofInotifyEvent; err != nil || n != 1 {
			t.Errorf("%s opens the dictionary %d times (%v), want once", each.doing, n, err)
		}
	}
}
