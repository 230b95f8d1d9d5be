package main_test

import (
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// changeStore changes the store of a site whose daemon is stopped.
func (s *site) changeStore(change func(disk store.Store) store.Op) {
	s.t.Helper()
	disk, err := badgerstore.Open(s.path("data/store"), badgerstore.Options{})
	must(s.t, err)
	_, err = disk.Apply(s.t.Context(), store.Batch{change(disk)})
	must(s.t, err)
	must(s.t, disk.Close())
}

// S14: after a rotation, and a kill in the middle of it, what was issued works
// under both keys; the old one is kept while a record needs it, also one that
// cannot be opened, and can be retired afterwards.
func TestS14Keyring(t *testing.T) {
	needRadclient(t)
	s := startSite(t)
	o := s.enroll(alain)
	old := s.keys()[0].ID
	s.refused(1, "the newest key cannot be retired", "", "keyring", "retire", old)
	s.refused(1, "has no key", "", "keyring", "retire", "0123456789abcdef")
	s.stop()
	const strange = "account/somebody else"
	s.changeStore(func(disk store.Store) store.Op { // which opens under its own key alone
		e, err := disk.Get(t.Context(), "account/"+alain)
		must(t, err)
		return store.Op{Action: store.Put, Key: strange, Value: e.Value}
	})
	s.start()
	s.ok("", "keyring", "rotate")
	s.crash()
	s.expect(accept, alain, o.first.Password)
	until(t, "one record alone needs the old key", func() bool { return s.keys()[0].Records == 1 })
	file := readFile(t, s.path("keyring"))
	s.refused(1, "need the key "+old, "", "keyring", "retire", old)
	if all := s.keys(); len(all) != 2 || readFile(t, s.path("keyring")) != file {
		t.Errorf("after a refusal there are %+v, or the file was changed", all)
	}
	s.stop()
	s.changeStore(func(store.Store) store.Op { return store.Op{Action: store.Delete, Key: strange} })
	s.start()
	s.ok("", "keyring", "retire", old)
	for range 2 {
		if all := s.keys(); len(all) != 1 || all[0].ID == old || !all[0].Newest {
			t.Errorf("after the old key was retired there are %+v", all)
		}
		s.expect(accept, alain, o.first.Password)
		s.restart()
	}
	if out := s.ok("", "audit", "verify", "--config", s.config()); !strings.Contains(out, "nothing is missing or changed") {
		t.Errorf("audit verify: %s", out)
	}
	if !strings.Contains(s.log(), `"msg":"the keyring has a newer key","id":"`+s.keys()[0].ID) {
		t.Errorf("the log does not name the newer key:\n%s", s.log())
	}
}

// A rootKey is what "keyring check" tells of one.
type rootKey struct {
	ID      string
	Newest  bool
	Records int
}

func (s *site) keys() (all []rootKey) {
	s.t.Helper()
	s.decode(&all, "", "keyring", "check")
	return all
}
