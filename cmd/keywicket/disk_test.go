package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fillDisk takes every octet that is left where dir is; empty gives them back.
func fillDisk(t testing.TB, dir string) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	must(t, err)
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 16 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, io.ErrShortWrite) {
			t.Fatal(err)
		}
	}
	return func() { must(t, os.Remove(path)) }
}

// S8, with the program: the store and the audit are on a disk that is full to
// the last octet. Sign-in works, creating says so, taking access away works,
// and so does a restart; nothing is lost, and with room again all is as before.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this needs root, to mount a small disk")
		}
		t.Skip("this needs root, to mount a small disk")
	}
	page := freePort(t)
	s := newSite(t, "[metrics]", fmt.Sprintf("listen = %q", page))
	data := s.path("data")
	if err := unix.Mount("tmpfs", data, "tmpfs", 0, "size=128m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() {
		_ = s.daemon.cmd.Process.Kill() // it may have ended
		s.daemon.wait(t)
		must(t, unix.Unmount(data, 0))
	})
	s.start()
	a, b := s.enroll(alain), s.enroll(beate)
	for i := range 10 {
		s.create(alain, fmt.Sprint("device ", i))
	}
	doomed, kept := s.create(alain, "doomed"), s.create(beate, "kept")
	if r := s.run("", "status"); strings.Contains(r.out, "disk full") {
		t.Errorf("there is room:\n%s", r)
	}
	empty := fillDisk(t, data)
	until(t, "the daemon sees that the disk is full", func() bool { return strings.Contains(s.run("", "status").out, "disk full") })
	for life := range 3 {
		s.onFullDisk(page, a, life)
		if life == 0 {
			s.ok("", "app-password", "delete", alain, doomed.ID, "--yes")
			s.ok("", "app-password", "suspend", alain, "device 9")
			s.ok("", "user", "disable", beate)
		}
		s.signsIn(alain, doomed.Password, "deleted")
		s.signsIn(beate, kept.Password, "account-disabled")
		if life == 1 {
			s.restart()
		} else {
			s.crash()
		}
	}
	s.ok("", "two-step", "off", beate, "--yes")
	empty()
	until(t, "an app password can be made again", func() bool { return s.run("", "app-password", "create", alain, "--name", "after").code == 0 })
	s.restart()
	s.signsIn(alain, a.first.Password, "")
	s.signsIn(alain, doomed.Password, "deleted")
	s.signsIn(beate, b.first.Password, "account-disabled")
	var list []struct{ Name, Status string }
	s.decode(&list, "", "app-password", "list", alain)
	if len(list) < 12 {
		t.Errorf("app passwords are missing: %+v", list)
	}
	for _, p := range list {
		if want := map[bool]string{true: "suspended", false: "active"}[strings.HasPrefix(p.Name, "device") && p.Name >= "device 6"]; p.Status != want {
			t.Errorf("%q is %s, want %s", p.Name, p.Status, want)
		}
	}
	if r := s.run("", "status"); strings.Contains(r.out, "disk full") {
		t.Errorf("there is room again:\n%s", r)
	}
}

// onFullDisk demands what holds in each life of the daemon on the full disk.
func (s *site) onFullDisk(page string, a owner, life int) {
	s.t.Helper()
	fillDisk(s.t, s.path("data")) // a start may have freed some
	until(s.t, "the daemon sees that the disk is full", func() bool { return strings.Contains(s.run("", "status").out, "disk full") })
	s.signsIn(a.name, a.first.Password, "")
	for _, args := range [][]string{{"app-password", "create", a.name, "--name", "new"}, {"user", "add", "carla"}} {
		r := s.refused(3, "", "", args...)
		switch {
		case strings.Contains(r.err, "the audit cannot be written") && strings.Contains(r.err, "no space left on device"): // it found out first
		case strings.Contains(r.err, "MiB are free on the disk of "+s.path("data")) && strings.Contains(r.err, "delete something there"):
		default:
			s.t.Errorf("it does not say where, and what to do:\n%s", r)
		}
	}
	s.ok("", "app-password", "suspend", a.name, fmt.Sprint("device ", 6+life))
	if text := get(s.t, "http://"+page+"/metrics"); !strings.Contains(text, "keywicket_store_degraded 1") {
		s.t.Errorf("life %d: keywicket_store_degraded is not 1", life)
	}
	if r := s.run("", "status"); r.code != 0 || !strings.Contains(r.out, "ready") {
		s.t.Errorf("life %d: sign-in works, and status says\n%s", life, r)
	}
}

// signsIn verifies password; reason is empty for a grant.
func (s *site) signsIn(account, password, reason string) {
	s.t.Helper()
	var v struct{ Result, Reason string }
	r := s.run(password+"\n", "verify", account, "--service", "radius/vpn1", "--json")
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || v.Reason != reason || (v.Result == "granted") != (reason == "") {
		s.t.Errorf("verify %s: %s\nwant reason %q", account, r, reason)
	}
}

func get(t testing.TB, url string) string {
	t.Helper()
	r, err := http.Get(url)
	must(t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	must(t, err)
	return string(text)
}
