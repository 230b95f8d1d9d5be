package main_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// A reasonSite is a site with accounts that the reasons are produced with.
type reasonSite struct {
	*site
	metrics string
	alain   owner
	beate   owner
}

func startReasonSite(t *testing.T) *reasonSite {
	t.Helper()
	needRadclient(t)
	s := &reasonSite{metrics: freePort(t)}
	s.site = newSite(t, `[metrics]`, `listen = "`+s.metrics+`"`,
		`[group.denied]`, `app_passwords = "deny"`,
		`[profile.lounge]`, `services = ["radius/lounge"]`,
		`[profile.console]`, `pin = "device"`,
		`[profile.once]`, `sessions = 1`,
		`[profile.hasty]`, `first_use_within = "1s"`)
	s.edit(`#accounting = ["127.0.0.1:1813"]`, `accounting = ["127.0.0.1:0"]`)
	s.edit(`#main_password = "never"`, `main_password = "without-two-step"`)
	s.start()
	s.alain, s.beate = s.enroll(alain), s.enroll(beate)
	return s
}

// A reasonRow produces one reason from outside. It returns the account whose
// "why" tells of it.
type reasonRow func(s *reasonSite) (account string)

// rejected signs in as alain, and wants it refused.
func rejected(password func(s *reasonSite) string, more ...string) reasonRow {
	return func(s *reasonSite) string {
		s.expect(reject, alain, password(s), more...)
		return alain
	}
}

func reasonRows() map[core.Reason]reasonRow {
	return map[core.Reason]reasonRow{
		core.ReasonUnknownAccount: func(s *reasonSite) string {
			s.expect(reject, "nobody@contoso.com", s.alain.first.Password)
			return "nobody@contoso.com"
		},
		core.ReasonAccountDisabled: func(s *reasonSite) string {
			s.ok("", "user", "disable", beate)
			defer s.ok("", "user", "enable", beate)
			s.expect(reject, beate, s.beate.first.Password)
			return beate
		},
		core.ReasonAppPasswordsDenied: deniedByConfiguration,
		core.ReasonTwoStepOff: func(s *reasonSite) string {
			o := s.enroll("off@contoso.com")
			s.ok("", "two-step", "off", o.name, "--yes")
			s.expect(reject, o.name, o.first.Password)
			return o.name
		},
		core.ReasonMistyped: rejected(func(s *reasonSite) string { return mistype(s.alain.first.Password) }),
		core.ReasonWrong:    rejected(func(s *reasonSite) string { return s.beate.first.Password }),
		core.ReasonDeleted: rejected(func(s *reasonSite) string {
			made := s.create(alain, "lost telephone")
			s.ok("", "app-password", "delete", alain, "lost telephone", "--yes")
			return made.Password
		}),
		core.ReasonExpired:       ended("expired", "--expires", "1s"),
		core.ReasonUnusedExpired: ended("unused", "--profile", "hasty"),
		core.ReasonSuspended: rejected(func(s *reasonSite) string {
			made := s.create(alain, "resting")
			s.ok("", "app-password", "suspend", alain, made.ID)
			return made.Password
		}),
		core.ReasonOutOfScope:       rejected(func(s *reasonSite) string { return s.create(alain, "lounge", "--profile", "lounge").Password }),
		core.ReasonMethodNotEnabled: func(s *reasonSite) string { return s.rejectedRaw(`CHAP-Password = "whatever"`) },
		core.ReasonPinMismatch: rejected(func(s *reasonSite) string {
			made := s.create(alain, "console", "--profile", "console")
			s.expect(accept, alain, made.Password, `Calling-Station-Id = "first"`)
			return made.Password
		}, `Calling-Station-Id = "second"`),
		core.ReasonTooManySessions: rejected(func(s *reasonSite) string {
			s.start() // the row of tamper has taken its daemon with it
			made := s.create(alain, "once", "--profile", "once")
			class := s.expect(accept, alain, made.Password).class()
			s.account("Start", `Acct-Session-Id = "once"`, class)
			return made.Password
		}),
		core.ReasonMainPasswordRefused: rejected(func(s *reasonSite) string {
			s.ok(mainPassword+"\n", "user", "set-password", alain)
			return mainPassword
		}),
		core.ReasonMalformed:   func(s *reasonSite) string { return s.rejectedRaw() },
		core.ReasonThrottled:   throttled,
		core.ReasonUnavailable: undecided,
		core.ReasonTamper:      tampered,
		core.ReasonRefusedByHook: rejected(func(s *reasonSite) string {
			s.plug("hours", "hook", `from = "00:00"`, `to = "00:00"`)
			s.start() // the row before has ended the daemon with its test
			return s.alain.first.Password
		}),
	}
}

// rejectedRaw sends a request of alain with these attributes alone.
func (s *reasonSite) rejectedRaw(attributes ...string) string {
	s.t.Helper()
	if a := s.radclient(append(attributes, userName(alain))...); a.code != reject {
		s.t.Errorf("%s, want %s\n%s", a.code, reject, a.text)
	}
	return alain
}

// mistype changes the first letter.
func mistype(password string) string {
	if password[0] == 'a' {
		return "b" + password[1:]
	}
	return "a" + password[1:]
}

// deniedByConfiguration takes app passwords away from a group after one of its
// members was given one.
func deniedByConfiguration(s *reasonSite) string {
	s.edit("[group.denied]\napp_passwords = \"deny\"", "[group.denied]\napp_passwords = \"allow\"")
	s.reload()
	o := s.enroll("denied@contoso.com", "--group", "denied")
	s.expect(accept, o.name, o.first.Password)
	s.edit("[group.denied]\napp_passwords = \"allow\"", "[group.denied]\napp_passwords = \"deny\"")
	s.reload()
	s.expect(reject, o.name, o.first.Password)
	return o.name
}

// ended makes an app password that ends after a second, without being used.
func ended(name string, flags ...string) reasonRow {
	return func(s *reasonSite) string {
		made := s.create(alain, name, flags...)
		until(s.t, name+" ends", func() bool {
			var all []struct{ ID, Status string }
			s.decode(&all, "", "app-password", "list", alain)
			return slices.ContainsFunc(all, func(p struct{ ID, Status string }) bool { return p.ID == made.ID && p.Status != "active" })
		})
		s.expect(reject, alain, made.Password)
		return alain
	}
}

// throttled lets one device fail more often than is answered.
func throttled(s *reasonSite) string {
	a := s.radclientWith([]string{"-c", "120", "-p", "120", "-r", "1", "-t", "3"},
		userName(beate), userPassword(s.alain.first.Password), `Calling-Station-Id = "mad"`)
	if !strings.Contains(a.text, silence) {
		s.t.Errorf("120 failures of one device at once were all answered")
	}
	s.expect(accept, beate, s.beate.first.Password, `Calling-Station-Id = "mad"`)
	return beate
}

// undecided lets main passwords be checked for callers with little time, until
// one of them is not decided in it: half of the processors hash at once, and
// the others wait.
func undecided(s *reasonSite) (account string) {
	d := s.dial()
	for i := range 8 {
		s.ok(mainPassword+"\n", "user", "add", fmt.Sprintf("slow%d@contoso.com", i), "--password")
	}
	round := 0
	until(s.t, "an attempt is not decided", func() bool {
		round++
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(round%60+1)*time.Millisecond/2)
				defer cancel()
				r := &controlv1.VerifyRequest{Account: fmt.Sprintf("slow%d@contoso.com", i), Password: mainPassword, Service: "radius/vpn1"}
				_, _ = d.Verify(ctx, r) // what matters is what the daemon tells of it
			})
		}
		all.Wait()
		for i := range 8 { // whose turn did not come is left to chance
			name := fmt.Sprintf("slow%d@contoso.com", i)
			r, err := d.ListAttempts(s.t.Context(), &controlv1.ListAttemptsRequest{Account: name})
			must(s.t, err)
			if slices.ContainsFunc(r.Attempts, func(a *controlv1.Attempt) bool { return a.Reason == string(core.ReasonUnavailable) }) {
				account = name
			}
		}
		return account != ""
	})
	return account
}

// tampered puts the record of one account in the place of another's, as who
// can write the store could.
func tampered(s *reasonSite) string {
	o := s.enroll("swapped@contoso.com")
	s.stop()
	swapRecords(s.t, s.path("data/store"), "account/"+alain, "account/"+o.name)
	s.start()
	s.expect(reject, o.name, o.first.Password)
	s.expect(reject, o.name, s.alain.first.Password)
	return o.name
}

// swapRecords puts the value at from also at to.
func swapRecords(t testing.TB, dir, from, to string) {
	t.Helper()
	db, err := badgerstore.Open(dir, badgerstore.Options{})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	entry, err := db.Get(t.Context(), from)
	must(t, err)
	_, err = db.Apply(t.Context(), store.Batch{{Action: store.Put, Key: to, Value: entry.Value}})
	must(t, err)
}

// Every reason can be produced from outside, and is told alike by "why", "why
// --json", the audit and the metrics (design, section 8).
func TestEveryReason(t *testing.T) {
	t.Parallel()
	s := startReasonSite(t)
	rows := reasonRows()
	for _, reason := range core.Reasons() {
		row, ok := rows[reason]
		if !ok {
			t.Errorf("reason %q: no row here; produce it from outside", reason)
			continue
		}
		delete(rows, reason)
		t.Run(string(reason), func(t *testing.T) {
			s.t = t
			defer func(whole testing.TB) { s.t = whole }(s.site.t)
			account := row(s)
			s.checkWhy(account, reason)
			s.checkAudit(account, reason)
			s.checkMetrics(reason)
		})
	}
	for reason := range maps.Keys(rows) {
		t.Errorf("reason %q: core does not have it", reason)
	}
}

func (s *reasonSite) checkWhy(account string, reason core.Reason) {
	s.t.Helper()
	all := s.why(account)
	i := slices.IndexFunc(all, func(a attempt) bool { return a.Reason == string(reason) })
	if i < 0 {
		s.t.Fatalf("why %s --json does not tell of it: %+v", account, all)
	}
	if a := all[i]; a.Result != "refused" || a.Sentence != reason.Sentence() || a.Service != "radius/vpn1" || time.Since(a.Time) > time.Hour {
		s.t.Errorf("why %s --json: %+v", account, a)
	}
	if out := s.ok("", "why", account); !strings.Contains(out, "("+string(reason)+"): "+reason.Sentence()) {
		s.t.Errorf("why %s lacks the sentence of %s:\n%s", account, reason, out)
	}
}

// checkAudit waits for the line: events are written a moment after.
func (s *reasonSite) checkAudit(account string, reason core.Reason) {
	s.t.Helper()
	want := fmt.Sprintf(`"account":"%s"`, account)
	until(s.t, "the audit tells of "+string(reason), func() bool {
		for line := range strings.Lines(s.audit()) {
			if strings.Contains(line, want) && strings.Contains(line, `"reason":"`+string(reason)+`"`) && strings.Contains(line, `"result":"refused"`) {
				return true
			}
		}
		return false
	})
}

// audit returns the text of all files of the audit.
func (s *site) audit() string {
	s.t.Helper()
	files, err := filepath.Glob(s.path("data/audit/*.jsonl"))
	must(s.t, err)
	var all strings.Builder
	for _, path := range files {
		all.WriteString(readFile(s.t, path))
	}
	return all.String()
}

func (s *reasonSite) checkMetrics(reason core.Reason) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.metrics + "/metrics")
	must(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(s.t, err)
	want := fmt.Sprintf(`,reason="%s",result="refused"} `, reason)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, `keywicket_attempts_total{bridge="radius",`) && strings.Contains(line, want) {
			return
		}
	}
	s.t.Errorf("metrics do not count %s:\n%s", reason, text)
}
