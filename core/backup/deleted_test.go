package backup_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/backup"
)

// source is what can tell a restore of the time after the backup.
type source string

const (
	whole   source = "the replaced store"
	trail   source = "the audit"
	nobody  source = "nothing"
	suspend source = "nothing, with --suspend"
)

// lose takes away what shall not tell.
func (s *site) lose(what source) {
	s.t.Helper()
	s.stop()
	if what == whole {
		must(s.t, os.RemoveAll(s.auditDir()))
		return
	}
	must(s.t, os.RemoveAll(s.storeDir()))
	if what != trail {
		must(s.t, os.RemoveAll(s.auditDir()))
	}
}

// A later is something that happens after the backup, and what must be so
// after the restore, by what can tell of it.
type later struct {
	name   string
	happen func(s *site, o *owner) error
	want   map[source]core.Reason // of the app password "Printer"
	check  func(s *site, o *owner, from source) error
}

func told(r core.Reason) map[source]core.Reason {
	return map[source]core.Reason{whole: r, trail: r, nobody: "", suspend: core.ReasonSuspended}
}

func matrix() []later {
	return []later{
		{name: "nothing", want: told("")},
		{name: "delete", want: told(core.ReasonDeleted), happen: func(s *site, o *owner) error {
			_, err := s.engine.Delete(s.t.Context(), o.name, "Printer")
			return err
		}},
		{name: "delete all", want: told(core.ReasonDeleted), happen: func(s *site, o *owner) error {
			_, err := s.engine.DeleteAll(s.t.Context(), o.name)
			return err
		}},
		{name: "suspend", want: told(core.ReasonSuspended), happen: func(s *site, o *owner) error {
			_, err := s.engine.Suspend(s.t.Context(), o.name, "Printer")
			return err
		}},
		{name: "suspend and resume", want: told(""), happen: func(s *site, o *owner) error {
			_, err := s.engine.Suspend(s.t.Context(), o.name, "Printer")
			if err == nil {
				_, err = s.engine.Resume(s.t.Context(), o.name, "Printer")
			}
			return err
		}},
		{name: "rotate", want: told(core.ReasonDeleted), happen: func(s *site, o *owner) error {
			_, text, err := s.engine.Rotate(s.t.Context(), o.name, "Printer", 0)
			o.passwords["rotated"] = password{text: text.Canonical()}
			return err
		}, check: func(s *site, o *owner, from source) error {
			if got := s.verify(o.name, o.passwords["rotated"].text, ""); (got == "") != (from == whole) {
				return fmt.Errorf("the text that it was rotated to: %q", got)
			}
			return nil
		}},
		{name: "create", want: told(""), happen: func(s *site, o *owner) error {
			s.create(o, "Later", "")
			return nil
		}, check: func(s *site, o *owner, _ source) error {
			if got := s.verify(o.name, o.passwords["Later"].text, ""); got != core.ReasonWrong {
				return fmt.Errorf("one made after the backup: %q", got)
			}
			return nil
		}},
		{name: "account deleted", want: told(core.ReasonUnknownAccount), happen: func(s *site, o *owner) error {
			return s.engine.DeleteAccount(s.t.Context(), o.name)
		}},
		{name: "account deleted and made anew", want: told(core.ReasonUnknownAccount), happen: func(s *site, o *owner) error {
			if err := s.engine.DeleteAccount(s.t.Context(), o.name); err != nil {
				return err
			}
			passwords := o.passwords
			*o = *s.enroll(o.name)
			o.passwords = passwords
			return nil
		}},
		{name: "account disabled", want: map[source]core.Reason{whole: core.ReasonAccountDisabled, trail: core.ReasonAccountDisabled, nobody: "", suspend: core.ReasonSuspended},
			happen: func(s *site, o *owner) error { return s.engine.SetEnabled(s.t.Context(), o.name, false) }},
		{name: "two-step off", want: told(core.ReasonTwoStepOff), happen: func(s *site, o *owner) error {
			return s.engine.TurnOffTwoStep(s.t.Context(), o.name)
		}},
		{name: "a new telephone", want: map[source]core.Reason{whole: "", trail: core.ReasonTwoStepOff, nobody: "", suspend: core.ReasonSuspended},
			happen: func(s *site, o *owner) error {
				uri, err := s.engine.Enroll(s.t.Context(), o.name)
				if err != nil {
					return err
				}
				lost := owner{name: o.name, uri: o.uri}
				o.uri = uri
				_, err = s.engine.Confirm(s.t.Context(), o.name, s.code(o), core.NewAppPassword{})
				o.passwords["lost telephone"] = password{text: lost.uri}
				return err
			}, check: func(s *site, o *owner, from source) error {
				s.pass(10 * 60e9)
				code := s.code(&owner{uri: o.passwords["lost telephone"].text})
				if err := s.engine.CheckCode(s.t.Context(), o.name, code); err == nil && (from == whole || from == trail) {
					return errors.New("the lost telephone's codes are right again")
				}
				return nil
			}},
		{name: "code used", want: told(""), happen: func(s *site, o *owner) error {
			code := s.code(o)
			o.passwords["code"] = password{text: code}
			return s.engine.CheckCode(s.t.Context(), o.name, code)
		}, check: func(s *site, o *owner, _ source) error {
			for range 4 { // the clock went back to when the code was fresh
				if s.engine.CheckCode(s.t.Context(), o.name, o.passwords["code"].text) == nil {
					return errors.New("a code works twice")
				}
				s.pass(-30e9)
			}
			return nil
		}},
		{name: "recovery code used", want: told(""), happen: func(s *site, o *owner) error {
			return s.engine.CheckCode(s.t.Context(), o.name, o.recovery[3])
		}, check: func(s *site, o *owner, from source) error {
			if s.engine.CheckCode(s.t.Context(), o.name, o.recovery[3]) == nil && (from == whole || from == trail) {
				return errors.New("a recovery code works twice")
			}
			if err := s.engine.CheckCode(s.t.Context(), o.name, o.recovery[4]); err != nil && from == whole {
				return fmt.Errorf("a recovery code that was not used: %w", err)
			}
			return nil
		}},
		{name: "main password set", want: told(""), happen: func(s *site, o *owner) error {
			return s.engine.SetMainPassword(s.t.Context(), o.name, []byte("another password"))
		}, check: func(s *site, o *owner, from source) error {
			// With two-step verification on it is refused, and recognised.
			got := s.verify(o.name, "main password of "+o.name, "")
			if got == core.ReasonMainPasswordRefused && (from == whole || from == trail) {
				return errors.New("the old main password is right again")
			}
			return nil
		}},
	}
}

// What was taken away after the backup stays away, whatever is left to tell;
// where nothing is, it is said.
func TestDeletedStaysDeleted(t *testing.T) {
	for _, from := range []source{whole, trail, nobody, suspend} {
		for _, l := range matrix() {
			t.Run(string(from)+"/"+l.name, func(t *testing.T) {
				s := newSite(t)
				o, other := s.enroll("alain@contoso.com", "Printer"), s.enroll("beate@contoso.com")
				s.tick()
				path := s.backup("backup", "")
				s.tick()
				if l.happen != nil {
					must(t, l.happen(s, o))
				}
				s.lose(from)
				report := s.restore(from == suspend, path)
				s.expect(o, "Printer", l.want[from])
				want := core.Reason("")
				if from == suspend {
					want = core.ReasonSuspended
				}
				s.expect(other, "first", want)
				if report.AuditUntil.IsZero() != (from != trail) {
					t.Errorf("the audit tells until %v", report.AuditUntil)
				}
				if (len(report.Unsure) > 0) != (from == nobody || from == suspend) {
					t.Errorf("unsure of %d app passwords", len(report.Unsure))
				}
				away := slices.ContainsFunc(report.Away, func(i backup.Item) bool { return i.Name == "Printer" })
				if all, err := s.engine.List(t.Context(), o.name); l.want[from] == core.ReasonDeleted && (away || l.name != "rotate") &&
					(err != nil || slices.ContainsFunc(all, func(p core.AppPassword) bool { return p.Name == "Printer" })) {
					t.Errorf("it is listed still: %v, %v", all, err)
				}
				if l.check != nil {
					if err := l.check(s, o, from); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// The report names what does not come back, and why, and what is lost.
func TestReportNames(t *testing.T) {
	for _, from := range []source{whole, trail} {
		s := newSite(t)
		o, gone := s.enroll("alain@contoso.com", "Printer", "Phone"), s.enroll("beate@contoso.com")
		s.tick()
		path := s.backup("backup", "")
		s.tick()
		_, err := s.engine.Delete(t.Context(), o.name, "Printer")
		must(t, err)
		_, _, err = s.engine.Rotate(t.Context(), o.name, "Phone", 0)
		must(t, err)
		must(t, s.engine.DeleteAccount(t.Context(), gone.name))
		s.create(o, "Later", "")
		s.lose(from)
		report := s.restore(false, path)
		var got []string
		for _, i := range append(slices.Clone(report.Away), report.Later...) {
			got = append(got, fmt.Sprintf("%s/%s/%s/%s", i.Account, i.Name, i.Why, i.From))
		}
		want := []string{"alain@contoso.com/Printer/deleted/store", "beate@contoso.com/first/account-deleted/store", "alain@contoso.com/Later//store"}
		if from == trail {
			want = []string{"alain@contoso.com/Printer/deleted/audit", "alain@contoso.com/Phone/rotated/audit", "beate@contoso.com/first/account-deleted/audit"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", from, got, want)
		}
		if (report.Kept != "") != (from == whole) {
			t.Errorf("%s: kept as %q", from, report.Kept)
		}
	}
}

// An audit that was changed, that begins after the backup or that misses
// events tells nothing.
func TestAuditThatTellsNothing(t *testing.T) {
	for name, spoil := range map[string]func(s *site){
		"edited": func(s *site) {
			s.stop()
			files, err := filepath.Glob(s.auditDir() + "/audit-*.jsonl")
			must(t, err)
			text, err := os.ReadFile(files[0])
			must(t, err)
			text[len(text)/2] ^= 1
			must(t, os.WriteFile(files[0], text, 0o600))
		},
		"begun anew": func(s *site) {
			s.stop()
			must(t, os.RemoveAll(s.auditDir()))
			s.start()
		},
		"gone": func(s *site) { s.stop(); must(t, os.RemoveAll(s.auditDir())) },
		"events are missing": func(s *site) {
			must(t, s.events.Record(core.Event{Kind: "audit-dropped", Detail: "3 events could not be recorded"}))
		},
	} {
		s := newSite(t)
		o := s.enroll("alain@contoso.com", "Printer")
		s.tick()
		path := s.backup("backup", "")
		s.tick()
		_, err := s.engine.Delete(t.Context(), o.name, "Printer")
		must(t, err)
		spoil(s)
		s.stop()
		must(t, os.RemoveAll(s.storeDir()))
		r, err := backup.Prepare(t.Context(), s.options(path))
		must(t, err)
		if report := r.Report(); len(report.Unsure) != 2 || len(report.Away) != 0 || report.AuditSays == "" || report.Untold == "" {
			t.Errorf("%s: %+v", name, report)
		}
		must(t, r.Close())
	}
}

// Stores that are no later state tell nothing: one of another beginning under
// the same keyring, one of another keyring, and an older copy.
func TestStoreThatTellsNothing(t *testing.T) {
	s := newSite(t)
	s.enroll("beate@contoso.com")
	s.stop()
	must(t, os.CopyFS(s.dir+"/older", os.DirFS(s.storeDir())))
	s.start()
	s.tick()
	s.enroll("alain@contoso.com", "Printer")
	s.tick()
	path := s.backup("backup", "")
	s.stop()
	must(t, os.RemoveAll(s.auditDir()))
	for name, put := range map[string]func(){
		"another beginning": func() {
			s.tick()
			s.start()
			s.enroll("alain@contoso.com")
			s.stop()
			must(t, os.RemoveAll(s.auditDir()))
		},
		"another keyring": func() { must(t, os.CopyFS(s.storeDir(), os.DirFS(newHalfway(t).storeDir()))) },
		"an older copy":   func() { must(t, os.CopyFS(s.storeDir(), os.DirFS(s.dir+"/older"))) },
	} {
		must(t, os.RemoveAll(s.storeDir()))
		put()
		r, err := backup.Prepare(t.Context(), s.options(path))
		must(t, err)
		if report := r.Report(); len(report.Unsure) != 3 || len(report.Away) != 0 {
			t.Errorf("%s: %+v", name, report)
		}
		must(t, r.Close())
	}
}

// A damaged store tells nothing, and is kept.
func TestDamagedStore(t *testing.T) {
	s := newSite(t)
	o := s.enroll("alain@contoso.com", "Printer")
	s.tick()
	path := s.backup("backup", "")
	s.tick()
	_, err := s.engine.Delete(t.Context(), o.name, "Printer")
	must(t, err)
	s.stop()
	tables, err := filepath.Glob(s.storeDir() + "/*.sst")
	must(t, err)
	if len(tables) == 0 {
		t.Fatal("the store has no table")
	}
	text, err := os.ReadFile(tables[0])
	must(t, err)
	text[0] ^= 1
	must(t, os.WriteFile(tables[0], text, 0o600))
	report := s.restore(false, path) // the audit tells
	if len(report.Away) != 1 || report.Kept == "" || len(report.Unsure) != 0 {
		t.Errorf("%+v", report)
	}
	kept, err := os.ReadFile(filepath.Join(report.Kept, filepath.Base(tables[0])))
	must(t, err)
	if string(kept) != string(text) {
		t.Error("the damaged store was changed")
	}
	s.expect(o, "Printer", core.ReasonDeleted)
	s.expect(o, "first", "")
}

// An app password stays with the device that it was pinned to.
func TestPinStays(t *testing.T) {
	for _, from := range []source{whole, trail} {
		s := newSite(t)
		o := s.enroll("alain@contoso.com")
		made := s.create(o, "Xbox", "pinned")
		s.tick()
		path := s.backup("backup", "")
		s.tick()
		if got := s.verify(o.name, made.text, "xbox"); got != "" {
			t.Fatal(got)
		}
		s.lose(from)
		s.restore(false, path)
		if got := s.verify(o.name, made.text, "stranger"); got != core.ReasonPinMismatch {
			t.Errorf("%s: another device: %q", from, got)
		}
		if got := s.verify(o.name, made.text, "xbox"); got != "" {
			t.Errorf("%s: its device: %q", from, got)
		}
	}
}

// An app password is deleted for good, over any number of restores.
func TestRestoreTwice(t *testing.T) {
	s := newSite(t)
	o := s.enroll("alain@contoso.com", "Printer", "Phone")
	s.tick()
	path := s.backup("backup", "")
	s.tick()
	_, err := s.engine.Delete(t.Context(), o.name, "Printer")
	must(t, err)
	for range 3 {
		s.restore(false, path)
		s.expect(o, "Printer", core.ReasonDeleted)
		s.expect(o, "Phone", "")
	}
	_, err = s.engine.Delete(t.Context(), o.name, "Phone")
	must(t, err)
	s.restore(false, path)
	s.expect(o, "Printer", core.ReasonDeleted)
	s.expect(o, "Phone", core.ReasonDeleted)
}

// A restore of an older backup does not make a newer one forget what was
// deleted after both.
func TestRestoreOlderThenNewer(t *testing.T) {
	s := newSite(t)
	o := s.enroll("alain@contoso.com", "Printer")
	s.tick()
	older := s.backup("older", "")
	s.tick()
	for i := range 5 {
		s.create(o, fmt.Sprint(i), "")
	}
	newer := s.backup("newer", "")
	s.tick()
	_, err := s.engine.Delete(t.Context(), o.name, "Printer")
	must(t, err)
	s.lose(whole)
	s.restore(false, older)
	s.lose(whole)
	report := s.restore(false, newer)
	s.expect(o, "Printer", core.ReasonDeleted)
	s.expect(o, "first", "")
	s.expect(o, "3", core.ReasonDeleted) // it was lost with the restore before
	if len(report.Unsure) > 0 {
		t.Errorf("%+v", report)
	}
}
