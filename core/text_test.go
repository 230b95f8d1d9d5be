package core_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// VerifyText says what Verify says wherever it says anything, and else leaves
// no trace.
func TestVerifyText(t *testing.T) {
	const day = 24 * time.Hour
	type scene struct {
		f          *fixture
		id, text   string // of an app password that is right
		service    string
		device     string
		typed, who string // what is presented instead
	}
	for name, tt := range map[string]struct {
		change func(s *scene)
		putOff bool
	}{
		"right":     {change: func(*scene) {}},
		"a device":  {change: func(s *scene) { s.device = "02:00:5e:10:00:01" }},
		"shouted":   {change: func(s *scene) { s.typed = strings.ToUpper(s.text); s.who = strings.ToUpper(alain) }},
		"grouped":   {change: func(s *scene) { s.typed = s.text[:4] + "-" + s.text[4:] }},
		"wrong":     {change: func(s *scene) { s.typed = otherText(s.f.t) }},
		"mistyped":  {change: func(s *scene) { s.typed = s.text[1:] + "b" }},
		"scope":     {change: func(s *scene) { _, s.typed = s.f.create("console", "lounge") }},
		"method":    {change: func(s *scene) { _, s.typed = s.f.create("chap", "chap") }},
		"suspended": {change: func(s *scene) { _, err := s.f.Suspend(s.f.ctx, alain, s.id); must(s.f.t, err) }},
		"deleted":   {change: func(s *scene) { _, err := s.f.Delete(s.f.ctx, alain, s.id); must(s.f.t, err) }},
		"disabled":  {change: func(s *scene) { must(s.f.t, s.f.SetEnabled(s.f.ctx, alain, false)) }},
		"two-step":  {change: func(s *scene) { must(s.f.t, s.f.TurnOffTwoStep(s.f.ctx, alain)) }},

		"unknown":          {func(s *scene) { s.who = "nobody@contoso.com" }, true},
		"no ASCII":         {func(s *scene) { s.who = "älain@contoso.com" }, true},
		"empty name":       {func(s *scene) { s.who = " " }, true},
		"no app password":  {func(s *scene) { s.typed = "something else" }, true},
		"first use, a pin": {func(s *scene) { _, s.typed = s.f.create("tv", "pinned"); s.device = "tv" }, true},
		"pinned to none":   {func(s *scene) { _, s.typed = s.f.create("tv", "pinned") }, false},
		"long unused":      {func(s *scene) { s.f.pass(31 * day) }, true},
		"main password": {func(s *scene) {
			s.f.policy.MainPassword = core.MainWithoutTwoStep
			must(s.f.t, s.f.SetPolicy(s.f.policy))
			must(s.f.t, s.f.TurnOffTwoStep(s.f.ctx, alain))
			s.typed = "clever main password"
		}, true},
	} {
		for _, near := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, with the store at hand: %v", name, near), func(t *testing.T) {
				f := newFixture(t, func(f *fixture) {
					if near {
						f.beNearby()
					}
					f.policy.Profiles["lounge"] = core.Profile{Letters: 20, Services: []string{"radius/lounge"}, Methods: []proof.Method{proof.MethodCleartext}}
					f.policy.Profiles["chap"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCHAP}}
					f.policy.Profiles["pinned"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCleartext}, PinDevice: true}
					f.policy.UnusedAfter = 30 * day
				})
				made, text := f.addAlain()
				s := &scene{f: f, id: made.ID, text: text, service: "radius/vpn1", who: alain}
				tt.change(s)
				if s.typed == "" {
					s.typed = s.text
				}
				a := core.Attempt{Service: s.service, Device: s.device}
				try := func() (core.Grant, bool, error) {
					g := core.Grant{Session: make([]byte, 5, 200), Profile: "left over"}
					decided, err := f.VerifyText(&a, []byte(s.who), []byte(s.typed), &g)
					return g, decided, err
				}
				before := len(f.recorded(core.EventAttempt))
				_, atOnce, _ := try()
				if atOnce != (near && !tt.putOff) {
					t.Errorf("decided without the account in the cache: %v", atOnce)
				}
				if n := len(f.recorded(core.EventAttempt)) - before; (n == 1) != atOnce {
					t.Errorf("%d attempts recorded, and decided: %v", n, atOnce)
				}
				var got core.Grant
				var decided bool
				var gotErr error
				for range 100 {
					_ = f.try(otherText(t)) // now it is at hand, unless news of it are still on their way
					before = len(f.recorded(core.EventAttempt))
					if got, decided, gotErr = try(); decided != tt.putOff {
						break
					}
					time.Sleep(time.Millisecond)
				}
				if decided == tt.putOff {
					t.Fatalf("decided: %v", decided)
				}
				if n := len(f.recorded(core.EventAttempt)) - before; (n == 1) != decided {
					t.Errorf("%d attempts recorded", n)
				}
				if !decided {
					return
				}
				if a.Account != alain {
					t.Errorf("the account is called %q", a.Account)
				}
				a.Account, a.Proof = s.who, proof.Cleartext(s.typed)
				want, wantErr := f.Verify(f.ctx, a)
				if core.ReasonOf(gotErr) != core.ReasonOf(wantErr) || core.KindOf(gotErr) != core.KindOf(wantErr) {
					t.Errorf("%v, want %v", gotErr, wantErr)
				}
				if gotErr == nil && len(got.Session) != len(want.Session) {
					t.Errorf("a session of %d octets, want %d", len(got.Session), len(want.Session))
				}
				if gotErr == nil {
					got.Session, want.Session = nil, nil
					if !reflect.DeepEqual(got, want) {
						t.Errorf("granted %+v, want %+v", got, want)
					}
				}
				events := f.recorded(core.EventAttempt)
				one, other := events[len(events)-2], events[len(events)-1]
				one.Time, other.Time = time.Time{}, time.Time{}
				if !reflect.DeepEqual(one, other) {
					t.Errorf("recorded %+v, want %+v", one, other)
				}
			})
		}
	}
}

// A nearStore has all that is in memory at hand.
type nearStore struct {
	*faultyStore
	memory *memstore.Store
	hides  string // the beginning of keys that it has not
}

func (s *nearStore) AtHand(room []byte, key string) ([]byte, store.Revision, bool) {
	if s.hides != "" && strings.HasPrefix(key, s.hides) {
		return room, 0, false
	}
	return s.memory.AtHand(room, key)
}

// beNearby gives f a store, and a directory over it, that have everything at hand.
func (f *fixture) beNearby() *nearStore {
	s := &nearStore{faultyStore: f.store, memory: f.store.Store.(*memstore.Store)}
	f.opt.Store = s
	f.opt.Directory = local.New(s, f.keys, local.Options{Now: f.clock, Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
	return s
}

// What is at hand is decided by only if all of it is, if the account is not in the
// cache, if the store was opened, and if nothing is wrong with it; whatever it is, it
// is no other answer than that of the store itself.
func TestBroughtFromTheStore(t *testing.T) {
	overwrite := func(f *fixture, key string) {
		e, err := f.store.Get(f.ctx, key)
		must(f.t, err)
		e.Value[len(e.Value)-1] ^= 1
		_, err = f.store.Store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: key, Value: e.Value}})
		must(f.t, err)
	}
	says := func(a directory.Account) func(*fixture, *nearStore) {
		return func(f *fixture, _ *nearStore) { f.opt.Directory = &answers{Directory: f.opt.Directory, a: a} }
	}
	for name, tt := range map[string]struct {
		change  func(f *fixture, s *nearStore)
		decided bool
		reason  core.Reason // of Verify
	}{
		"nothing":                            {func(*fixture, *nearStore) {}, true, ""},
		"the record is not at hand":          {func(_ *fixture, s *nearStore) { s.hides = "account/" }, false, ""},
		"the directory's is not":             {func(_ *fixture, s *nearStore) { s.hides = "local/" }, false, ""},
		"the record was altered":             {func(f *fixture, _ *nearStore) { overwrite(f, "account/"+alain) }, false, core.ReasonTamper},
		"the directory's record was altered": {func(f *fixture, _ *nearStore) { overwrite(f, "local/"+alain) }, false, core.ReasonTamper},
		"the account is gone": {func(f *fixture, _ *nearStore) {
			must(f.t, f.opt.Directory.(directory.Editor).Remove(f.ctx, alain))
		}, false, core.ReasonUnknownAccount},
		"the store did not answer yet": {func(f *fixture, _ *nearStore) {
			f.store.fail(store.ErrUnavailable)
			f.opt.LateStore = true
		}, false, core.ReasonUnavailable},
		"the directory has another at hand": {says(directory.Account{ID: "1", Name: "bea", Enabled: true}), false, ""},
		"the directory has no id at hand":   {says(directory.Account{Name: alain, Enabled: true}), false, ""},
		"another got its name": {func(f *fixture, _ *nearStore) {
			d := f.opt.Directory.(directory.Editor)
			must(f.t, d.Remove(f.ctx, alain))
			_, err := d.Add(f.ctx, alain, nil, nil)
			must(f.t, err)
		}, true, core.ReasonWrong},
	} {
		t.Run(name, func(t *testing.T) {
			var s *nearStore
			f := newFixture(t, func(f *fixture) { s = f.beNearby() })
			_, text := f.addAlain()
			tt.change(f, s)
			f.reopen()
			a := core.Attempt{Service: "radius/vpn1"}
			decided, err := f.VerifyText(&a, []byte(alain), []byte(text), &core.Grant{})
			if decided != tt.decided || decided && core.ReasonOf(err) != tt.reason {
				t.Errorf("decided %v, %v; want %v, %q", decided, err, tt.decided, tt.reason)
			}
			a.Account, a.Proof = alain, proof.Cleartext(text)
			if _, err := f.Verify(f.ctx, a); core.ReasonOf(err) != tt.reason {
				t.Errorf("Verify says %v, want %q", err, tt.reason)
			}
		})
	}
}

// An answers is a directory that has one answer at hand.
type answers struct {
	directory.Directory
	a directory.Account
}

func (d *answers) AtHand(string) (directory.Account, bool) { return d.a, true }

// Where two-step verification was turned off in a directory that keeps it, what the
// policy wants deleted is looked after before it is decided.
func TestBroughtAfterLapse(t *testing.T) {
	on := directory.Account{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On}
	d := &answers{Directory: &mirror{}, a: on}
	d.Directory.(*mirror).set(on)
	f := newFixture(t, func(f *fixture) {
		f.policy.OnTwoStepOff, f.policy.RequireTwoStep = core.Delete, false
		f.beNearby()
		f.opt.Directory = d
	})
	_, text := f.create("laptop", "")
	try := func() (bool, error) {
		return f.VerifyText(&core.Attempt{Service: "radius/vpn1"}, []byte(alain), []byte(text), &core.Grant{})
	}
	if decided, err := try(); !decided || err != nil {
		t.Fatal(decided, err)
	}
	d.a.TwoStep = directory.Off
	f.reopen()
	if decided, err := try(); decided {
		t.Errorf("decided: %v", err)
	}
}

// A deletion that was answered is seen by the next one, wherever the account is.
func TestBroughtAfterDeletion(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.beNearby() })
	made, text := f.addAlain()
	try := func() error {
		decided, err := f.VerifyText(&core.Attempt{Service: "radius/vpn1"}, []byte(alain), []byte(text), &core.Grant{})
		if !decided {
			_, err = f.Verify(f.ctx, core.Attempt{Account: alain, Service: "radius/vpn1", Proof: proof.Cleartext(text)})
		}
		return err
	}
	if err := try(); err != nil {
		t.Fatal(err)
	}
	_, err := f.Delete(f.ctx, alain, made.ID)
	must(t, err)
	wantReason(t, "from the cache", try(), core.ReasonDeleted)
	f.reopen()
	wantReason(t, "from the store", try(), core.ReasonDeleted)
}

// So many failures of a service are answered as the policy says, and a right app
// password always works.
func TestFailuresPerSecond(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.FailuresPerSecond = map[string]int{"radius/vpn1": 3} })
	_, text := f.addAlain()
	wrong := otherText(t)
	for i := range 5 {
		want := core.ReasonWrong
		if i >= 3 {
			want = core.ReasonThrottled
		}
		wantReason(t, fmt.Sprint("failure ", i), f.try(wrong), want)
	}
	must(t, f.try(text))
	f.policy.FailuresPerSecond = map[string]int{"radius/vpn1": 0}
	wantKind(t, "no failures at all", f.SetPolicy(f.policy), core.KindInvalid)
}
