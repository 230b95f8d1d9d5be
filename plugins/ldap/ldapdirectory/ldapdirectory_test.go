package ldapdirectory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/directory/directorytest"
	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
	"github.com/keywicket/keywicket/plugins/ldap/ldapdirectory"
	"github.com/keywicket/keywicket/plugins/ldap/ldaptest"
)

// config is a good one for s, over TLS.
func config(s *ldaptest.Server) ldapdirectory.Config {
	return ldapdirectory.Config{
		URLs: []string{s.Secured}, CAFile: s.CA, BindDN: ldaptest.Reader, BindPasswordFile: s.Password,
		BaseDN: ldaptest.BaseDN, Timeout: 10 * time.Second,
	}
}

func open(t testing.TB, cfg ldapdirectory.Config) *ldapdirectory.Directory {
	t.Helper()
	d, err := ldapdirectory.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// standard are the accounts that the conformance suite expects.
func standard() []string {
	f := directorytest.Standard()
	return []string{
		ldaptest.Person("uid=alain", f.Enabled.Name, f.Enabled.Password),
		ldaptest.Person("uid=bea", f.Disabled.Name, "", "userPassword:: QW5vdGhlciBvbmUsIMOpdMOpIDI=", "employeeType: locked"),
		ldaptest.Person("uid=chloe", f.NoPassword.Name, ""),
		ldaptest.Group("staff", "uid=alain,ou=people", "uid=bea,ou=people"),
		ldaptest.Group("vpn users", "uid=alain,ou=people"),
	}
}

// TestContract: over LDAPS and over StartTLS.
func TestContract(t *testing.T) {
	s := ldaptest.Start(t, standard()...)
	for name, edit := range map[string]func(*ldapdirectory.Config){
		"ldaps":    func(*ldapdirectory.Config) {},
		"starttls": func(c *ldapdirectory.Config) { c.URLs, c.StartTLS = []string{s.Plain}, true },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(s)
			cfg.DisabledAttribute, cfg.DisabledValues = "employeeType", []string{"LOCKED", "retired"}
			edit(&cfg)
			directorytest.Run(t, func(tb testing.TB) directory.Directory { return open(tb, cfg) })
		})
	}
}

// TestNames: a name means itself, whatever LDAP means by it, and is one account's
// however its attribute compares.
func TestNames(t *testing.T) {
	s := ldaptest.Start(t,
		ldaptest.Person(`cn=comma\, plus\+ \"quote\"`, `a*(b)\c,+"<>;=@contoso.com`, "one"),
		ldaptest.Person("uid=upper", "Étienne@CONTOSO.com", "two"),
		ldaptest.Person("uid=two", "two words", "three"),
		ldaptest.Person("uid=twice1", "twice@contoso.com", "four"), ldaptest.Person("uid=twice2", "twice@contoso.com", "five"),
		ldaptest.Group("odd", `cn=comma\, plus\+ \"quote\",ou=people`),
	)
	d := open(t, config(s))
	for name, password := range map[string]string{`a*(b)\c,+"<>;=@contoso.com`: "one", "étienne@contoso.com": "two"} {
		a, err := d.Lookup(t.Context(), name)
		if err != nil || a.Name != name {
			t.Errorf("%q: %+v, error %v", name, a, err)
		}
		if err := d.VerifyPassword(t.Context(), name, []byte(password)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if a, _ := d.Lookup(t.Context(), `a*(b)\c,+"<>;=@contoso.com`); !slices.Equal(a.Groups, []string{"odd"}) {
		t.Errorf("groups %q, want odd", a.Groups)
	}
	for _, name := range []string{"two  words", " two words", "two words ", "ÉTIENNE@contoso.com", "a*", "a\x00", strings.Repeat("a", 300), "\xff"} {
		if _, err := d.Lookup(t.Context(), name); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("%q: %v, want not found", name, err)
		}
	}
	// Which of the two would be meant cannot be told: no verdict.
	_, err := d.Lookup(t.Context(), "twice@contoso.com")
	wantUnavailable(t, "two entries of one name", err)
}

func wantUnavailable(t *testing.T, doing string, err error) {
	t.Helper()
	if !errors.Is(err, directory.ErrUnavailable) || errors.Is(err, directory.ErrNotFound) || errors.Is(err, directory.ErrDenied) {
		t.Errorf("%s: %v, want unavailable and nothing else", doing, err)
	}
}

// TestGroups: groups within groups, in a circle, over several pages, and deeper
// than is allowed.
func TestGroups(t *testing.T) {
	entries := []string{
		ldaptest.Person("uid=a", "a", "x"), ldaptest.Person("uid=deep", "deep", "x"),
		ldaptest.Group("inner", "uid=a,ou=people"), ldaptest.Group("middle", "cn=inner,ou=groups", "cn=outer,ou=groups"), ldaptest.Group("outer", "cn=middle,ou=groups"),
		ldaptest.Group("other", "uid=deep,ou=people"), ldaptest.Group("level0", "uid=deep,ou=people"),
	}
	want := []string{"inner", "middle", "outer"}
	for i := range 130 { // the server sends 20 without pages, and 100 in one
		name := fmt.Sprintf("many%03d", i)
		entries, want = append(entries, ldaptest.Group(name, "uid=a,ou=people")), append(want, name)
	}
	for i := range 20 {
		entries = append(entries, ldaptest.Group(fmt.Sprintf("level%d", i+1), fmt.Sprintf("cn=level%d,ou=groups", i)))
	}
	s := ldaptest.Start(t, entries...)
	d := open(t, config(s))
	a, err := d.Lookup(t.Context(), "a")
	slices.Sort(want)
	if err != nil || !slices.Equal(a.Groups, want) {
		t.Errorf("%d groups %q, error %v; want %d", len(a.Groups), a.Groups, err, len(want))
	}
	_, err = d.Lookup(t.Context(), "deep")
	wantUnavailable(t, "groups too deep", err)
}

// TestActiveDirectory: the attributes of Active Directory, on the schema of a
// server that can be run here.
func TestActiveDirectory(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	filetime := func(t time.Time) string { return fmt.Sprint((t.Unix() + 11644473600) * 1e7) }
	var entries []string
	for name, lines := range map[string][]string{
		"good":     {"userAccountControl: 512", "accountExpires: 9223372036854775807"},
		"zero":     {"userAccountControl: 66048", "accountExpires: 0"},
		"later":    {"userAccountControl: 512", "accountExpires: " + filetime(now.Add(time.Second))},
		"expired":  {"userAccountControl: 512", "accountExpires: " + filetime(now)},
		"disabled": {"userAccountControl: 514"},
		"unknown":  nil,
		"negative": {"userAccountControl: 512", "accountExpires: -5"},
	} {
		entries = append(entries, ldaptest.Person("uid="+name, name, "x", append(lines, "objectGUID:: AAECAwQFBgcICQoLDA0O/w==")...))
	}
	entries = append(entries, ldaptest.Person("uid=noguid", "noguid", "x", "userAccountControl: 512"))
	s := ldaptest.Start(t, entries...)
	cfg := config(s)
	cfg.ActiveDirectory, cfg.NameAttribute, cfg.Now = true, "uid", func() time.Time { return now }
	cfg.UserFilter, cfg.GroupFilter = "(objectClass=adlike)", "(objectClass=groupOfNames)"
	d := open(t, cfg)
	for name, want := range map[string]bool{"good": true, "zero": true, "later": true, "expired": false, "disabled": false} {
		a, err := d.Lookup(t.Context(), name)
		if err != nil || a.Enabled != want || a.ID != "000102030405060708090a0b0c0d0eff" {
			t.Errorf("%s: %+v, error %v; want enabled %v", name, a, err, want)
		}
		if err := d.VerifyPassword(t.Context(), name, []byte("x")); (err == nil) != want || !want && !errors.Is(err, directory.ErrDenied) {
			t.Errorf("%s: the right password: %v", name, err)
		}
	}
	for _, name := range []string{"unknown", "negative"} {
		_, err := d.Lookup(t.Context(), name)
		wantUnavailable(t, name, err)
		wantUnavailable(t, name+"'s password", d.VerifyPassword(t.Context(), name, []byte("x")))
	}
	_, err := d.Lookup(t.Context(), "noguid")
	wantUnavailable(t, "without an ID", err)
}

// TestEnabledValues: an account that does not have what makes it enabled is not.
func TestEnabledValues(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Person("uid=a", "a", "x", "employeeType: staff", "mail: a@contoso.com"), ldaptest.Person("uid=b", "b", "x"))
	cfg := config(s)
	cfg.EnabledAttribute, cfg.EnabledValues, cfg.Attributes = "employeeType", []string{"Staff"}, []string{"mail", "title"}
	d := open(t, cfg)
	a, err := d.Lookup(t.Context(), "a")
	if err != nil || !a.Enabled || len(a.Attributes) != 1 || a.Attributes["mail"] != "a@contoso.com" || a.TwoStep != directory.NotMine {
		t.Errorf("%+v, error %v", a, err)
	}
	if b, err := d.Lookup(t.Context(), "b"); err != nil || b.Enabled {
		t.Errorf("%+v, error %v", b, err)
	}
}

// TestSecrecy: no password goes over a connection that is not secured, or to
// whom the certificate does not vouch for.
func TestSecrecy(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Person("uid=a", "a", "x"))
	for name, edit := range map[string]func(*ldapdirectory.Config){
		"another authority, ldaps": func(c *ldapdirectory.Config) { c.CAFile = etcdtest.NewTLS(t).CA },
		"another authority, starttls": func(c *ldapdirectory.Config) {
			c.CAFile, c.URLs, c.StartTLS = etcdtest.NewTLS(t).CA, []string{s.Plain}, true
		},
		"another name":          func(c *ldapdirectory.Config) { c.URLs[0] = strings.Replace(c.URLs[0], "127.0.0.1", "127.0.0.2", 1) },
		"ldaps to a plain port": func(c *ldapdirectory.Config) { c.URLs[0] = "ldaps" + strings.TrimPrefix(s.Plain, "ldap") },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(s)
			cfg.Timeout = 2 * time.Second
			edit(&cfg)
			_, err := open(t, cfg).Lookup(t.Context(), "a")
			wantUnavailable(t, name, err)
		})
	}
	cfg := config(s)
	cfg.URLs = []string{s.Plain}
	if _, err := ldapdirectory.Open(cfg); err == nil || !strings.Contains(err.Error(), "in clear") {
		t.Errorf("without TLS: %v", err)
	}
	cfg.AllowPlaintext = true
	if _, err := open(t, cfg).Lookup(t.Context(), "a"); err != nil {
		t.Errorf("in clear, as was asked for: %v", err)
	}
}

// TestNotSure: who sees nothing, or is not let in, does not say that there is no
// such account.
func TestNotSure(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Person("uid=a", "a", "x"))
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*ldapdirectory.Config){
		"nobody in particular": func(c *ldapdirectory.Config) { c.BindDN, c.BindPasswordFile = "", "" },
		"a wrong password":     func(c *ldapdirectory.Config) { c.BindPasswordFile = wrong },
		"a base that is not":   func(c *ldapdirectory.Config) { c.BaseDN = "dc=elsewhere,dc=com" },
		"groups that are not":  func(c *ldapdirectory.Config) { c.GroupBaseDN = "ou=none,dc=contoso,dc=com" },
		"an ID that is not":    func(c *ldapdirectory.Config) { c.IDAttribute = "employeeNumber" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(s)
			edit(&cfg)
			d := open(t, cfg)
			_, err := d.Lookup(t.Context(), "a")
			wantUnavailable(t, name, err)
		})
	}
}

// TestServerGoesAway: a server that is killed, or hangs, is an inability, and
// its return is noticed; a second server takes over.
func TestServerGoesAway(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Person("uid=a", "a", "right"))
	cfg := config(s)
	d := open(t, cfg)
	good := func() {
		t.Helper()
		if _, err := d.Lookup(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if err := d.VerifyPassword(t.Context(), "a", []byte("right")); err != nil {
			t.Error(err)
		}
	}
	bad := func(doing string) {
		t.Helper()
		_, err := d.Lookup(t.Context(), "a")
		wantUnavailable(t, doing, err)
		_, err = d.Lookup(t.Context(), "nobody")
		wantUnavailable(t, doing, err)
		wantUnavailable(t, doing, d.VerifyPassword(t.Context(), "a", []byte("wrong")))
		if d.Health(t.Context()) == nil {
			t.Error(doing + ": and yet its health is good")
		}
	}
	good()
	s.Kill()
	bad("killed")
	s.Start()
	good()
	if err := d.Health(t.Context()); err != nil {
		t.Error(err)
	}

	cfg.Timeout = time.Second
	hung := open(t, cfg)
	if _, err := hung.Lookup(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s.Pause()
	began := time.Now()
	_, err := hung.Lookup(t.Context(), "a")
	wantUnavailable(t, "hanging", err)
	wantUnavailable(t, "the health of one that hangs", hung.Health(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	wantUnavailable(t, "hanging, and nobody waits", d.VerifyPassword(ctx, "a", []byte("right")))
	cancel()
	t.Logf("two calls of a server that hangs took %v", time.Since(began).Round(time.Millisecond))
	s.Resume()
	good()

	other := ldaptest.Start(t, ldaptest.Person("uid=a", "a", "right"))
	cfg = config(other)
	cfg.URLs = []string{"ldaps://127.0.0.1:1", other.Secured}
	d = open(t, cfg)
	good()
}

// TestHealth: that the servers go away and come back is noticed while nobody signs
// in; what the bind account can lock is not tried so often.
func TestHealth(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Person("uid=a", "a", "right"))
	cfg, ahead := config(s), atomic.Int64{}
	cfg.Timeout, cfg.Now = time.Second, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	d := open(t, cfg)
	becomes := func(doing string, step time.Duration, is func(error) bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !is(d.Health(t.Context())); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: health %v", doing, d.Health(t.Context()))
			}
			ahead.Add(int64(step))
		}
	}
	well := func(err error) bool { return err == nil }
	away := func(err error) bool { return errors.Is(err, directory.ErrUnavailable) }
	if err := d.Health(t.Context()); err != nil {
		t.Errorf("before anybody asked: %v", err)
	}
	s.Kill()
	becomes("killed", 5*time.Second, away)
	s.Start()
	becomes("back", 5*time.Second, well)
	s.Pause()
	becomes("paused", 5*time.Second, away)
	s.Resume()
	becomes("resumed", 5*time.Second, well)

	cfg.BaseDN = "uid=a,ou=people," + ldaptest.BaseDN
	d = open(t, cfg)
	if _, err := d.Lookup(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s.Delete("uid=a,ou=people")
	becomes("without its base, on the connection that it has", 5*time.Second, away)
	cfg.BaseDN = ldaptest.BaseDN

	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	cfg.BindPasswordFile = file
	d = open(t, cfg)
	becomes("a wrong password", 0, away)
	write("reader's")
	for range 100 { // some time for what must not happen
		time.Sleep(2 * time.Millisecond)
		if ahead.Add(int64(5 * time.Second)); !away(d.Health(t.Context())) {
			t.Error("the bind was tried again after seconds")
		}
	}
	becomes("the right one", time.Hour, well)
}

// TestManyAtOnce: more callers than connections wait for each other.
func TestManyAtOnce(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Person("uid=a", "a", "right"))
	cfg := config(s)
	cfg.Connections = 2
	d := open(t, cfg)
	errs := make(chan error, 40)
	for i := range cap(errs) {
		go func() {
			if i%2 == 0 {
				_, err := d.Lookup(t.Context(), "a")
				errs <- err
				return
			}
			errs <- d.VerifyPassword(t.Context(), "a", []byte("right"))
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	_, err := d.Lookup(t.Context(), "a")
	wantUnavailable(t, "closed", err)
}

func TestConfig(t *testing.T) {
	good := ldapdirectory.Config{URLs: []string{"ldaps://a"}, BaseDN: "dc=a"}
	for want, edit := range map[string]func(*ldapdirectory.Config){
		"urls: at least one":                 func(c *ldapdirectory.Config) { c.URLs = nil },
		"urls: one is not like":              func(c *ldapdirectory.Config) { c.URLs = []string{"ldaps://user:hunter2@a"} },
		"neither ldaps":                      func(c *ldapdirectory.Config) { c.URLs = []string{"https://a"} },
		"would carry passwords in clear":     func(c *ldapdirectory.Config) { c.URLs = []string{"ldaps://a", "ldap://b"} },
		"exclude each other":                 func(c *ldapdirectory.Config) { c.StartTLS, c.AllowPlaintext = true, true },
		"base_dn: it is needed":              func(c *ldapdirectory.Config) { c.BaseDN = "" },
		"base_dn: \"people\" is no DN":       func(c *ldapdirectory.Config) { c.BaseDN = "people" },
		"user_filter: ":                      func(c *ldapdirectory.Config) { c.UserFilter = "(objectClass=person" },
		"name_attribute: ":                   func(c *ldapdirectory.Config) { c.NameAttribute = "uid=*)(cn" },
		"cert_file and key_file":             func(c *ldapdirectory.Config) { c.CertFile = "x" },
		"bind_dn and bind_password_file":     func(c *ldapdirectory.Config) { c.BindDN = "cn=a" },
		"enabled_attribute and enabled_valu": func(c *ldapdirectory.Config) { c.EnabledAttribute = "x" },
		"disabled_values: it needs":          func(c *ldapdirectory.Config) { c.DisabledValues = []string{"x"} },
		"connections 1 to 64":                func(c *ldapdirectory.Config) { c.Connections = 65 },
		"ca_file: open":                      func(c *ldapdirectory.Config) { c.CAFile = "absent" },
		"bind_password_file: open":           func(c *ldapdirectory.Config) { c.BindDN, c.BindPasswordFile = "cn=a", "absent" },
	} {
		cfg := good
		edit(&cfg)
		_, err := ldapdirectory.Open(cfg)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", want, err)
		}
	}
	if d, err := ldapdirectory.Open(good); err != nil {
		t.Error(err)
	} else {
		_ = d.Close()
	}
}
