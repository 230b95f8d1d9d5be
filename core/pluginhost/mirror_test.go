package pluginhost_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/sdk"
)

// What travels. Each field of each type has something in one of them.
func (mirror) batch() store.Batch {
	return store.Batch{
		{Action: store.Put, Key: "a", Value: []byte("v"), IfAbsent: true}, {Action: store.Put, Key: "b", Value: []byte("w"), IfRevision: 7, Revokes: true},
		{Action: store.Delete, Key: "c"}, {Action: store.Check, Key: "d", IfAbsent: true},
	}
}

func (mirror) entries() []store.Entry {
	return []store.Entry{{Key: "a", Value: []byte("v"), Revision: 7}, {Key: "b", Value: []byte{}, Revision: 1<<64 - 1}}
}

func (m mirror) events() []store.Event {
	return []store.Event{{Entry: m.entries()[0]}, {Deleted: true, Entry: store.Entry{Key: "a", Revision: 8}}, {Lost: true}, {Reset: true}}
}

func (mirror) account(name string) directory.Account {
	a := directory.Account{ID: "1", Name: name, Enabled: true, Groups: []string{"staff", "admin"}, Attributes: map[string]string{"mail": "alain@contoso.com"}}
	a.TwoStep = map[string]directory.TwoStep{"not mine": directory.NotMine, "off": directory.Off, "on": directory.On}[name]
	return a
}

func (mirror) changes() []directory.Change {
	return []directory.Change{{Name: "alain"}, {Lost: true}, {Reset: true}}
}

func (mirror) answer() sdk.Answer {
	return sdk.Answer{Allow: true, Text: "why", Reply: []sdk.Attribute{{Name: "Filter-Id", Value: "x"}}}
}

func (mirror) when() time.Time { return time.Date(2026, 11, 22, 9, 0, 0, 5, time.UTC) }

func (m mirror) notice() sdk.Notice {
	return sdk.Notice{
		ID: "1", Kind: sdk.NoticeCode, Time: m.when(), Account: "alain", Attributes: map[string]string{"mail": "alain@contoso.com"},
		AppPassword: sdk.AppPassword{ID: "2", Name: "TV"}, Service: "radius/vpn1", Source: "192.0.2.1", Device: "tv", Actor: "beate", Code: "123456", Text: "sentence",
	}
}

func (m mirror) signIn() sdk.SignIn {
	return sdk.SignIn{
		Account: "alain", Groups: []string{"staff"}, AppPassword: sdk.AppPassword{ID: "2", Name: "TV"}, Profile: "tv", Service: "radius/vpn1",
		Source: "192.0.2.1", Device: "tv", Method: "chap", Time: m.when(),
	}
}

func (m mirror) happened() sdk.Event {
	return sdk.Event{
		Time: m.when(), Kind: "attempt", Actor: "beate", Account: "alain", AppPassword: sdk.AppPassword{ID: "2", Name: "TV"}, Service: "radius/vpn1",
		Source: "192.0.2.1", Device: "tv", Method: "chap", Result: "refused", Reason: "expired", Detail: "detail",
	}
}

// A mirror is a plugin that writes down what it is given, and gives what it has
// been built with.
type mirror struct{ into string }

func (m *mirror) Configure(_ context.Context, s sdk.Settings) error {
	return s.Decode(&struct {
		Into *string `json:"into"`
	}{&m.into})
}

func (m *mirror) got(what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return os.WriteFile(m.into, text, 0o600)
}

func (m *mirror) Notify(_ context.Context, n sdk.Notice) error        { return m.got(n) }
func (m *mirror) Observe(_ context.Context, events []sdk.Event) error { return m.got(events) }
func (m *mirror) Check(_ context.Context, s sdk.SignIn) (sdk.Answer, error) {
	return m.answer(), m.got(s)
}

type mirrorStore struct{ mirror }

func (m *mirrorStore) Get(context.Context, string) (store.Entry, error) { return m.entries()[0], nil }

func (m *mirrorStore) Scan(context.Context, string, string, int) ([]store.Entry, error) {
	return m.entries(), nil
}

func (m *mirrorStore) Apply(_ context.Context, b store.Batch) (store.Revision, error) {
	return 1<<64 - 1, m.got(b)
}

func (m *mirrorStore) Watch(ctx context.Context, _ string) (<-chan store.Event, error) {
	return all(ctx, m.events()), nil
}

func (m *mirrorStore) Snapshot(_ context.Context, begin func(store.Revision) error, each func(store.Entry) error) error {
	err := begin(9)
	for _, e := range m.entries() {
		if err == nil {
			err = each(e)
		}
	}
	return err
}

type mirrorDirectory struct{ mirror }

func (m mirrorDirectory) Lookup(_ context.Context, name string) (directory.Account, error) {
	return m.account(name), nil
}

func (mirrorDirectory) VerifyPassword(context.Context, string, []byte) error { return nil }

func (m mirrorDirectory) Watch(ctx context.Context) (<-chan directory.Change, error) {
	return all(ctx, m.changes()), nil
}

// all sends what there is, and stays open until ctx ends.
func all[E any](ctx context.Context, what []E) <-chan E {
	out := make(chan E, len(what))
	for _, e := range what {
		out <- e
	}
	context.AfterFunc(ctx, func() { close(out) })
	return out
}

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

// wrote demands that the plugin wrote want down.
func wrote(t *testing.T, into string, err error, want any) {
	t.Helper()
	text, wantErr := json.Marshal(want)
	got, readErr := os.ReadFile(into)
	if err != nil || wantErr != nil || readErr != nil || string(got) != string(text) {
		t.Errorf("%s is given as %s: %v, %v, %v", text, got, err, wantErr, readErr)
	}
}

// TestEveryFieldTravels, to a plugin that is a process, and back.
func TestEveryFieldTravels(t *testing.T) {
	var m mirror
	into := filepath.Join(t.TempDir(), "into")
	start := func(kind pluginhost.Kind) *fixture {
		return run(t, kind, "mirror-"+string(kind), quick, func(s *pluginhost.Spec) {
			if kind != pluginhost.KindDirectory {
				s.Settings = map[string]any{"into": into}
			}
		}).wait()
	}
	t.Run("store", func(t *testing.T) {
		filled(t, m.batch()...)
		filled(t, m.entries()...)
		filled(t, m.events()...)
		f := start(pluginhost.KindStore)
		s := f.store()
		rev, err := s.Apply(f.ctx, m.batch())
		same(t, "a revision", rev, err, store.Revision(1<<64-1))
		wrote(t, into, err, m.batch())
		e, err := s.Get(f.ctx, "a")
		same(t, "Get", e, err, m.entries()[0])
		scan, err := s.Scan(f.ctx, "", "", 9)
		same(t, "Scan", scan, err, m.entries())
		var copied []store.Entry
		err = s.(store.Snapshotter).Snapshot(f.ctx, func(r store.Revision) error {
			same(t, "a snapshot's revision", r, nil, store.Revision(9))
			return nil
		}, func(e store.Entry) error { copied = append(copied, e); return nil })
		same(t, "Snapshot", copied, err, m.entries())
		events, err := s.Watch(f.ctx, "")
		for _, want := range m.events() {
			same(t, "Watch", <-events, err, want)
		}
	})
	t.Run("directory", func(t *testing.T) {
		filled(t, m.account("on"))
		filled(t, m.changes()...)
		f := start(pluginhost.KindDirectory)
		for _, name := range []string{"not mine", "off", "on"} {
			a, err := f.directory().Lookup(f.ctx, name)
			same(t, "Lookup", a, err, m.account(name))
		}
		changes, err := f.directory().(directory.Watcher).Watch(f.ctx)
		for _, want := range m.changes() {
			same(t, "Watch", <-changes, err, want)
		}
	})
	t.Run("notifier", func(t *testing.T) {
		filled(t, m.notice())
		n, err := start(pluginhost.KindNotifier).Notifier("p")
		if err != nil {
			t.Fatal(err)
		}
		wrote(t, into, n.Notify(t.Context(), m.notice()), m.notice())
	})
	t.Run("hook", func(t *testing.T) {
		filled(t, m.signIn())
		filled(t, m.answer())
		filled(t, m.answer().Reply...)
		filled(t, m.happened())
		h, err := start(pluginhost.KindHook).Hook("p")
		if err != nil {
			t.Fatal(err)
		}
		answer, err := h.Check(t.Context(), m.signIn())
		same(t, "Check", answer, err, m.answer())
		wrote(t, into, err, m.signIn())
		wrote(t, into, h.Observe(t.Context(), []sdk.Event{m.happened()}), []sdk.Event{m.happened()})
	})
}
