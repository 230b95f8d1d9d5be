package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
)

func dump(tb testing.TB, f *File) string {
	tb.Helper()
	text, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

func parseGood(tb testing.TB, text string) *File {
	tb.Helper()
	f, err := Parse("/etc/keywicket/keywicket.toml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

const smallest = "data_dir = \"data\"\nkeyring = \"keyring\"\n"

func TestDefaults(t *testing.T) {
	got := parseGood(t, smallest)
	got.positions = nil
	want := &File{
		Path:      "/etc/keywicket/keywicket.toml",
		DataDir:   "/etc/keywicket/data",
		Keyring:   "/etc/keywicket/keyring",
		Store:     Store{Kind: "badger", Memory: 64 << 20, ReplicaMaxAge: time.Hour},
		Directory: Directory{Kind: "local", MaxAge: time.Minute, Stale: 15 * time.Minute},
		Policy: Policy{
			Limit: 40, RequireTwoStep: true, MainPassword: "never", OnTwoStepOff: "suspend",
			FirstOnEnroll: true, OnPasswordChange: "keep", AllowAppPasswords: true,
		},
		Profiles: []Profile{{
			Name: "default", Letters: 20, Services: []string{"*"}, Methods: []string{"cleartext"},
			Pin: "none", AllowAppPasswords: true,
		}},
		Control: Control{Socket: "/run/keywicket/control.sock", Group: "keywicket"},
		Log:     Log{Level: "info", Format: "auto"},
		Audit:   Audit{Path: "/etc/keywicket/data/audit"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	c := parseGood(t, smallest+"[radius]\nlisten=[\"[::1]:1812\"]\n[radius.client.a]\naddress=[\"::1\"]\nsecret_file=\"a\"\n[pam]\n")
	wantClient := Client{Name: "a", Service: "a", SecretFile: "/etc/keywicket/a", Address: []netip.Prefix{netip.MustParsePrefix("::1/128")}, Methods: []string{"cleartext"}, FailuresPerSecond: 200}
	if !reflect.DeepEqual(c.Radius.Clients, []Client{wantClient}) {
		t.Errorf("client %+v, want %+v", c.Radius.Clients, wantClient)
	}
	if c.Radius.RejectDelay != time.Second || c.Radius.Realm != RealmKeep {
		t.Errorf("radius %+v", c.Radius)
	}
	if want := (PAM{Socket: "/run/keywicket/pam.sock", MinUID: 1000}); !reflect.DeepEqual(*c.PAM, want) {
		t.Errorf("pam %+v, want %+v", *c.PAM, want)
	}
}

// TestFull checks that each key of full.toml reaches its field: no field has
// the value that it would have without the key.
func TestFull(t *testing.T) {
	f := parseGood(t, string(read(t, testdata+"/good/full.toml")))
	got := dump(t, f)
	want := strings.TrimSpace(string(read(t, "testdata/full.json")))
	if got != want {
		t.Errorf("full.toml became\n%s", got)
	}
	if names := []string{f.Radius.Clients[0].Name, f.Radius.Clients[1].Name}; !slices.IsSorted(names) {
		t.Errorf("clients %v, want them sorted", names)
	}
	if c := f.Radius.Clients[1]; string(c.InlineSecret.Bytes()) != "planted-secret-0123456789" || string(c.InlineOldSecret.Bytes()) != "planted-secret-of-before" {
		t.Errorf("inline secrets %q and %q", c.InlineSecret.Bytes(), c.InlineOldSecret.Bytes())
	}
	if p, ok := f.Profile("default"); !ok || p.Letters != 28 || p.UnusedAfter != 9*day+3*time.Hour || p.FirstUseWithin != 36*time.Hour {
		t.Errorf("profile default is %+v, want 28 letters and the policy's times", p)
	}
	if _, ok := f.Profile("absent"); ok {
		t.Error("there is a profile that is not there")
	}
}

// schema returns every key that the reader asks for in text, and every key that
// text has, with NAME for chosen names.
func schema(tb testing.TB, text []byte) (asked, given map[string]bool) {
	tb.Helper()
	values := map[string]any{}
	if err := toml.Unmarshal(text, &values); err != nil {
		tb.Fatal(err)
	}
	r := &reader{asked: map[string]bool{}}
	r.read(values)
	if err := r.faults.Err(); err != nil {
		tb.Fatalf("faults:\n%v", err)
	}
	maps.DeleteFunc(r.asked, func(key string, _ bool) bool { return strings.Contains(key, ".reply.") })
	given = map[string]bool{}
	var walk func(pattern string, values map[string]any)
	walk = func(pattern string, values map[string]any) {
		for name, value := range values {
			key := pattern + name
			if slices.Contains([]string{"group.", "profile.", "plugin.", "radius.client."}, pattern) {
				key = pattern + "NAME"
			} else {
				given[key] = true
			}
			if below, ok := value.(map[string]any); ok && name != "reply" && name != "settings" {
				walk(key+".", below)
			}
		}
	}
	walk("", values)
	return r.asked, given
}

func TestFullHasEveryKey(t *testing.T) {
	asked, given := schema(t, read(t, testdata+"/good/full.toml"))
	if len(asked) < 60 {
		t.Errorf("only %d keys were asked for", len(asked))
	}
	for key := range asked {
		if !given[key] {
			t.Errorf("full.toml has no %s", key)
		}
	}
}

// TestExample checks that the example parses as it is and with every example
// line switched on, and that it then has every key of the schema.
func TestExample(t *testing.T) {
	f, err := Parse("/srv/kw/keywicket.toml", Example("/srv/kw"))
	if err != nil {
		t.Fatal(err)
	}
	if f.DataDir != "/srv/kw/data" || f.Keyring != "/srv/kw/keyring" || f.Control.Socket != "/srv/kw/control.sock" {
		t.Errorf("paths %q %q %q, want them in /srv/kw", f.DataDir, f.Keyring, f.Control.Socket)
	}
	if f.Radius == nil || !slices.Equal(f.Radius.Listen, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1812")}) {
		t.Errorf("radius is %+v, want it on 127.0.0.1:1812", f.Radius)
	}
	whole := regexp.MustCompile(`(?m)^#(\[|[a-z0-9_]+ = )`).ReplaceAll(Example("/srv/kw"), []byte("$1"))
	asked, given := schema(t, whole)
	all, _ := schema(t, read(t, testdata+"/good/full.toml"))
	for key := range all {
		if !asked[key] || !given[key] {
			t.Errorf("the example does not mention %s", key)
		}
	}
}

// TestExampleExplains checks that a comment stands above every key.
func TestExampleExplains(t *testing.T) {
	key := regexp.MustCompile(`^#?([a-z0-9_]+) = `)
	before, explained := "", map[string]bool{}
	for _, line := range strings.Split(example, "\n") {
		if m := key.FindStringSubmatch(line); m != nil {
			if !strings.HasPrefix(before, "# ") && !explained[m[1]] {
				t.Errorf("nothing explains %q", line)
			}
			explained[m[1]] = true
		}
		before = line
	}
	if len(explained) < 40 {
		t.Errorf("only %d keys were seen", len(explained))
	}
}

func TestExamplePaths(t *testing.T) {
	for dir, want := range map[string]string{
		"/":              "/data",
		"/a/":            "/a/data",
		`/a "b\c`:        `/a "b\c/data`,
		"relative":       "/file/data",
		"/\u00e9/@DIR@x": "/\u00e9/@DIR@x/data",
	} {
		f, err := Parse("/file/keywicket.toml", Example(dir))
		if err != nil {
			t.Errorf("%q: %v", dir, err)
			continue
		}
		if f.DataDir != want {
			t.Errorf("%q: data_dir %q, want %q", dir, f.DataDir, want)
		}
	}
	if _, err := Parse("/file/keywicket.toml", Example("/a\nb")); err == nil {
		t.Error("a folder with a line break in its name was taken")
	}
}

func TestLine(t *testing.T) {
	f := parseGood(t, smallest+`
[radius.client.a]
address = [
  "192.0.2.1",
  "192.0.2.2",
]
secret_file = "a"
reply = { Class = "a", "Filter-Id" = "b" }
[radius]
listen = ["[::1]:1812"]
[profile.default]
reply.Class = "x"
[profile."Class".reply]
"a.b" = "c"
`)
	for _, tt := range []struct {
		line int
		key  string
	}{
		{1, "data_dir"}, {4, "radius/client/a"}, {5, "radius/client/a/address"}, {6, "radius/client/a/address/0"},
		{7, "radius/client/a/address/1"}, {10, "radius/client/a/reply/Class"}, {10, "radius/client/a/reply/Filter-Id"},
		{11, "radius"}, {11, "radius/realm"}, {4, "radius/client/a/service"}, {4, "radius/client"},
		{14, "profile/default/reply/Class"}, {15, "profile/Class/reply"}, {16, "profile/Class/reply/a.b"},
		{1, "pam"}, {1, "pam/socket"}, {1, ""},
	} {
		if got := f.Line(strings.Split(tt.key, "/")...); got != tt.line {
			t.Errorf("Line(%s) = %d, want %d", tt.key, got, tt.line)
		}
	}
	fault := f.Fault("no such attribute; drop it", "profile", "Class", "reply", "a.b")
	if got, want := fault.Error(), `/etc/keywicket/keywicket.toml:16: profile.Class.reply."a.b": no such attribute; drop it`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	later := Faults{fault, f.Fault("bad; mend", "data_dir")}
	if err := later.Err(); err == nil || !strings.Contains(strings.SplitN(err.Error(), "\n", 2)[0], "data_dir") {
		t.Errorf("faults are not in order: %v", err)
	}
	if err := (Faults{}).Err(); err != nil {
		t.Errorf("no fault is the error %v", err)
	}
}

// TestC1NoSecretPrinted prints a configuration in every way that Go has.
func TestC1NoSecretPrinted(t *testing.T) {
	f := parseGood(t, string(read(t, testdata+"/good/full.toml")))
	c := f.Radius.Clients[1]
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	logger.Info("x", "file", f, "client", c, "secret", c.InlineSecret)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "file", f, "client", c, "secret", c.InlineSecret)
	written, err := toml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out := log.String() + dump(t, f) + string(written)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T"} {
		for _, value := range []any{f, *f, f.Radius, *f.Radius, c, &c, c.InlineSecret, &c.InlineSecret, []Secret{c.InlineSecret}} {
			out += fmt.Sprintf(verb, value)
		}
	}
	for _, bad := range []string{"planted", fmt.Sprintf("%x", "planted"), fmt.Sprintf("%X", "planted"), fmt.Sprint([]byte("planted"))[1:20]} {
		if strings.Contains(out, bad) {
			t.Errorf("the secret is printed as %s", bad)
		}
	}
	if !strings.Contains(out, "[secret]") {
		t.Error("nothing shows that there is a secret")
	}
}

// TestC1SecretInOpenFile: a secret that everybody may read is warned of, and one
// that everybody may write is refused; a file with no secret may be read.
func TestC1SecretInOpenFile(t *testing.T) {
	text := smallest + "allow_inline_secrets = true\n[radius]\nlisten=[\"[::1]:1812\"]\n[radius.client.a]\naddress=[\"::1\"]\nsecret = \"planted-secret-0123\"\n"
	path := filepath.Join(t.TempDir(), "keywicket.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, good := range map[fs.FileMode]bool{0o600: true, 0o640: true, 0o644: true, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		f, err := Load(path)
		if (err == nil) != good {
			t.Errorf("mode %04o: %v, want good = %v", mode, err, good)
		}
		if err != nil {
			checkFaults(t, err, path)
			continue
		}
		got := slices.DeleteFunc(f.Warnings(), func(w Fault) bool { return !strings.Contains(w.Text, "everybody on this host can read the secret") })
		if want := mode == 0o644; len(got) != 0 != want || want && (got[0].Key != "radius.client.a.secret" || got[0].Line != 8) {
			t.Errorf("mode %04o: warnings %v", mode, got)
		}
	}
	secret := filepath.Join(t.TempDir(), "a.secret")
	if err := os.WriteFile(secret, []byte("planted-secret-0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	text = strings.Replace(text, "secret = \"planted-secret-0123\"", "secret_file = \""+secret+"\"", 1)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, 0o644)); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[fs.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1} {
		if err := os.Chmod(secret, mode); err != nil {
			t.Fatal(err)
		}
		f, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Warnings(); len(got) != want || want > 0 && got[0].Key != "radius.client.a.secret_file" {
			t.Errorf("a secret's own file of mode %04o: %v", mode, got)
		}
	}
}

func TestLoadTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keywicket.toml")
	text := smallest + "#" + strings.Repeat(" ", fileMax-len(smallest)-1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Errorf("the largest file: %v", err)
	}
	if err := os.WriteFile(path, []byte(text+" "), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Error("a file that is too large was read")
	}
}

// TestPositionsBounded checks that a key of many parts takes little memory: its
// paths together would be as long as the square of the file.
func TestPositionsBounded(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("a.", 5000) + "a = 1",
		strings.Repeat("a = {", 5000) + strings.Repeat("}", 5000),
		strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
	} {
		if n := len(findPositions([]byte(text))); n > keyDepth {
			t.Errorf("%.10s…: %d positions, want at most %d", text, n, keyDepth)
		}
	}
}

func TestLoadAbsent(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "absent"), t.TempDir()} {
		if f, err := Load(path); err == nil || f != nil {
			t.Errorf("Load(%s) = %v, %v, want an error", path, f, err)
		}
	}
}

// TestR1MessageAuthenticator checks that the switch is on unless it is switched
// off in so many words, and what follows for Proxy-State.
func TestR1MessageAuthenticator(t *testing.T) {
	for line, want := range map[string]struct {
		ma    MessageAuthenticator
		limit bool
		fault bool
	}{
		"":                                      {MessageAuthenticatorRequired, false, false},
		"require_message_authenticator=true":    {MessageAuthenticatorRequired, false, false},
		"require_message_authenticator=false":   {MessageAuthenticatorOptional, true, false},
		"require_message_authenticator='auto'":  {MessageAuthenticatorAuto, true, false},
		"limit_proxy_state=true":                {MessageAuthenticatorRequired, true, false},
		"limit_proxy_state=false":               {MessageAuthenticatorRequired, false, false},
		"require_message_authenticator='false'": {fault: true},
		"require_message_authenticator=0":       {fault: true},
		"require_message_authenticator=false\nlimit_proxy_state=false": {fault: true},
		"require_message_authenticator='auto'\nlimit_proxy_state='no'": {fault: true},
	} {
		f, err := Parse("x", []byte(smallest+"[radius]\nlisten=['[::1]:1812']\n[radius.client.a]\naddress=['::1']\nsecret_file='a'\n"+line))
		if (err != nil) != want.fault {
			t.Errorf("%q: %v, want a fault = %v", line, err, want.fault)
		}
		if err != nil {
			continue
		}
		if c := f.Radius.Clients[0]; c.MessageAuthenticator != want.ma || c.LimitProxyState != want.limit {
			t.Errorf("%q: %v, %v, want %v, %v", line, c.MessageAuthenticator, c.LimitProxyState, want.ma, want.limit)
		}
		if warned := len(f.Warnings()) > 0; warned != (want.ma != MessageAuthenticatorRequired) {
			t.Errorf("%q: warnings %v", line, f.Warnings())
		}
	}
}

func TestWarnings(t *testing.T) {
	f := parseGood(t, string(read(t, testdata+"/good/full.toml")))
	var got []string
	for _, w := range f.Warnings() {
		if !strings.Contains(w.Text, `no user "www-data"`) { // as hosts other than Debian's have it
			got = append(got, w.Key)
		}
	}
	want := []string{
		"pam.users", "profile.tiny.services", "radius.client.any.require_message_authenticator", "radius.client.vpn1.require_message_authenticator",
		"radius.client.vpn1.allow_weak_secret", "radius.client.vpn1.allow_repeated_authenticator", "radius.client.vpn1.allow_insecure_mschap",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := parseGood(t, smallest+"[profile.one]\nsessions=1\n").Warnings(); len(got) != 1 || !strings.Contains(got[0].Text, "radius.accounting") {
		t.Errorf("sessions without accounting: %v", got)
	}
	if got := parseGood(t, smallest+"[pam]\nservices=['su', 'sshd', 'sudo']\n").Warnings(); len(got) != 2 {
		t.Errorf("got %v, want one for su and one for sudo", got)
	}
	if got := parseGood(t, smallest+"[pam]\nservices=['sshd']\nusers=['root', 'roo']\n").Warnings(); len(got) != 2 || !strings.Contains(got[0].Text, `no user "roo"`) {
		t.Errorf("got %v, want one for roo and one for having any", got)
	}
	if got := parseGood(t, smallest+"[pam]\n[radius]\nlisten=['[::1]:1812']\n").Warnings(); len(got) != 2 {
		t.Errorf("got %v, want one for pam and one for radius", got)
	}
}

// A configuration that everybody may write is none, and a folder of it is warned of.
func TestOpenToEverybody(t *testing.T) {
	dir := t.TempDir()
	file, data := filepath.Join(dir, "keywicket.toml"), filepath.Join(dir, "data")
	if err := errors.Join(os.WriteFile(file, []byte("data_dir='data'\nkeyring='keyring'\n"), 0o600), os.Mkdir(data, 0o700)); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o600: "", 0o664: "", 0o646: file + ":1: this file has mode 0646, so that everybody on this host can change it; chmod 640 it"} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(file); err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("mode %v: %v, want %q", mode, err, want)
		}
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{data: "data_dir", dir: "keyring"} {
		for mode, n := range map[os.FileMode]int{0o757: 1, 0o755: 0} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			f, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			got := f.Warnings()
			if len(got) != n || n > 0 && (got[0].Key != want || !strings.Contains(got[0].Text, path+" has mode 0757")) {
				t.Errorf("%s with mode %v: %v", path, mode, got)
			}
			if err := os.Chmod(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Editors put a mark before UTF-8; lines are counted as without it.
func TestByteOrderMark(t *testing.T) {
	parseGood(t, "\ufeff"+smallest)
	_, err := Parse("x", []byte("\ufeff"+smallest+"colour=1\n"))
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Line != 3 {
		t.Error(err)
	}
}

func TestMinFree(t *testing.T) {
	for line, want := range map[string]int64{"": 0, "min_free_mib = 256": 256 << 20, "min_free_mib = 16": 16 << 20} {
		if got := parseGood(t, smallest+"[store]\n"+line).Store.MinFree; got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
	for _, line := range []string{"min_free_mib = 15", "min_free_mib = 1048577", "min_free_mib = -1", "min_free_mib = '1G'"} {
		if _, err := Parse("x", []byte(smallest+"[store]\n"+line)); err == nil {
			t.Errorf("%q is no fault", line)
		}
	}
}

func TestMemory(t *testing.T) {
	for line, want := range map[string]int64{"": 64 << 20, "memory_mib = 0": 0, "memory_mib = 1536": 1536 << 20} {
		if got := parseGood(t, smallest+"[store]\n"+line).Store.Memory; got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
	for _, line := range []string{"memory_mib = -1", "memory_mib = 1048577", "memory_mib = '1G'"} {
		if _, err := Parse("x", []byte(smallest+"[store]\n"+line)); err == nil || !strings.Contains(err.Error(), "memory_mib") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestR6Warnings: a secret of 16 to 23 octets is taken, with a warning where it
// stands.
func TestR6Warnings(t *testing.T) {
	for octets, want := range map[int]int{16: 1, 23: 1, 24: 0, 256: 0} {
		for _, inline := range []bool{false, true} {
			secret := strings.Repeat("s", octets)
			line := "secret='" + secret + "'"
			if !inline {
				file := filepath.Join(t.TempDir(), "secret")
				if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				line = "secret_file='" + file + "'"
			}
			f := parseGood(t, "allow_inline_secrets=true\n"+smallest+"[radius]\nlisten=['[::1]:1812']\n[radius.client.a]\naddress=['::1']\n"+line)
			got := f.Warnings()
			if len(got) != want {
				t.Errorf("%d octets, inline %v: %v, want %d warnings", octets, inline, got, want)
			}
			for _, w := range got {
				if w.Line != 8 || !strings.Contains(w.Text, strconv.Itoa(octets)+" octets") || strings.Contains(w.Error(), secret) {
					t.Errorf("%d octets, inline %v: %v", octets, inline, w)
				}
			}
		}
	}
}

// A profile for a service that no client has is warned of.
func TestWarnsOfNoService(t *testing.T) {
	const clients = "allow_inline_secrets=true\n" + smallest + "[radius]\nlisten=['[::1]:1812']\n[radius.client.vpn1]\naddress=['::1']\nsecret='planted-secret-0123456789'\n" +
		"[radius.client.b]\naddress=['::2']\nsecret='planted-secret-0123456789'\nservice='lounge'\n[profile.p]\nservices="
	for services, want := range map[string]string{
		"['radius/vpn1', 'radius/lounge', 'radius/*', 'radius/v*1', '*', 'pam/sshd', 'rad*']": "", "['radius/vnp1']": "vnp1", "['radius/vpn1', 'radius/b*']": "b*", "['radius/b']": "radius/b",
	} {
		got := parseGood(t, clients+services).Warnings()
		if len(got) != min(len(want), 1) || want != "" && (got[0].Key != "profile.p.services" || !strings.Contains(got[0].Text, want)) {
			t.Errorf("%s: %v, want %q", services, got, want)
		}
	}
	if got := parseGood(t, smallest+"[profile.p]\nservices=['radius/vpn1']\n").Warnings(); len(got) != 0 {
		t.Errorf("without RADIUS: %v", got)
	}
}

// What an editor or a copy put around a secret is warned of, and never shown.
func TestOddSecrets(t *testing.T) {
	const good = "planted-secret-0123456789"
	for secret, want := range map[string]string{
		good: "", good + "\n": "", "planted secret 0123 456789": "",
		good + "\n\n": "empty line", good + "\nx\n": "line break", good + "\rx": "line break", "\ufeff" + good: "byte order mark", " " + good: "space or a tab",
		good + "\t\n": "space or a tab", good + "\x00\n": "octet of zero",
	} {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		for key, more := range map[string]string{"secret_file": "", "old_secret_file": "secret='another-secret-0123456789'\nold_secret_until='2999-01-01'\n"} {
			got := parseGood(t, "allow_inline_secrets=true\n"+smallest+"[radius]\nlisten=['[::1]:1812']\n[radius.client.a]\naddress=['::1']\n"+key+"='"+file+"'\n"+more).Warnings()
			if len(got) != min(len(want), 1) || len(got) > 0 && (got[0].Key != "radius.client.a."+key || !strings.Contains(got[0].Text, want) || strings.Contains(got[0].Text, "planted")) {
				t.Errorf("%q as %s: %v, want %q", secret, key, got, want)
			}
		}
	}
}

// TestClientMethods: what a client may use by default, and what is warned of.
func TestClientMethods(t *testing.T) {
	for lines, want := range map[string]struct {
		methods  string
		warnings int
	}{
		"":                             {"cleartext", 0},
		"allow_insecure_mschap = true": {"cleartext mschapv2", 1},
		"methods = ['chap']":           {"chap", 0},
		"methods = ['mschapv2']":       {"mschapv2", 1},
		"methods = ['cleartext']\nallow_insecure_mschap = true":        {"cleartext", 1},
		"methods = ['mschapv2', 'chap']\nallow_insecure_mschap = true": {"mschapv2 chap", 1},
	} {
		f := parseGood(t, smallest+"[radius]\nlisten=['[::1]:1812']\n[radius.client.a]\naddress=['::1']\nsecret_file='a'\n"+lines)
		if got := strings.Join(f.Radius.Clients[0].Methods, " "); got != want.methods || len(f.Warnings()) != want.warnings {
			t.Errorf("%q: methods %q, warnings %v, want %+v", lines, got, f.Warnings(), want)
		}
	}
	for lines, want := range map[string]int{
		"methods = ['mschapv2']": 1, "methods = ['mschapv2']\nservices = ['radius/vpn*']": 0, "methods = ['chap']": 0,
	} {
		if got := parseGood(t, smallest+"[profile.p]\n"+lines).Warnings(); len(got) != want {
			t.Errorf("%q: warnings %v, want %d", lines, got, want)
		}
	}
}
