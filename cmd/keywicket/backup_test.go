package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The deleted app password is refused as deleted after the daemon was killed
// and the backup from before restored; what was not deleted works.
func TestBackupAndRestore(t *testing.T) {
	for _, lost := range []string{"nothing", "the store", "the store and the audit"} {
		s := startSite(t)
		o := s.enroll(alain)
		printer := s.create(alain, "Printer")
		time.Sleep(5 * time.Millisecond) // the audit has milliseconds
		file := s.path("backup")
		var made struct {
			Records, Octets, Revision int
			Keyring                   string
		}
		s.decode(&made, "", "backup", file)
		if made.Records < 3 || made.Octets < 300 || made.Revision < 3 || made.Keyring != s.path("keyring") {
			t.Errorf("%+v", made)
		}
		s.ok("", "app-password", "delete", alain, printer.ID, "--yes")
		later := s.create(alain, "Later")
		if lost != "the store and the audit" { // which is written some moments later than the store
			until(t, "the deletion is in the audit", func() bool {
				return strings.Contains(s.ok("", "audit", "tail", "--config", s.config()), "app-password-deleted")
			})
		}
		s.daemon.signal(t, syscall.SIGKILL)
		s.daemon.wait(t)
		reason := "deleted"
		switch lost {
		case "the store and the audit":
			must(t, os.RemoveAll(s.path("data/audit")))
			reason = ""
			fallthrough
		case "the store":
			must(t, os.RemoveAll(s.path("data/store")))
		}
		args := []string{"restore", file, "--config", s.config()}
		if reason == "" { // it would bring Printer back
			s.refused(2, "nobody answered", "", args...)
			s.refused(1, "nothing was changed", "n\n", args...)
			if r := s.run("", append(args, "--yes")...); r.code != 0 || !strings.Contains(r.err, "2 app passwords") || !strings.Contains(r.out, "2 app passwords work") {
				t.Errorf("%s lost: %s", lost, r)
			}
		} else if r := s.run("", args...); r.code != 0 || !strings.Contains(r.out, `"Printer" (deleted`) || strings.Contains(r.out, "the audit was asked") != (lost == "the store") ||
			strings.Contains(r.err, "1 app passwords that were made after it will not work") != (lost != "the store") { // nobody is there to be asked
			t.Errorf("%s lost: %s", lost, r)
		}
		s.start()
		s.verdict(t, o.first.Password, "")
		s.verdict(t, printer.Password, reason)
		s.verdict(t, later.Password, "wrong")
		if out := s.ok("", "status"); !strings.Contains(out, "the store was restored on") {
			t.Errorf("status says nothing of the restore:\n%s", out)
		}
		out := s.ok("", "audit", "tail", "--config", s.config())
		if !strings.Contains(out, "  restore, backup ") || lost != "the store and the audit" && !strings.Contains(out, "  backup, complete, ") {
			t.Errorf("the audit:\n%s", out)
		}
		s.ok("", "audit", "verify", "--config", s.config())
	}
}

// verdict demands that a password of alain's works, or the reason why not.
func (s *site) verdict(t *testing.T, password, want string) {
	t.Helper()
	r := s.run(password+"\n", "verify", alain, "--service", "radius/vpn1", "--json")
	if granted := strings.Contains(r.out, `"granted"`); granted != (want == "") || !granted && !strings.Contains(r.out, `"`+want+`"`) {
		t.Errorf("verify: %s\nwant %q", r, want)
	}
}

func TestRestoreSuspends(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	s.ok("", "backup", s.path("backup"))
	s.stop()
	must(t, os.RemoveAll(s.path("data/audit")))
	must(t, os.RemoveAll(s.path("data/store")))
	var report struct {
		Restored  bool
		Unsure    []issued `json:"could_have_come_back"`
		Suspended bool
	}
	r := s.refused(2, "nobody answered", "", "restore", s.path("backup"), "--config", s.config(), "--json")
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || report.Restored || len(report.Unsure) != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	s.decode(&report, "", "restore", s.path("backup"), "--config", s.config(), "--suspend")
	if len(report.Unsure) != 1 || report.Unsure[0].ID != o.first.ID || !report.Suspended || !report.Restored {
		t.Errorf("%+v", report)
	}
	s.start()
	s.verdict(t, o.first.Password, "suspended")
	s.ok("", "app-password", "resume", alain, o.first.ID)
	s.verdict(t, o.first.Password, "")
}

func TestBackupChain(t *testing.T) {
	s := startSite(t)
	s.enroll(alain)
	full, increment, last := s.path("full"), s.path("increment"), s.path("last")
	s.ok("", "backup", full)
	made := s.create(alain, "Later")
	s.ok("", "backup", increment, "--since", full)
	s.ok("", "backup", last, "--since", increment)
	if out := s.ok("", "backup", "verify", full, increment, last, "--config", s.config()); !strings.Contains(out, "whole") {
		t.Errorf("verify: %s", out)
	}
	s.refused(1, "the complete one first", "", "backup", "verify", full, last, "--config", s.config())
	s.refused(1, "no backup", "", "backup", s.path("x"), "--since", s.config())
	s.refused(1, "in use", "", "restore", full, "--config", s.config())
	if _, err := os.Stat(s.path("data/store.restoring")); err == nil {
		t.Error("a restore beside a daemon made something")
	}
	s.stop()
	must(t, os.RemoveAll(s.path("data/store")))
	s.ok("", "restore", full, increment, last, "--config", s.config(), "--yes")
	s.start()
	s.verdict(t, made.Password, "")
	s.refused(1, "make a complete one", "", "backup", s.path("x"), "--since", last)
}

func TestBackupFile(t *testing.T) {
	s := startSite(t)
	s.enroll(alain)
	file := s.path("backup")
	writeFile(t, file+".partial", "of a backup that was killed")
	must(t, os.Chmod(file+".partial", 0o666))
	old := syscall.Umask(0)
	s.ok("", "backup", file)
	syscall.Umask(old)
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	text := readFile(t, file)
	s.refused(1, "overwrites nothing", "", "backup", file)
	if readFile(t, file) != text {
		t.Error("the file was changed")
	}
	must(t, os.Symlink("nowhere", s.path("link")))
	s.refused(1, "overwrites nothing", "", "backup", s.path("link"))
	must(t, os.Symlink(file, s.path("other.partial")))
	s.refused(1, "cannot be written", "", "backup", s.path("other"))
	if readFile(t, file) != text {
		t.Error("the file was changed through a link")
	}
	s.refused(1, "no such file", "", "backup", s.path("nothing/backup"))
	s.refused(2, "FILE is missing", "", "backup")
	s.stop()
	s.refused(3, "no daemon", "", "backup", s.path("third"))
	if left, err := filepath.Glob(s.path("*.partial")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	s.refused(1, "no backup", "", "restore", s.config(), "--config", s.config())
	s.refused(2, "restore asks no daemon", "", "restore", file, "--socket", s.socket())
}

// A daemon that is killed in the middle leaves no file.
func TestBackupInterrupted(t *testing.T) {
	s := startSite(t)
	s.enroll(alain)
	s.daemon.signal(t, syscall.SIGSTOP)
	c := exec.Command("keywicket", "backup", s.path("backup"), "--socket", s.socket())
	var stderr strings.Builder
	c.Stderr = &stderr
	p := start(t, c)
	until(t, "it has begun", func() bool { _, err := os.Stat(s.path("backup.partial")); return err == nil || p.hasEnded() })
	s.daemon.signal(t, syscall.SIGKILL)
	if code := p.wait(t); code == 0 {
		t.Error("exit code 0")
	}
	if left, err := filepath.Glob(s.path("backup*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v; %s", left, err, stderr.String())
	}
}

// Root restores for the user of the service, to whom the data belongs.
func TestRestoreAsRoot(t *testing.T) {
	needRoot(t)
	s := startSite(t)
	s.enroll(alain)
	s.ok("", "backup", s.path("backup"))
	s.stop()
	const uid, gid = 12345, 12346
	must(t, filepath.Walk(s.path("data"), func(path string, _ os.FileInfo, err error) error {
		if err == nil {
			err = os.Lchown(path, uid, gid)
		}
		return err
	}))
	s.ok("", "restore", s.path("backup"), "--config", s.config())
	must(t, filepath.Walk(s.path("data"), func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != uid || stat.Gid != gid {
			t.Errorf("%s belongs to %d:%d", path, stat.Uid, stat.Gid)
		}
		return nil
	}))
}
