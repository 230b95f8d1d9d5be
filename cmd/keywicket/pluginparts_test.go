package main_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/directory/directorytest"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/store/badgerstore"
	"github.com/keywicket/keywicket/core/store/memstore"
	"github.com/keywicket/keywicket/plugins/sdk"
)

// partPrefix begins the name under which this binary is a plugin: one of the
// parts that the daemon has in process.
const partPrefix = "test-part-"

// bePart serves the part of that name.
func bePart(name string) {
	switch name {
	case "memory":
		sdk.ServeStore(memstore.New())
	case "badger":
		sdk.ServeStore(&badgerPart{})
	case "local":
		d, err := localPart(context.Background())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		sdk.ServeDirectory(d)
	default:
		os.Exit(9)
	}
}

// A badgerPart is the store of a daemon, in the folder of its setting dir.
type badgerPart struct{ *badgerstore.Store }

func (p *badgerPart) Configure(_ context.Context, s sdk.Settings) error {
	var settings struct {
		Dir  string `json:"dir"`
		Slow bool   `json:"slow"`
	}
	err := s.Decode(&settings)
	if settings.Slow { // as one that has much to read at its start
		time.Sleep(500 * time.Millisecond)
	}
	if err == nil {
		p.Store, err = badgerstore.Open(settings.Dir, badgerstore.Options{})
	}
	return err
}

func (p *badgerPart) Close() error {
	if p.Store == nil {
		return nil
	}
	return p.Store.Close()
}

// localPart has the accounts of the suite.
func localPart(ctx context.Context) (*local.Directory, error) {
	keys, err := keyring.New(time.Now())
	if err != nil {
		return nil, err
	}
	d := local.New(memstore.New(), keys, local.Options{Cost: local.Cost{Time: 1, MemoryKiB: 64, Threads: 1}})
	return d, directorytest.Fill(ctx, d, directorytest.Standard())
}

// partPath returns the path of this binary as that part.
func partPath(t testing.TB, part string) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	path := filepath.Join(shortDir(t), partPrefix+part)
	must(t, os.Symlink(self, path))
	return path
}

// partSpec is what a host runs the part with.
func partSpec(t testing.TB, part string, kind pluginhost.Kind, settings map[string]any) pluginhost.Spec {
	t.Helper()
	path := partPath(t, part)
	sum, err := pluginhost.Sum(path)
	must(t, err)
	return pluginhost.Spec{Name: part, Kind: kind, Path: path, SHA256: sum, Settings: settings}
}

// TestPluginCheckParts: what the daemon has in process keeps its contract as a
// plugin too, and so do the hook and the notifier of ours. Those with a server
// behind them have tests of their own: CSV, Python, LDAP, etcd and PAM.
func TestPluginCheckParts(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct{ path, kind, settings, promises, sum string }{
		"badger": {partPath(t, "badger"), "store", `dir = "` + s.path("badger") + "\"\nslow = true", "snapshot/", "keeps all of"},
		"local":  {partPath(t, "local"), "directory", "", "password/none-set", "1 could not be tried"},
		"hours":  {pluginPath(t, "hours"), "hook", "from = \"08:00\"\nto = \"18:00\"", "hook/check", "keeps all of"},
		"mail":   {pluginPath(t, "mail"), "notifier", "host = \"localhost\"\nfrom = \"door@contoso.com\"", "process/stays", "1 could not be tried"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := s.path(name + ".toml")
			writeFile(t, settings, c.settings)
			r := s.run("", "plugin", "check", c.path, "--kind", c.kind, "--settings", settings)
			if r.code != 0 || !strings.Contains(r.out, c.sum) || !strings.Contains(r.out, "kept         "+c.promises) {
				t.Errorf("%s", r)
			}
		})
	}
	// Who has a watch is asked for what changes.
	r := s.run("", "plugin", "check", partPath(t, "local"), "--change", "echo not here >&2; exit 5")
	if r.code != 1 || !strings.Contains(r.out, "broken       watch/changes") || !strings.Contains(r.out, `--change: exit status 5: "not here\n"`) {
		t.Errorf("%s", r)
	}
	// Not durable is what memory is, and nothing else.
	r = s.run("", "plugin", "check", partPath(t, "memory"))
	if r.code != 1 || !strings.Contains(r.out, "broken       durable/") || !strings.Contains(r.out, "BREAKS 1 of") {
		t.Errorf("%s", r)
	}
}

// pamHost runs its arguments on a copy of this host's accounts that nobody else
// sees, with two of the suite's.
const pamHost = `set -eu
dir=$1 service=$2
shift 2
for file in passwd shadow group; do
	cat "/etc/$file" "$dir/$file" >"$dir/whole"
	cat "$dir/whole" >"$dir/$file"
	mount --bind "$dir/$file" "/etc/$file"
done
mkdir "$dir/pam.d"
cp "$service" "$dir/pam.d/keywicket-main"
mount --bind "$dir/pam.d" /etc/pam.d
exec "$@"
`

// TestPAMPluginCheck: the accounts of a host keep the contract as a plugin: with
// the real libpam, pam_unix and the service that contrib has for it.
func TestPAMPluginCheck(t *testing.T) {
	s := newPAMSite(t)
	if out, err := exec.Command("unshare", "--mount", "--propagation", "private", "mount", "--bind", s.dir, s.dir).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: %s", err, out)
		}
		t.Skipf("nothing can be mounted here: %v: %s", err, out)
	}
	// SHA-512 crypt of "right one" and "wrong one".
	right := "$6$keywicket$4vFBte4Uja4vINgmeKl.D62I5kpFXu3p8CpfbUH2AieCTYBAqgHmnHWz0LG4H1NniUlotlZeAkiiIKEGfnjye1"
	wrong := "$6$keywicket$LRnoSryJ88/thTPumcS1lzofr6eQtfkSSy5bTG5SMMfm.i/JfJaCmOqKZmJeTWkJTAG3eWbEVlrana0m6YDGB1"
	host := s.path("host")
	must(t, os.Mkdir(host, 0o700))
	writeFile(t, host+"/passwd", "kwalain:x:61001:61001::/nonexistent:/bin/sh\nkwbea:x:61002:61001::/nonexistent:/bin/sh\n")
	writeFile(t, host+"/group", "kwstaff:x:61001:\nkwvpn:x:61002:kwalain\n")
	writeFile(t, host+"/shadow", "kwalain:"+right+":20000:0:99999:7:::\nkwbea:"+wrong+":20000:0:99999:7::1:\n") // whose account has expired
	writeFile(t, s.path("pam.sh"), pamHost)
	writeFile(t, s.path("accounts.toml"), `enabled = { name = "kwalain", password = "right one", groups = ["kwstaff", "kwvpn"] }
disabled = { name = "kwbea", password = "wrong one", groups = ["kwstaff"] }
absent = { name = "kwnobody" }
`)
	service, err := filepath.Abs("../../contrib/pam.d/keywicket-main")
	must(t, err)
	check := func(accounts string) (string, error) {
		out, err := exec.Command("unshare", "--mount", "--propagation", "private", "sh", s.path("pam.sh"), host, service,
			"keywicket", "plugin", "check", s.program, "--kind", "directory", "--accounts", accounts).CombinedOutput()
		return string(out), err
	}
	if out, err := check(s.path("accounts.toml")); err != nil || !strings.Contains(out, "kept         password/right") {
		t.Errorf("%v: %s", err, out)
	}
	var exit *exec.ExitError
	if out, err := exec.Command("keywicket", "plugin", "check", s.program, "--accounts", s.path("accounts.toml")).CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("on this host, which has none of them: %v: %s", err, out)
	}
}
