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

// A word that libpam does not know is named, with its line and the one that was meant.
func TestPAMFaults(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"auth required pam_keywicket.so\n-AUTH Sufficient pam_unix.so\n":                                                                                               "",
		"auth [success=done new_authtok_reqd = ok default=ignore] pam_keywicket.so\nauth [success=2 default=bad] pam_unix.so\nauth required a.so\n-auth required b.so": "",
		"# auth suficient x\n\nauth include deep\n":                                                                                                                    "",
		"\nauth suficient pam_keywicket.so\n":                                                                                                                          `x:2: libpam knows no "suficient"; did you mean sufficient?`,
		"auth must pam_keywicket.so\n":                                                                                                                                 `x:1: libpam knows no "must"; the control is one of required, requisite, `,
		"auth required pam_unix.so\nsession requird pam_unix.so\n":                                                                                                     `x:2: libpam knows no "requird"; did you mean required?`,
		"auht required pam_keywicket.so\n":                                                                                                                             `x:1: libpam knows no "auht"; did you mean auth?`,
		"auth sufficient\u00a0pam_keywicket.so\n":                                                                                                                      `x:1: libpam knows no "sufficient\u00a0pam_keywicket.so"; the control is one of`,
		"auth sufficient\n":                     `x:1: there is no module after "sufficient"`,
		"auth\n":                                `x:1: the line is "auth" alone`,
		"auth [success=done pam_keywicket.so\n": `x:1: "[success=done pam_keywicket.so" has no ] at its end`,
		"auth [sucess=done default=ignore] pam_keywicket.so\n": `x:1: libpam knows no "sucess"; did you mean success?`,
		"auth [success=dun] pam_keywicket.so\n":                `x:1: libpam knows no "dun"; did you mean done?`,
		"auth [success] pam_keywicket.so\n":                    `x:1: "success" in the brackets is no pair`,
		"auth [success=0] pam_keywicket.so\n":                  `x:1: libpam knows no "0"; the action is one of ignore, ok`,
		"auth sufficient pam_keywiket.so\n":                    `x:1: the module is "pam_keywiket.so"; did you mean pam_keywicket.so?`,
		"#\r\n\r\nauth required pam_keywicket.so\r\n":          "x:1: the line ends as on Windows",
		"\ufeffauth required pam_keywicket.so\n":               "x:1: the file begins with a byte order mark",
		"auth include wrong\n":                                 `wrong:3: libpam knows no "suficient"`,
	} {
		writeStack(t, dir, "x", text)
		writeStack(t, dir, "deep", "auth required pam_unix.so\naccount suficient pam_unix.so\n") // which is not asked
		writeStack(t, dir, "wrong", "auth required pam_unix.so\n\nauth suficient \\\n pam_unix.so\n")
		s := readStack(dir, "x")
		if want == "" && len(s.faults) > 0 || want != "" && (len(s.faults) != 1 || !strings.HasPrefix(s.faults[0], filepath.Join(dir, want))) {
			t.Errorf("%q: %q, want %q", text, s.faults, want)
		}
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
