package main_test

import (
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534

// as makes a command run as another user, in some groups.
func as(uid uint32, groups ...uint32) func(*exec.Cmd) {
	return func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
		c.Dir = "/"
	}
}

// aGroup returns a group of this host.
func aGroup(t *testing.T) (name string, id uint32) {
	t.Helper()
	for _, name := range []string{"daemon", "users", "mail"} {
		if g, err := user.LookupGroup(name); err == nil {
			id, err := strconv.ParseUint(g.Gid, 10, 32)
			must(t, err)
			return name, uint32(id)
		}
	}
	t.Skip("this host has none of the groups that every Linux has")
	return "", 0
}

// The kernel says who asks, whatever the mode of the socket's file is.
func TestOtherUsersAreRefused(t *testing.T) {
	needRoot(t)
	s := newSite(t)
	name, group := aGroup(t)
	s.edit(`group = ""`, `group = "`+name+`"`)
	s.start()
	s.enroll(alain)
	must(t, os.Chmod(s.dir, 0o755))
	info, err := os.Stat(s.socket())
	must(t, err)
	if stat := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o660 || stat.Gid != group {
		t.Errorf("the socket has mode %v and group %d", info.Mode(), stat.Gid)
	}
	list := []string{"app-password", "list", alain, "--socket", s.socket()}
	for title, tt := range map[string]struct {
		who  func(*exec.Cmd)
		mode fs.FileMode
		code int
		says string
	}{
		"a stranger":                         {as(nobody), 0o660, 1, "you may not use the control socket"},
		"a stranger, the file lets in":       {as(nobody), 0o666, 1, "you may not administer this Keywicket"},
		"of another group, the file lets in": {as(nobody, group+1), 0o666, 1, "you may not administer this Keywicket"},
		"of the group":                       {as(nobody, group), 0o660, 0, ""},
		"of the group among many":            {as(nobody, append(many(200), group)...), 0o660, 0, ""},
	} {
		t.Run(title, func(t *testing.T) {
			must(t, os.Chmod(s.socket(), tt.mode))
			r := runCommand(t, "", tt.who, list...)
			if r.code != tt.code || !strings.Contains(r.err, tt.says) || (r.code != 0) != (r.out == "") {
				t.Errorf("%s\nwant exit code %d and %q", r, tt.code, tt.says)
			}
		})
	}
	if !strings.Contains(s.log(), `"caller":"uid 65534`) {
		t.Errorf("the log does not tell of who was refused:\n%s", s.log())
	}
	runCommand(t, "", as(nobody, group), "app-password", "create", alain, "--name", "by nobody", "--socket", s.socket())
	until(t, "the audit says who", func() bool { return strings.Contains(s.audit(), `"actor":"uid 65534`) })
}

func many(n uint32) (groups []uint32) {
	for i := range n {
		groups = append(groups, 10000+i)
	}
	return groups
}

// The daemon needs no root; its own user and root may administer.
func TestDaemonOfAnotherUser(t *testing.T) {
	needRoot(t)
	s := newSite(t)
	must(t, filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, nobody, nobody)
	}))
	c := exec.Command("keywicket", "serve", "--config", s.config())
	as(nobody)(c)
	s.daemon = start(t, c)
	until(t, "the daemon answers", func() bool { return s.run("", "status").code == 0 })
	if r := runCommand(t, "", as(nobody), "status", "--socket", s.socket()); r.code != 0 {
		t.Errorf("its own user: %s", r)
	}
	must(t, os.Chmod(s.dir, 0o755))
	must(t, os.Chmod(s.socket(), 0o666))
	if r := runCommand(t, "", as(nobody-1), "status", "--socket", s.socket()); r.code != 1 {
		t.Errorf("another user: %s", r)
	}
	writeFile(t, s.path("stderr.log"), "")
	s.stop()
}

// Where nothing can be written, nothing is made.
func TestNotWritable(t *testing.T) {
	needRoot(t)
	s := newSite(t)
	must(t, os.Chmod(s.dir, 0o755))
	for _, name := range []string{"keywicket.toml", "keyring", "vpn1.secret"} {
		must(t, os.Chown(s.path(name), nobody, nobody))
	}
	before := s.tree()
	for title, r := range map[string]result{
		"serve":      runCommand(t, "", as(nobody), "serve", "--config", s.config()),
		"init":       runCommand(t, "", as(nobody), "init", "--dir", s.path("new")),
		"client new": runCommand(t, "", as(nobody), "client", "new", "vpn2", "--address", "127.0.0.2", "--config", s.config()),
	} {
		if r.code != 1 || !strings.Contains(r.err, "permission denied") || r.out != "" {
			t.Errorf("%s: %s", title, r)
		}
	}
	for _, change := range changes(before, s.tree()) {
		t.Error(change)
	}
}

// Who may not is refused, by every verb and whatever it reads; only the daemon
// is not started again for what it may not read.
func TestWhoMayNot(t *testing.T) {
	needRoot(t)
	s := startSite(t)
	s.ok("", "backup", s.path("backup"))
	writeFile(t, s.path("program"), "")
	must(t, os.Chmod(s.dir, 0o755))
	const says = "permission denied; this runs as the user nobody, who may not"
	tried := func(code int, says string, words ...string) {
		t.Helper()
		r := runCommand(t, "", as(nobody), append(words, "--config", s.config())...)
		if r.code != code || !strings.Contains(r.err, says) && !strings.Contains(r.err, "you may not use the control socket") {
			t.Errorf("keywicket %s: %s", words, r)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o644} { // may the configuration be read?
		must(t, os.Chmod(s.config(), mode))
		for _, args := range []string{
			"status", "user list", "audit tail", "audit tail --follow", "audit verify", "keyring check", "backup BACKUP.2", "backup verify BACKUP", "restore BACKUP",
			"client new vpn2", "client rotate vpn1", "review", "reload", "user import BACKUP", "radius debug", "plugin pin PROGRAM", "plugin check PROGRAM",
		} {
			tried(1, says, strings.Fields(strings.NewReplacer("BACKUP", s.path("backup"), "PROGRAM", s.path("program")).Replace(args))...)
		}
	}
	tried(2, "vpn1.secret: permission denied; chmod 640 it", "serve")
	must(t, os.Chmod(s.config(), 0o600))
	tried(2, says, "serve")
	tried(1, says, "config", "check", s.config())
}
