package radius

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/audit"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// A realEngine is the engine with everything behind it but the disk.
type realEngine struct {
	*core.Engine
	names, texts []string // of accounts with one app password each
}

func newRealEngine(t testing.TB, accounts int, edit func(*core.Policy)) *realEngine {
	t.Helper()
	keys, err := keyring.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	events, err := audit.Open(audit.Options{Dir: t.TempDir(), Key: keys.AuditKey(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := memstore.New()
	policy := core.DefaultPolicy()
	policy.RequireTwoStep = false
	policy.FailuresPerSecond = map[string]int{"radius/vpn1": maxFailuresPerSecond}
	if edit != nil {
		edit(&policy)
	}
	e, err := core.Open(t.Context(), core.Options{Store: s, Directory: local.New(s, keys, local.Options{}), Keyring: keys, Policy: &policy, Recorder: events})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := events.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &realEngine{Engine: e}
	for i := range accounts {
		name := fmt.Sprintf("user%04d@contoso.com", i)
		if _, err := e.AddAccount(t.Context(), name, nil, nil); err != nil {
			t.Fatal(err)
		}
		r.names = append(r.names, name)
		r.texts = append(r.texts, r.create(t, name, ""))
	}
	return r
}

// create makes an app password and returns its text.
func (r *realEngine) create(t testing.TB, name, profile string) string {
	t.Helper()
	_, text, err := r.Create(t.Context(), name, core.NewAppPassword{Name: fmt.Sprint("device of ", profile), Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	return text.Canonical()
}
