package session_test

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// FuzzReport: whatever a client says, a token that it makes up ties nothing, and
// what is kept of a session that is tied is the same after a restart.
func FuzzReport(f *testing.F) {
	keys, err := keyring.New(time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(1), "1", "xbox", "7", "10.0.0.5", []byte("h"), []byte("token"), int64(60), uint64(5))
	f.Add(byte(2), "\xFF\x00", "\xFF", "\xC3\x28", "\x00", []byte{0xFF}, []byte{}, int64(-1), uint64(1)<<63)
	f.Add(byte(3), "", "", "", "", []byte(nil), []byte(nil), int64(1)<<62, uint64(0))
	f.Fuzz(func(t *testing.T, event byte, id, device, port, address string, handle, made []byte, every int64, octets uint64) {
		memory := memstore.New()
		defer memory.Close()
		open := func() *session.Table {
			table := session.New(session.Options{
				Store: memory, Keyring: keys, Now: time.Now, Log: slog.New(slog.DiscardHandler),
				Standing: func(context.Context, string, []session.Owner) (session.Standing, error) {
					return func(session.Owner) (string, bool) { return "tv", true }, nil
				},
				Damaged: func(key string) { t.Errorf("%s cannot be opened", key) },
			})
			must(t, table.Load(t.Context()))
			return table
		}
		table := open()
		left, leave := context.WithCancel(t.Context())
		leave() // nobody runs the table: nobody waits for what it writes
		r := session.Report{
			Event: session.Event(event), Client: "vpn1", ID: id, Device: device, Port: port, Address: address, Handle: handle, At: time.UnixMilli(every),
			Every: time.Duration(every), For: time.Duration(every), HasOctets: octets > 0, OctetsIn: octets, OctetsOut: ^octets, Tokens: [][]byte{made},
		}
		want := session.ErrUntied
		if valid := event >= 1 && event <= 3 && id != ""; !valid {
			want = session.ErrInvalid
		}
		if err := table.Report(left, r); !errors.Is(err, want) || len(table.List("")) != 0 {
			t.Fatalf("made up: %v, %+v", err, table.List(""))
		}
		r.Tokens = append(r.Tokens, table.AppendToken(nil, "vpn1", tv, time.Now()))
		if err := table.Report(left, r); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, session.ErrInvalid) {
			t.Fatal(err)
		}
		must(t, table.Flush(t.Context()))
		before, after := table.List(""), open().List("")
		for _, all := range [][]session.Session{before, after} {
			for i := range all {
				all[i].Since = all[i].Since.Truncate(time.Millisecond).UTC()
				all[i].Handle = append([]byte{}, all[i].Handle...)
			}
		}
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%+v became %+v", before, after)
		}
	})
}
