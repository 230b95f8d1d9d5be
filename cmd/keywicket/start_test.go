package main_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// tree returns every file below the site's directory with its mode and a hash
// of its content.
func (s *site) tree() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	must(s.t, filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == s.path("stderr.log") {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		all[path] = fmt.Sprintf("%v %d", info.Mode(), info.Size())
		if info.IsDir() {
			all[path] = info.Mode().String()
		}
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all[path] += fmt.Sprintf(" %x", sha256.Sum256(text))
		}
		return nil
	}))
	return all
}

// changes says what differs between two trees. Badger makes two files anew
// whenever it opens a store, which hold nothing: its empty value log, and its
// registry of no keys.
func changes(before, after map[string]string) []string {
	var all []string
	for _, path := range slices.Sorted(maps.Keys(after)) {
		switch filepath.Base(path) {
		case "000001.vlog", "KEYREGISTRY":
			continue
		}
		if _, ok := before[path]; !ok {
			all = append(all, "made: "+path)
		} else if before[path] != after[path] {
			all = append(all, "changed: "+path+"\n  from "+before[path]+"\n  to   "+after[path])
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			all = append(all, "removed: "+path)
		}
	}
	return all
}

// A startRow is a site that the daemon refuses to start in.
type startRow struct {
	used  bool // the store has an account
	spoil func(s *site)
	code  int
	says  []string
}

func startRows() map[string]startRow {
	return map[string]startRow{
		"keyring that others can read": {true, func(s *site) { must(s.t, os.Chmod(s.path("keyring"), 0o644)) }, 2, []string{"mode 0644", "chmod 600"}},
		"keyring of another store":     {true, otherKeyring, 2, []string{"not the one that this store was sealed with"}},
		"keyring missing, store used":  {true, func(s *site) { must(s.t, os.Remove(s.path("keyring"))) }, 2, []string{"restore the keyring from its backup"}},
		"keyring missing, store new":   {false, func(s *site) { must(s.t, os.Remove(s.path("keyring"))) }, 2, []string{"keywicket init"}},
		"keyring damaged":              {true, func(s *site) { flipLetter(s.t, s.path("keyring")) }, 2, []string{"keyring", "cannot be used"}},
		"keyring empty":                {true, func(s *site) { must(s.t, os.Truncate(s.path("keyring"), 0)) }, 2, []string{"is empty"}},
		"keyring is a directory": {true, func(s *site) {
			must(s.t, os.Remove(s.path("keyring")))
			must(s.t, os.Mkdir(s.path("keyring"), 0o700))
		}, 2, []string{"is a folder: name the file"}},
		"data_dir missing": {false, func(s *site) { must(s.t, os.Remove(s.path("data"))) }, 1, []string{"is its disk mounted?"}},
		"data_dir is a file": {false, func(s *site) {
			must(s.t, os.Remove(s.path("data")))
			writeFile(s.t, s.path("data"), "")
		}, 1, []string{"is no directory"}},
		"newer format": {true, newerFormat, 2, []string{"newer than this version reads", "use a newer keywicket"}},
		"faults of the file": {true, func(s *site) {
			s.edit("[log]", "[log]\nlevel = \"loud\"\nlevels = 1")
			s.edit("#limit = 40", "limit = 41")
		}, 2, []string{"keywicket.toml:", "policy.limit", "log.level", "log.levels"}},
		"faults of the parts": {true, func(s *site) {
			s.add("[radius.client.vpn2]", `address = ["127.0.0.2"]`, `secret_file = "missing.secret"`,
				"[profile.vpn]", `reply = { "No-Such-Thing" = "1" }`)
		}, 2, []string{"missing.secret", "profile.vpn.reply.No-Such-Thing"}},
		"not TOML":                   {true, func(s *site) { s.add("[log") }, 2, []string{"keywicket.toml:", "this is not TOML"}},
		"a file where the socket is": {true, func(s *site) { writeFile(s.t, s.socket(), "mine") }, 1, []string{"is no socket"}},
		"no folder for the socket": {true, func(s *site) {
			s.edit(`socket = "`+s.socket()+`"`, `socket = "`+s.path("none/control.sock")+`"`)
		}, 1, []string{"none/control.sock", "does its folder exist"}},
	}
}

func otherKeyring(s *site) {
	keys, err := keyring.New(time.Now())
	must(s.t, err)
	must(s.t, os.Remove(s.path("keyring")))
	must(s.t, keys.WriteFile(s.path("keyring")))
}

// flipLetter changes a letter in the middle of the last line.
func flipLetter(t testing.TB, path string) {
	t.Helper()
	text := []byte(readFile(t, path))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	at := strings.LastIndex(string(text), lines[len(lines)-1]) + len(lines[len(lines)-1]) - 8
	if text[at]++; text[at] > 'y' {
		text[at] = 'a'
	}
	must(t, os.WriteFile(path, text, 0o600))
}

// newerFormat says in the store's first record that a later version wrote it:
// in protobuf the last value of a field counts, and format is field 1.
func newerFormat(s *site) {
	keys, err := keyring.ReadFile(s.path("keyring"))
	must(s.t, err)
	db, err := badgerstore.Open(s.path("data/store"), badgerstore.Options{})
	must(s.t, err)
	const kind, key = "meta", "meta/store"
	entry, err := db.Get(s.t.Context(), key)
	must(s.t, err)
	plain, err := keys.Open(kind, key, entry.Value)
	must(s.t, err)
	plain = protowire.AppendVarint(protowire.AppendTag(plain, 1, protowire.VarintType), 99)
	_, err = db.Apply(s.t.Context(), store.Batch{{Action: store.Put, Key: key, Value: keys.Seal(kind, key, plain)}})
	must(s.t, errors.Join(err, db.Close()))
}

// A daemon that cannot start says why, and has made and changed nothing.
func TestFailedStarts(t *testing.T) {
	t.Parallel()
	for name, row := range startRows() {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			if row.used {
				s.start()
				s.enroll(alain)
				s.stop()
			}
			row.spoil(s)
			before := s.tree()
			r := keywicket(t, "", "serve", "--config", s.config())
			if r.code != row.code || r.out != "" {
				t.Errorf("%s\nwant exit code %d", r, row.code)
			}
			for _, words := range row.says {
				if !strings.Contains(r.err, words) {
					t.Errorf("stderr lacks %q: %s", words, r.err)
				}
			}
			for _, change := range changes(before, s.tree()) {
				t.Error(change)
			}
		})
	}
}

// A second daemon leaves the first one alone.
func TestSecondDaemon(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	if r := keywicket(t, "", "serve", "--config", s.config()); r.code != 1 || !strings.Contains(r.err, "is open in another process") {
		t.Errorf("over the same store: %s", r)
	}
	other := newSite(t)
	other.edit(`socket = "`+other.socket()+`"`, `socket = "`+s.socket()+`"`)
	if r := keywicket(t, "", "serve", "--config", other.config()); r.code != 1 || !strings.Contains(r.err, "another daemon listens on") {
		t.Errorf("at the same control socket: %s", r)
	}
	third := newSite(t)
	third.edit(`"127.0.0.1:0"`, `"`+s.radius+`"`)
	if r := keywicket(t, "", "serve", "--config", third.config()); r.code != 1 || !strings.Contains(r.err, s.radius) || !strings.Contains(r.err, "in use") {
		t.Errorf("at the same port: %s", r)
	}
	address := freePort(t)
	fourth, fifth := newSite(t, "[metrics]", `listen = "`+address+`"`), newSite(t, "[metrics]", `listen = "`+address+`"`)
	fourth.start()
	if r := keywicket(t, "", "serve", "--config", fifth.config()); r.code != 1 || !strings.Contains(r.err, address) || !strings.Contains(r.err, "[metrics] listen") {
		t.Errorf("at the same port for metrics: %s", r)
	}
	s.expect(accept, alain, o.first.Password)
	s.ok("", "status")
}

// The socket that a killed daemon left behind is replaced.
func TestStaleSocket(t *testing.T) {
	s := startSite(t)
	s.daemon.signal(t, 9)
	s.daemon.wait(t)
	if _, err := os.Lstat(s.socket()); err != nil {
		t.Fatalf("a killed daemon leaves its socket: %v", err)
	}
	s.refused(3, "nobody listens on the control socket", "", "status")
	s.start()
	s.ok("", "status")
}
