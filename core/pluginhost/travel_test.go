package pluginhost_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/sdk"
)

// filled demands that each field of E, and of the structs in it, is something in
// one of examples: one that is new comes into an example, and so across the wire.
func filled[E any](t *testing.T, examples ...E) {
	t.Helper()
	something := map[string]bool{}
	var look func(string, reflect.Value)
	look = func(name string, v reflect.Value) {
		something[name] = something[name] || !v.IsZero()
		if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() {
			for i := range v.NumField() {
				look(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	for _, e := range examples {
		look(reflect.TypeFor[E]().String(), reflect.ValueOf(e))
	}
	for field, is := range something {
		if !is {
			t.Errorf("%s is nothing in every example, so that nobody knows whether it travels", field)
		}
	}
}

// same demands that what came is what was sent.
func same(t *testing.T, what string, got any, err error, want any) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v comes as %+v, %v", what, want, got, err)
	}
}

// wantError demands that a word of the contract came, or nil.
func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestEveryFieldTravels, to a plugin that is a process, and back.
func TestEveryFieldTravels(t *testing.T) {
	t.Parallel()
	var m mirror
	filled(t, m.batch()...)
	filled(t, m.entries()...)
	filled(t, m.events()...)
	filled(t, m.account("on"))
	filled(t, m.changes()...)
	filled(t, m.notice())
	filled(t, m.signIn())
	filled(t, m.answer())
	filled(t, m.answer().Reply...)
	filled(t, m.happened())
	for _, kind := range pluginhost.Kinds() {
		t.Run(string(kind), func(t *testing.T) { travel(t, kind, mirrorPrefix+string(kind)) })
	}
}

// travel asks the plugin of a mode everything that there is to ask, and demands
// the answers of a mirror.
func travel(t *testing.T, kind pluginhost.Kind, mode string, dial ...grpc.DialOption) {
	t.Helper()
	f := runOver(t, kind, mode, quick, func(s *pluginhost.Spec) { s.Settings = mirror{}.settings() }, dial...).wait()
	f.until("asked how it is", func(s pluginhost.Status) bool { return s.Problem == "the database is away" })
	map[pluginhost.Kind]func(*testing.T, *fixture){
		pluginhost.KindStore: travelStore, pluginhost.KindDirectory: travelDirectory, pluginhost.KindNotifier: travelNotifier, pluginhost.KindHook: travelHook,
	}[kind](t, f)
	if s := f.status(); s.Faults != 0 || s.Restarts != 0 {
		t.Errorf("%+v\n%s", s, f.log)
	}
}

func travelStore(t *testing.T, f *fixture) {
	var m mirror
	s := f.store()
	rev, err := s.Apply(f.ctx, m.batch())
	same(t, "a revision", rev, err, store.Revision(1<<64-1))
	e, err := s.Get(f.ctx, "k/a")
	same(t, "Get", e, err, m.entries()[0])
	for _, name := range []string{"not found", "unavailable", "conflict", "invalid", "full", "damaged"} {
		_, err := s.Get(f.ctx, name)
		wantError(t, "Get of "+name, err, m.errors(name))
	}
	scan, err := s.Scan(f.ctx, "k/", "k/0", 9)
	same(t, "Scan", scan, err, m.entries())
	var copied []store.Entry
	err = s.(store.Snapshotter).Snapshot(f.ctx, func(r store.Revision) error {
		same(t, "a snapshot's revision", r, nil, store.Revision(9))
		return nil
	}, func(e store.Entry) error { copied = append(copied, e); return nil })
	same(t, "Snapshot", copied, err, m.entries())
	events, err := s.Watch(f.ctx, "k/")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range m.events() {
		same(t, "Watch", <-events, nil, want)
	}
}

func travelDirectory(t *testing.T, f *fixture) {
	var m mirror
	d := f.directory()
	for _, name := range []string{"not mine", "off", "on"} {
		a, err := d.Lookup(f.ctx, name)
		same(t, "Lookup", a, err, m.account(name))
	}
	_, err := d.Lookup(f.ctx, "not found")
	wantError(t, "Lookup", err, directory.ErrNotFound)
	_, err = d.Lookup(f.ctx, "unavailable")
	wantError(t, "Lookup", err, directory.ErrUnavailable)
	for secret, want := range map[string]error{"hunter2": nil, "hunter3": directory.ErrDenied} {
		wantError(t, "VerifyPassword of "+secret, d.VerifyPassword(f.ctx, "alain", []byte(secret)), want)
		wantError(t, "VerifyCode of "+secret, d.(directory.CodeVerifier).VerifyCode(f.ctx, "alain", secret), want)
	}
	changes, err := d.(directory.Watcher).Watch(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range m.changes() {
		same(t, "Watch", <-changes, nil, want)
	}
}

func travelNotifier(t *testing.T, f *fixture) {
	n, err := f.Notifier("p")
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "Notify", n.Notify(f.ctx, mirror{}.notice()), nil)
}

func travelHook(t *testing.T, f *fixture) {
	var m mirror
	h, err := f.Hook("p")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.Check(f.ctx, m.signIn())
	same(t, "Check", answer, err, m.answer())
	answer, err = h.Check(f.ctx, sdk.SignIn{Account: "refused", Time: m.when()})
	same(t, "Check", answer, err, sdk.Answer{Text: "not at this hour"})
	wantError(t, "Observe", h.Observe(f.ctx, []sdk.Event{m.happened()}), nil)
}
