package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// built are the plugins that were built, by file name: each once.
var built sync.Map

// pluginPath builds one of our plugins and returns its path.
func pluginPath(t testing.TB, name string) string { return builtPlugin(t, name, name) }

// builtPlugin builds the plugin in a folder, as the file of this name.
func builtPlugin(t testing.TB, folder, file string) string {
	t.Helper()
	build, _ := built.LoadOrStore(file, sync.OnceValues(func() (string, error) {
		program, err := exec.LookPath("keywicket")
		if err != nil {
			return "", err
		}
		path := filepath.Join(filepath.Dir(program), file)
		out, err := exec.Command("go", "build", "-o", path, "../../plugins/"+folder).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return path, nil
	}))
	path, err := build.(func() (string, error))()
	if err != nil {
		t.Fatalf("build plugins/%s: %v", folder, err)
	}
	return path
}

// plug writes a plugin of ours into the configuration, with its settings.
func (s *site) plug(name, kind string, settings ...string) {
	s.t.Helper()
	s.add(s.ok("", "plugin", "pin", pluginPath(s.t, name), "--kind", kind))
	if len(settings) > 0 {
		s.add(append([]string{"[plugin." + name + ".settings]"}, settings...)...)
	}
}

type listedPlugin struct {
	Name      string
	Kind      string
	State     string
	PID       int
	Restarts  int
	LastError string `json:"last_error"`
}

// plugin returns the state of a plugin of the daemon.
func (s *site) plugin(name string) listedPlugin {
	s.t.Helper()
	var all []listedPlugin
	s.decode(&all, "", "plugin", "list")
	for _, p := range all {
		if p.Name == name {
			return p
		}
	}
	s.t.Fatalf("there is no plugin %s in %+v", name, all)
	return listedPlugin{}
}

// csv writes the accounts of the plugin csv.
func (s *site) csv(rows ...string) {
	s.t.Helper()
	text := "id,name,enabled,groups,mail,password\n" + strings.Join(rows, "\n") + "\n"
	// A new file, as an editor leaves it: the time of a write in place may be the
	// same.
	writeFile(s.t, s.path("accounts.new"), text)
	if err := os.Rename(s.path("accounts.new"), s.path("accounts.csv")); err != nil {
		s.t.Fatal(err)
	}
}

func csvSite(t *testing.T, settings ...string) *site {
	t.Helper()
	needRadclient(t)
	s := newSite(t)
	s.csv("1,"+alain+",yes,staff,,", "2,"+beate+",yes,staff,,")
	s.plug("csv", "directory", `path = "`+s.path("accounts.csv")+`"`)
	s.edit(`#kind = "local"`, `kind = "plugin:csv"`)
	s.edit(`#max_age = "60s"`, `max_age = "0s"`)
	s.add(settings...)
	return s
}

// TestPluginDirectory drives a daemon whose accounts a plugin knows, through
// changes and the plugin's death.
func TestPluginDirectory(t *testing.T) {
	s := csvSite(t)
	s.start()
	o := s.turnOn(alain)
	s.expect(accept, alain, o.first.Password)
	s.expect(reject, beate, o.first.Password)
	s.csv("1," + alain + ",no,staff,,")
	s.expect(reject, alain, o.first.Password)
	s.csv("1," + alain + ",yes,staff,,")
	s.expect(accept, alain, o.first.Password)
	s.killPlugin("csv")
	s.expect(accept, alain, o.first.Password)
	if p := s.plugin("csv"); p.Restarts != 1 || !strings.Contains(p.LastError, "killed") {
		t.Errorf("%+v", p)
	}
	s.refused(1, "", "", "user", "add", "carla@contoso.com")
	if r := s.run("", "status"); !strings.Contains(r.out, "plugin csv") {
		t.Errorf("%s", r)
	}
}

// TestPluginHook: a hook adds to the answer, and refuses.
func TestPluginHook(t *testing.T) {
	needRadclient(t)
	s := newSite(t)
	s.start()
	o := s.enroll(alain)
	s.expect(accept, alain, o.first.Password)

	s.plug("hours", "hook", `from = "00:00"`, `to = "23:59"`, `vlan = "42"`) // and at a minute to midnight
	s.reload()
	a := s.radclient(userName(alain), userPassword(o.first.Password))
	if late := time.Now().Format("15:04") == "23:59"; !late && (a.code != accept || !strings.Contains(a.text, `Tunnel-Private-Group-Id:0 = "42"`) || !strings.Contains(a.text, "VLAN")) {
		t.Errorf("%s\n%s", a.code, a.text)
	}
	s.edit(`to = "23:59"`, `to = "00:00"`)
	s.reload()
	s.expect(reject, alain, o.first.Password)
	until(t, "the audit tells what the hook said", func() bool {
		r := s.ok("", "audit", "tail", "--config", s.config(), "--json")
		return strings.Contains(r, "refused-by-hook") && strings.Contains(r, "the door is open")
	})
	s.edit(`to = "00:00"`, `to = "noon"`)
	s.refused(2, "is no time of day", "", "reload") // and the one before goes on
	s.expect(reject, alain, o.first.Password)
}

// TestG3PluginGone: without an answer of its plugin nobody is let in and nobody
// refused: RADIUS has silence, and the command line 3. It is the same for a hook
// and for a directory whose last answers are too old. With the program back, a
// reload is enough.
func TestG3PluginGone(t *testing.T) {
	t.Parallel()
	for kind, settings := range map[string]string{"hook": "from = \"00:00\"\nto = \"23:59\"", "directory": ""} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			needRadclient(t)
			s := newSite(t)
			from := pluginPath(t, map[string]string{"hook": "hours", "directory": "csv"}[kind])
			path := s.path("program")
			put := func(text string) {
				t.Helper()
				must(t, os.WriteFile(path+".new", []byte(text), 0o755))
				must(t, os.Rename(path+".new", path))
			}
			put(readFile(t, from))
			if kind == "directory" {
				s.csv("1," + alain + ",yes,staff,,")
				settings = `path = "` + s.path("accounts.csv") + `"`
				s.edit(`#kind = "local"`, `kind = "plugin:gone"`)
				s.edit(`#max_age = "60s"`, `max_age = "0s"`)
				s.edit(`#stale = "15m"`, `stale = "0s"`)
			}
			s.add(s.ok("", "plugin", "pin", path, "--kind", kind, "--name", "gone"), "[plugin.gone.settings]", settings)
			s.start()
			var o owner
			if kind == "directory" {
				o = s.turnOn(alain)
			} else {
				o = s.enroll(alain)
			}
			s.expect(accept, alain, o.first.Password)
			put("#!/bin/sh\nexit 0\n") // which is not the pinned one
			s.killPlugin("gone")
			until(t, "it does not run", func() bool { return s.plugin("gone").State == "waiting" || s.plugin("gone").State == "quarantined" })
			if a := s.radclientWith([]string{"-r", "1", "-t", "4"}, userName(alain), userPassword(o.first.Password)); a.code != silence {
				t.Errorf("RADIUS answers %s", a.code)
			}
			s.refused(3, "", o.first.Password+"\n", "verify", alain, "--service", "radius/vpn1")
			if kind == "hook" { // which is asked of right ones alone
				s.expect(reject, alain, "wrong")
			}
			put(readFile(t, from))
			s.reload()
			s.untilAnswer(accept, alain, o.first.Password)
		})
	}
}

// TestPluginAbsent: without one of its plugins the daemon starts, and what does
// not need the plugin works.
func TestPluginAbsent(t *testing.T) {
	needRadclient(t)
	metrics := freePort(t)
	s := newSite(t, "[metrics]", `listen = "`+metrics+`"`)
	s.plug("mail", "notifier", `to = "nobody"`)
	s.edit(filepath.Dir(pluginPath(t, "mail")), s.dir) // where there is none
	s.start()
	o := s.enroll(alain)
	s.expect(accept, alain, o.first.Password)
	if p := s.plugin("mail"); p.State == "running" || !strings.Contains(p.LastError, "no such file") {
		t.Errorf("%+v", p)
	}
	for _, verb := range [][]string{{"plugin", "list"}, {"status"}} {
		if r := s.run("", verb...); strings.Count(r.out, "no such file") != 1 || !strings.Contains(r.out, "WAITING until") && !strings.Contains(r.out, "QUARANTINED until") {
			t.Errorf("what is wrong is not said once: %s", r)
		}
	}
	if text := get(t, "http://"+metrics+"/metrics"); !strings.Contains(text, `keywicket_plugin_up{plugin="mail"} 0`) {
		t.Error("the metric does not say that it is not up")
	}
}

// TestPluginPin: what pin prints is what the configuration wants.
func TestPluginPin(t *testing.T) {
	s := newSite(t)
	path := pluginPath(t, "csv")
	text := s.ok("", "plugin", "pin", path)
	if !strings.HasPrefix(text, "[plugin.csv]\n") || !strings.Contains(text, "path   = \""+path+"\"") {
		t.Errorf("%s", text)
	}
	s.add(s.ok("", "plugin", "pin", path, "--kind", "directory", "--name", "people"))
	s.ok("", "config", "check", s.config())
	s.refused(2, "is not known", "", "plugin", "pin", path, "--kind", "shop")
	for _, name := range []string{"x y", "a.b", "-", "\"", strings.Repeat("x", 65)} {
		s.refused(2, "can't be a name", "", "plugin", "pin", path, "--name", name)
	}
	s.refused(2, "no such file", "", "plugin", "pin", path+"x")
	open := s.path("open")
	writeFile(t, open, readFile(t, path))
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	s.refused(1, "chmod go-w", "", "plugin", "pin", open)
}

// TestPluginCheck: every exit code, and the name of the promise that is broken.
func TestPluginCheck(t *testing.T) {
	s := newSite(t)
	csv := pluginPath(t, "csv")
	hash := func(password string) string {
		h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		must(t, err)
		return string(h)
	}
	s.csv("1,"+alain+",yes,staff,,"+hash("right one"), "2,"+beate+",no,staff,,"+hash("wrong one"))
	writeFile(t, s.path("settings.toml"), `path = "`+s.path("accounts.csv")+`"`)
	accounts := func(password string) string {
		writeFile(t, s.path("fixture.toml"), `enabled = { name = "`+alain+`", password = "`+password+`", groups = ["staff"] }
disabled = { name = "`+beate+`", password = "wrong one", groups = ["staff"] }
absent = { name = "nobody@contoso.com" }
`)
		return s.path("fixture.toml")
	}
	flags := []string{"--kind", "directory", "--settings", s.path("settings.toml"), "--accounts"}
	check := func(more ...string) []string { return append([]string{"plugin", "check", csv}, more...) }
	if text := s.ok("", check(append(flags, accounts("right one"))...)...); !strings.Contains(text, "keeps all of") || strings.Contains(text, "broken") {
		t.Errorf("%s", text)
	}
	r := s.run("", check(append(flags, accounts("another"), "--json")...)...)
	var report struct {
		Kind   string
		Broken int
		Cases  []struct{ Name, Result, Broken string }
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.code != 1 || report.Broken == 0 || report.Kind != "directory" {
		t.Fatalf("%v: %s", err, r)
	}
	if r := s.run("", check("--settings", s.path("settings.toml"))...); r.code != 1 || !strings.Contains(r.out, "--accounts names those that it has") {
		t.Errorf("with accounts that it does not have: %s", r)
	}
	named := false
	for _, c := range report.Cases {
		named = named || c.Name == "password/right" && c.Result == "broken" && c.Broken != ""
	}
	if !named {
		t.Errorf("password/right is not named: %+v", report.Cases)
	}
	s.refused(3, "it is a directory, and a store is configured", "", check("--kind", "store")...)
	writeFile(t, s.path("other.toml"), `place = "here"`)
	s.refused(3, "unknown field", "", check("--settings", s.path("other.toml"))...)
	s.refused(2, "a setting can't hold a table", "", check("--settings", s.config())...)
	s.refused(2, "nothing.toml", "", check("--settings", s.path("nothing.toml"))...)
	writeFile(t, s.path("nobody.toml"), `enabled = { name = "`+alain+`", password = "x" }`)
	s.refused(2, "has no name", "", check("--accounts", s.path("nobody.toml"))...)
	s.refused(2, "as --accounts wants it", "", check("--accounts", csv)...)
}

// killPlugin ends a plugin of the daemon the hard way.
func (s *site) killPlugin(name string) {
	s.t.Helper()
	if pid := s.plugin(name).PID; pid > 0 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			s.t.Fatal(err)
		}
	}
}
