package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func writeStack(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The lines with the module are found, as libpam reads them: in included files,
// after brackets, over several lines, with a path, and in no comment.
func TestReadStack(t *testing.T) {
	dir := t.TempDir()
	writeStack(t, dir, "sshd", "# auth required pam_keywicket.so\nauth [success=done default=ignore] pam_keywicket.so socket=/a min_uid=500 # why\n"+
		"@include common\n-account\toptional \\\n  /usr/lib/pam_keywicket.so socket=/b\\\n debug\nauth include missing\nauth required pam_unix.so pam_keywicket.so\nauth [broken pam_keywicket.so\nauth\n")
	writeStack(t, dir, "common", "AUTH sufficient pam_keywicket.so\nauth substack deep\naccount include deep\n")
	writeStack(t, dir, "deep", "auth required pam_keywicket.so socket=/d\nsession required pam_keywicket.so\nauth include deep\n")
	s := readStack(dir, "sshd")
	at := func(name string) string { return filepath.Join(dir, name) }
	want := []pamLine{
		{at("sshd:2"), "auth", []string{"socket=/a", "min_uid=500"}},
		{at("common:1"), "auth", []string{}},
	}
	for range maxIncluded - 1 { // deep includes itself, to the end
		want = append(want, pamLine{at("deep:1"), "auth", []string{"socket=/d"}})
	}
	want = append(want, pamLine{at("sshd:4"), "account", []string{"socket=/b", "debug"}})
	if !s.exists || !reflect.DeepEqual(s.lines, want) {
		t.Errorf("found %d lines %v, want %d %v", len(s.lines), s.lines, len(want), want)
	}
	if len(s.unread) != 2 || s.unread[0] != at("deep") || s.unread[1] != at("missing") {
		t.Errorf("not read: %v", s.unread)
	}
	line, ok := s.auth()
	if !ok || line.option("socket", pamSocket) != "/a" || line.option("min_uid", "1000") != "500" || line.option("timeout", "3") != "3" {
		t.Errorf("%v %v", line, ok)
	}
	if s := readStack(dir, "none"); s.exists || len(s.lines) > 0 {
		t.Errorf("%+v", s)
	}
}

// Whatever stands in the files: no panic and an end.
func FuzzReadStack(f *testing.F) {
	f.Add("auth [success=1] pam_keywicket.so socket=/a \\\n debug\n@include x\nauth include x\n")
	f.Add("\\\n\\\n[[[]\n-auth required x")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "/") {
			return // it would read files of this host
		}
		writeStack(t, dir, "x", text)
		for _, l := range readStack(dir, "x").lines {
			if l.where == "" || l.kind == "" {
				t.Errorf("%+v", l)
			}
		}
	})
}

// An option that the module does not take is named: with "sufficient" before it,
// libpam says no more than that nobody let the user in.
func TestPAMOptions(t *testing.T) {
	for options, want := range map[string]string{
		"":                                    "",
		"debug use_first_pass try_first_pass": "",
		"socket=/a timeout=5 min_uid=0":       "",
		"debug timout=3":                      "timout=3",
		"timeout=6 debug":                     "timeout=6",
		"timeout=":                            "timeout=",
		"socket=a":                            "socket=a",
		"min_uid=-1":                          "min_uid=-1",
		"min_uid=4294967295":                  "min_uid=4294967295",
		"nullok":                              "nullok",
		"debug=1":                             "debug=1",
	} {
		if got := (pamLine{options: strings.Fields(options)}).wrong(); got != want {
			t.Errorf("%q: %q is wrong, want %q", options, got, want)
		}
	}
}
