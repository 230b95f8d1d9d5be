package session_test

import (
	"context"
	"encoding/hex"
	"log/slog"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// A token and the record of a session, as the first version wrote them under the
// keyring of core/keyring/testdata. Devices in the field have such tokens, and
// stores such records.
const (
	goldenToken = "015531041059c41db9ef5b1425104c2487f411f1266bd6fadeccbbd2745130d740a3e94cf6a784e5f1e2eb31b6e4cec0a7eb9f2ce35169fe7227f8b6ad13e9de1ee02c5f69dace473b7a0de551de27e638c3734e1832461ef189d609d075881411dd"

	goldenKey    = "session/ba862e091f4b04a12681f2309e6a86af"
	goldenRecord = "015531041059c41db915dfaf472b4ef7d39cec08c068a746c000088545e609169bff0c754ed1ea8198a854bf0b7365749ccfe37526ffe709c04c920f7f1379a76f681fc55354b74362c7d154b34465c00dc11f9a1b856ac64cf6cf3bb59cc34215fa2bb93afa1bf51719221c83cd272b836cb674af6777b3b9b5ce0d1c99b81507e0380e1c71bd1e9abe6a95ca6afed632a2226757c0415f6b3394f4e16b6ce069412fbec4f433e45b1747d3bab134d60e9b08f18c85b87d1607b896d58e60d5094d"
)

// TestGolden: what the first version wrote means the same.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("../keyring/testdata/golden.keyring")
	must(t, err)
	keys, err := keyring.Parse(text)
	must(t, err)
	memory := memstore.New()
	defer memory.Close()
	record, err := hex.DecodeString(goldenRecord)
	must(t, err)
	_, err = memory.Apply(t.Context(), store.Batch{{Action: store.Put, Key: goldenKey, Value: record}})
	must(t, err)
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	var of session.Owner
	table := session.New(session.Options{
		Store: memory, Keyring: keys, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
		Standing: func(context.Context, string, []session.Owner) (session.Standing, error) {
			return func(asked session.Owner) (string, bool) { of = asked; return "tv", true }, nil
		},
		Damaged: func(key string) { t.Errorf("%s cannot be opened", key) },
	})
	must(t, table.Load(t.Context()))
	token, err := hex.DecodeString(goldenToken)
	must(t, err)
	must(t, table.Report(t.Context(), session.Report{Event: session.GoesOn, Client: "vpn1", ID: "2", At: now, Tokens: [][]byte{token}}))
	if id := hex.EncodeToString(of.AppPassword[:]); of.Account != alain || id != "7f41f38b46adb2a4" {
		t.Errorf("the token is of %s of %s", id, of.Account)
	}
	all := table.List(alain)
	if len(all) != 2 {
		t.Fatalf("%d sessions, want 2", len(all))
	}
	want := session.Session{
		Account: alain, AppPassword: "7f41f38b46adb2a4", AppPasswordName: "tv", Client: "vpn1", Device: "xbox", Address: "10.0.0.5",
		Since: now.Add(-time.Minute), OctetsIn: 1 << 40, OctetsOut: 7, Handle: []byte{0xFF, 1},
	}
	if !reflect.DeepEqual(all[0], want) {
		t.Errorf("the record says %+v, want %+v", all[0], want)
	}
	if n := table.Count(of, session.Place{Client: "vpn1", Device: "xbox", Port: "7"}); n != 1 {
		t.Errorf("%d beside the device's own", n)
	}
	must(t, table.Report(t.Context(), session.Report{Event: session.GoesOn, Client: "vpn1", ID: "1", At: now})) // by the hash in the key

	for _, want := range []int{2, 1} { // within its interval of 10 minutes, and after
		now = now.Add(16 * time.Minute)
		must(t, table.Load(t.Context()))
		if left := table.List(alain); len(left) != want {
			t.Errorf("%d are left, want %d", len(left), want)
		}
	}
}
