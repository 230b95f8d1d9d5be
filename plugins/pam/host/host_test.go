package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/directory/directorytest"
	"github.com/keywicket/keywicket/plugins/pam/conversation"
	"github.com/keywicket/keywicket/plugins/pam/host"
)

const matrix = "/usr/lib/x86_64-linux-gnu/pam_wrapper/pam_matrix.so"

// build builds keywicket-pam.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), conversation.Name)
	c := exec.Command("go", "build", "-o", path, "..")
	c.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := c.CombinedOutput(); err != nil {
		need(t, "/usr/include/security/pam_appl.h", "libpam0g-dev")
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// need skips a test where a file of a Debian package is missing.
func need(t *testing.T, path, pkg string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: install %s", path, pkg)
		}
		t.Skipf("%s is not installed", pkg)
	}
}

// users are those of a host that has the accounts of the suite.
func users(name string) (*user.User, []string, error) {
	f := directorytest.Standard()
	for i, u := range []directorytest.User{f.Enabled, f.Disabled} {
		if u.Name == name {
			return &user.User{Uid: fmt.Sprint(1000 + i), Username: u.Name}, u.Groups, nil
		}
	}
	switch name {
	case "root":
		return &user.User{Uid: "0", Username: name}, nil, nil
	case "www-data":
		return &user.User{Uid: "33", Username: name}, nil, nil
	case "nobody":
		return &user.User{Uid: "65534", Username: name}, nil, nil
	case "alias":
		return &user.User{Uid: "1000", Username: f.Enabled.Name}, nil, nil
	case "broken":
		return nil, nil, errors.New("the name service is on fire")
	}
	return nil, nil, user.UnknownUserError(name)
}

// services makes a folder with the PAM service of the suite's accounts, whose
// passwords are real and whose stack is a module for tests.
func services(t *testing.T) string {
	t.Helper()
	need(t, matrix, "libpam-wrapper")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	f := directorytest.Standard()
	passdb := ""
	for _, u := range []directorytest.User{f.Enabled, f.Disabled} {
		passdb += fmt.Sprintf("%s:%s:%s\n", u.Name, u.Password, host.Service)
	}
	db := write("passdb", passdb)
	disabled := write("disabled", f.Disabled.Name+"\n")
	write(host.Service, fmt.Sprintf("auth required %s passdb=%s\naccount required pam_listfile.so item=user sense=deny onerr=fail file=%s\naccount required %s passdb=%s\n", matrix, db, disabled, matrix, db))
	return dir
}

// The promises of a directory hold for a host's own accounts, with the real
// libpam between.
func TestDirectory(t *testing.T) {
	opt := host.Options{Program: build(t), Dir: services(t), Lookup: users}
	f := directorytest.Standard()
	f.NoPassword = directorytest.User{}
	for _, c := range directorytest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := c.Check(ctx, host.New(opt), f)
			if errors.Is(err, directorytest.ErrNotOffered) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Root, users of the system, nobody, and other names of a user are no accounts;
// a name service that fails is an inability.
func TestWhoIsNone(t *testing.T) {
	d := host.New(host.Options{Program: "/nowhere", Lookup: users})
	for name, want := range map[string]error{
		"root": directory.ErrNotFound, "www-data": directory.ErrNotFound, "nobody": directory.ErrNotFound, "alias": directory.ErrNotFound,
		"": directory.ErrNotFound, "a/b": directory.ErrNotFound, "a:b": directory.ErrNotFound, "a\x00": directory.ErrNotFound, strings.Repeat("a", 300): directory.ErrNotFound,
		"broken": directory.ErrUnavailable, directorytest.Standard().Enabled.Name: directory.ErrUnavailable, // the program is not there
	} {
		if _, err := d.Lookup(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("Lookup(%q): %v, want %v", name, err, want)
		}
		if err := d.VerifyPassword(t.Context(), name, []byte("x")); !errors.Is(err, want) {
			t.Errorf("VerifyPassword(%q): %v, want %v", name, err, want)
		}
	}
	must(t, d.Configure(t.Context(), map[string]any{"min_uid": int64(1001)}))
	if _, err := d.Lookup(t.Context(), directorytest.Standard().Enabled.Name); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("below min_uid: %v", err)
	}
	for _, bad := range []map[string]any{{"min_uid": "x"}, {"min_uid": int64(-1)}, {"service": "sshd"}} {
		if err := d.Configure(t.Context(), bad); err == nil {
			t.Errorf("settings %v are taken", bad)
		}
	}
}

// What PAM answers is a yes, a no, or an inability.
func TestCodes(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	want := map[conversation.Code]error{conversation.Success: nil, conversation.NewAuthtokReqd: nil}
	for _, no := range []conversation.Code{conversation.AuthErr, conversation.PermDenied, conversation.UserUnknown, conversation.MaxTries, conversation.AcctExpired, conversation.CredExpired} {
		want[no] = directory.ErrDenied
	}
	d := host.New(host.Options{Program: program, Lookup: users})
	name := directorytest.Standard().Enabled.Name
	for code := conversation.Code(-1); code <= 33; code++ {
		must(t, os.WriteFile(program, fmt.Appendf(nil, "#!/bin/sh\necho '{\"step\":\"account\",\"code\":%d}'\n", int(code)), 0o700))
		err := d.VerifyPassword(t.Context(), name, []byte("x"))
		w, known := want[code]
		if !known {
			w = directory.ErrUnavailable
		}
		if !errors.Is(err, w) {
			t.Errorf("%v: %v, want %v", code, err, w)
		}
		a, err := d.Lookup(t.Context(), name)
		if known && (err != nil || a.Enabled != (w == nil)) || !known && !errors.Is(err, directory.ErrUnavailable) {
			t.Errorf("%v: %+v, %v", code, a, err)
		}
	}
}

// A stack that hangs keeps a bounded number of questions, and each for a bounded
// time; the rest is told so before that.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\necho x >>"+dir+"/begun\nexec sleep 1000\n"), 0o700))
	d := host.New(host.Options{Program: program, Lookup: users})
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if err := d.VerifyPassword(t.Context(), directorytest.Standard().Enabled.Name, []byte("x")); !errors.Is(err, directory.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
	begun, err := os.ReadFile(dir + "/begun")
	must(t, err)
	if n := strings.Count(string(begun), "x"); n == 0 || n > 8 {
		t.Errorf("%d at once", n)
	}

	release := make(chan struct{})
	defer close(release)
	d = host.New(host.Options{Program: program, Lookup: func(string) (*user.User, []string, error) {
		<-release
		return nil, nil, errors.New("late")
	}})
	for i := range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := d.Lookup(ctx, "alain"); !errors.Is(err, directory.ErrUnavailable) || i >= 8 && !strings.Contains(err.Error(), "too many") {
			t.Errorf("a name service that hangs, time %d: %v", i, err)
		}
		cancel()
	}
}

// This host's own root is no account.
func TestThisHost(t *testing.T) {
	d := host.New(host.Options{Program: "/nowhere"})
	for _, name := range []string{"root", "no-such-user-here"} {
		if _, err := d.Lookup(t.Context(), name); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
