package main_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/directory/directorytest"
	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
	"github.com/keywicket/keywicket/plugins/ldap/ldaptest"
)

// etcdPlugin builds the plugin under the name that it is installed under: as
// "etcd" it would stand in the way of the real one.
func etcdPlugin(t testing.TB) string { return builtPlugin(t, "etcd", "keywicket-store-etcd") }

// etcdSite makes a node over an etcd, with a copy of it.
func etcdSite(t *testing.T, plugin, endpoint string) *site {
	t.Helper()
	s := newSite(t)
	s.add(s.ok("", "plugin", "pin", plugin, "--kind", "store", "--name", "etcd"))
	s.add("[plugin.etcd.settings]", `endpoints = ["`+endpoint+`"]`)
	s.edit(`#kind = "badger"`, `kind = "plugin:etcd"`)
	s.edit(`#replica = false`, `replica = true`)
	return s
}

// copyStatus is what status tells of the copy.
func (s *site) copyStatus() (c struct{ Serving, Whole bool }) {
	s.t.Helper()
	var status struct {
		Store struct {
			Replica json.RawMessage
		}
	}
	r := s.run("", "status", "--json")
	if err := json.Unmarshal([]byte(r.out), &status); err != nil {
		s.t.Fatalf("%v: %s", err, r)
	}
	must(s.t, json.Unmarshal(status.Store.Replica, &c))
	return c
}

// untilAnswer signs in until the answer is want.
func (s *site) untilAnswer(want, name, password string) {
	s.t.Helper()
	began := time.Now()
	until(s.t, "the answer is "+want, func() bool { return s.signIn(name, password).code == want })
	s.t.Logf("%s after %v", want, time.Since(began).Round(time.Millisecond))
}

// TestEtcdNodes: what one daemon takes away another refuses, and one that is cut
// off goes on from its copy, over a restart too, until it hears what it missed.
func TestEtcdNodes(t *testing.T) {
	needRadclient(t)
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	p := etcdtest.NewProxy(t, c.Members[0])
	plugin := etcdPlugin(t)
	a, b := etcdSite(t, plugin, c.Members[0].URL), etcdSite(t, plugin, p.URL)
	writeFile(t, b.path("keyring"), readFile(t, a.path("keyring")))
	a.start()
	b.start()
	o := a.enroll(alain)
	second := a.create(alain, "second")
	b.untilAnswer(accept, alain, o.first.Password)
	b.expect(accept, alain, second.Password)
	a.ok("", "app-password", "delete", alain, o.first.ID, "--yes")
	b.untilAnswer(reject, alain, o.first.Password)
	b.expect(accept, alain, second.Password)

	until(t, "there is a copy", func() bool { return b.copyStatus().Whole })
	p.Cut()
	until(t, "the copy serves", func() bool { return b.copyStatus().Serving })
	if r := b.run("", "status"); r.code != 0 || !strings.Contains(r.out, "SERVING") || !strings.Contains(r.out, "out of reach") {
		t.Errorf("status of a node that is cut off: %s", r)
	}
	b.expect(accept, alain, second.Password)
	b.expect(reject, alain, o.first.Password)
	b.refused(3, "out of reach", "", "app-password", "create", alain, "--name", "third")
	b.refused(3, "out of reach", "", "app-password", "delete", alain, second.ID, "--yes")
	b.restart()
	b.expect(accept, alain, second.Password)
	a.ok("", "app-password", "delete", alain, second.ID, "--yes")
	b.expect(accept, alain, second.Password) // nobody can know
	p.Heal()
	b.untilAnswer(reject, alain, second.Password)
	until(t, "the shared store serves", func() bool { return !b.copyStatus().Serving })
}

// TestEtcdFull: where etcd is over its quota sign-ins go on, nothing is changed,
// and the operator is told what helps; when that was done, all is well.
func TestEtcdFull(t *testing.T) {
	needRadclient(t)
	c := etcdtest.Start(t, 1, etcdtest.Options{Args: []string{"--quota-backend-bytes", "8388608"}})
	s := etcdSite(t, etcdPlugin(t), c.Members[0].URL)
	s.start()
	o := s.enroll(alain)
	second := s.create(alain, "second")
	s.expect(accept, alain, second.Password)
	c.Fill()
	s.refused(3, "compact its history", "", "app-password", "create", alain, "--name", "third")
	s.refused(3, "compact its history", "", "app-password", "delete", alain, second.ID, "--yes")
	s.expect(accept, alain, second.Password)
	until(t, "status says so", func() bool {
		r := s.run("", "status")
		return r.code == 0 && strings.Contains(r.out, "over its quota") && strings.Contains(r.out, "disarm the alarm") &&
			!strings.Contains(r.out, "was restored") && !strings.Contains(r.out, "MiB free")
	})
	s.restart()
	s.expect(accept, alain, o.first.Password)
	s.expect(reject, alain, "wrong-wrong")
	c.Drain()
	until(t, "status is good", func() bool { return !strings.Contains(s.run("", "status").out, "quota") })
	s.ok("", "app-password", "delete", alain, second.ID, "--yes")
	s.expect(reject, alain, second.Password)
}

// TestEtcdPluginCheck: the plugin keeps the contract as a plugin too.
func TestEtcdPluginCheck(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	s := newSite(t)
	writeFile(t, s.path("settings.toml"), `endpoints = ["`+strings.Join(c.URLs(), `", "`)+`"]`)
	if text := s.ok("", "plugin", "check", etcdPlugin(t), "--kind", "store", "--settings", s.path("settings.toml")); strings.Contains(text, "broken") {
		t.Errorf("%s", text)
	}
	writeFile(t, s.path("settings.toml"), `endpoints = ["127.0.0.1:2379"]`)
	s.refused(3, "is not like https", "", "plugin", "check", etcdPlugin(t), "--settings", s.path("settings.toml"))
}

// TestLDAPPluginCheck: the plugin keeps the contract as a plugin too, and its
// accounts sign in.
func TestLDAPPluginCheck(t *testing.T) {
	needRadclient(t)
	f := directorytest.Standard()
	l := ldaptest.Start(t,
		ldaptest.Person("uid=a", f.Enabled.Name, f.Enabled.Password), ldaptest.Person("uid=b", beate, "another one", "employeeType: locked"),
		ldaptest.Person("uid=c", f.NoPassword.Name, ""),
		ldaptest.Group("staff", "uid=a,ou=people", "uid=b,ou=people"), ldaptest.Group("vpn users", "uid=a,ou=people"),
	)
	s := newSite(t)
	settings := strings.Join([]string{
		`urls = ["` + l.Secured + `"]`, `ca_file = "` + l.CA + `"`, `bind_dn = "` + ldaptest.Reader + `"`, `bind_password_file = "` + l.Password + `"`,
		`base_dn = "` + ldaptest.BaseDN + `"`, `disabled_attribute = "employeeType"`, `disabled_values = ["locked"]`,
	}, "\n")
	writeFile(t, s.path("settings.toml"), settings)
	writeFile(t, s.path("accounts.toml"), `enabled = { name = "`+f.Enabled.Name+`", password = "`+f.Enabled.Password+`", groups = ["staff", "vpn users"] }
disabled = { name = "`+beate+`", password = "another one", groups = ["staff"] }
no_password = { name = "`+f.NoPassword.Name+`" }
absent = { name = "`+f.Absent+`" }
`)
	plugin := builtPlugin(t, "ldap", "keywicket-directory-ldap")
	if text := s.ok("", "plugin", "check", plugin, "--settings", s.path("settings.toml"), "--accounts", s.path("accounts.toml")); strings.Contains(text, "broken") {
		t.Errorf("%s", text)
	}
	s.add(s.ok("", "plugin", "pin", plugin, "--kind", "directory", "--name", "ldap"), "[plugin.ldap.settings]", settings)
	s.edit(`#kind = "local"`, `kind = "plugin:ldap"`)
	s.start()
	o := s.turnOn(f.Enabled.Name)
	s.expect(accept, f.Enabled.Name, o.first.Password)
	s.expect(reject, f.Enabled.Name, f.Enabled.Password)
	s.expect(reject, f.Absent, o.first.Password)

	// That the server went away, and came back, is known while nobody signs in.
	var all []struct {
		Problem string
		Since   string `json:"problem_since"`
	}
	problem := func() string {
		s.decode(&all, "", "plugin", "list")
		return all[0].Problem
	}
	l.Kill()
	until(t, "the plugin says that its server is away", func() bool { return strings.Contains(problem(), "no LDAP server answers") })
	if all[0].Since == "" || !strings.Contains(s.ok("", "status"), "running, PROBLEM since ") {
		t.Errorf("%+v", all[0])
	}
	l.Start()
	until(t, "it is back", func() bool { return problem() == "" })
	if out := s.ok("", "status"); strings.Contains(out, "PROBLEM") || !strings.Contains(s.log(), "the plugin has no problem any more") {
		t.Errorf("%s\n%s", out, s.log())
	}
}
