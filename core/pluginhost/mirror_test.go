package pluginhost_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/sdk"
)

// What travels. Each field of each type has something in one of them.

func (mirror) settings() sdk.Settings {
	return sdk.Settings{"text": "a\"b", "number": int64(-1) << 60, "fraction": 2.5, "flag": true, "list": []any{"a", int64(1)}}
}

func (mirror) batch() store.Batch {
	return store.Batch{
		{Action: store.Put, Key: "a", Value: []byte("v"), IfAbsent: true}, {Action: store.Put, Key: "b", Value: []byte("w"), IfRevision: 7, Revokes: true},
		{Action: store.Delete, Key: "c"}, {Action: store.Check, Key: "d", IfAbsent: true},
	}
}

func (mirror) entries() []store.Entry {
	return []store.Entry{{Key: "k/a", Value: []byte("v"), Revision: 7}, {Key: "k/b", Value: []byte{}, Revision: 1<<64 - 1}}
}

func (m mirror) events() []store.Event {
	return []store.Event{{Entry: m.entries()[0]}, {Deleted: true, Entry: store.Entry{Key: "k/a", Revision: 8}}, {Lost: true}, {Reset: true}}
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

// A mirror is a plugin that demands to be given what it knows, and gives what it
// has been built with. A key or a name that is an error is that error.
type mirror struct{}

func (m mirror) errors(name string) error {
	return map[string]error{
		"not found": store.ErrNotFound, "unavailable": store.ErrUnavailable, "conflict": store.ErrConflict, "invalid": store.ErrInvalid,
		"full": store.ErrFull, "damaged": store.ErrDamaged,
	}[name]
}

// is demands that what came is what was sent.
func (mirror) is(got, want any) error {
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%+v comes as %+v", want, got)
	}
	return nil
}

func (m mirror) Configure(_ context.Context, s sdk.Settings) error { return m.is(s, m.settings()) }
func (mirror) Health(context.Context) error                        { return errors.New("the database is away") }
func (m mirror) Notify(_ context.Context, n sdk.Notice) error      { return m.is(n, m.notice()) }
func (m mirror) Observe(_ context.Context, events []sdk.Event) error {
	return m.is(events, []sdk.Event{m.happened()})
}

func (m mirror) Check(_ context.Context, s sdk.SignIn) (sdk.Answer, error) {
	if s.Account == "refused" {
		return sdk.Answer{Text: "not at this hour"}, nil
	}
	return m.answer(), m.is(s, m.signIn())
}

type mirrorStore struct{ mirror }

func (m mirrorStore) Get(_ context.Context, key string) (store.Entry, error) {
	return m.entries()[0], m.errors(key)
}

func (m mirrorStore) Scan(_ context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	return m.entries(), m.is([]any{prefix, after, limit}, []any{"k/", "k/0", 9})
}

func (m mirrorStore) Apply(_ context.Context, b store.Batch) (store.Revision, error) {
	return 1<<64 - 1, m.is(b, m.batch())
}

func (m mirrorStore) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	return all(ctx, m.events()), m.is(prefix, "k/")
}

func (m mirrorStore) Snapshot(_ context.Context, begin func(store.Revision) error, each func(store.Entry) error) error {
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
	return m.account(name), map[string]error{"not found": directory.ErrNotFound, "unavailable": directory.ErrUnavailable}[name]
}

func (m mirrorDirectory) VerifyPassword(_ context.Context, name string, password []byte) error {
	if m.is([]any{name, string(password)}, []any{"alain", "hunter2"}) != nil {
		return directory.ErrDenied
	}
	return nil
}

func (m mirrorDirectory) VerifyCode(ctx context.Context, name, code string) error {
	return m.VerifyPassword(ctx, name, []byte(code))
}

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
