package session_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
)

// TestSurvivesAKill: a start and an end that were answered are there after a
// kill; what goes on may be behind, and is not after an orderly end.
func TestSurvivesAKill(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		token, began := f.grant("vpn1", tv), time.Now()
		must(t, f.tell(session.Starts, "1", token, session.Report{Device: "xbox", Port: "7", Handle: []byte{0xFF, 0}}))
		must(t, f.tell(session.Starts, "\xFF\x00binary", token, session.Report{}))
		must(t, f.tell(session.Stopped, "\xFF\x00binary", nil, session.Report{}))
		must(t, f.tell(session.GoesOn, "1", token, session.Report{HasOctets: true, OctetsIn: 5, OctetsOut: 6, Address: "10.0.0.5", Handle: []byte{0xFF, 1}}))
		if s := f.want(1, f.load())[0]; s.AppPassword != "1000000000000000" || s.AppPasswordName != "called \x10" || s.Device != "xbox" || s.Account != alain {
			t.Errorf("after a kill: %+v", s)
		}
		f.close()
		f.open()
		s := f.want(1, f.Table)[0]
		if s.OctetsIn != 5 || s.OctetsOut != 6 || s.Address != "10.0.0.5" || string(s.Handle) != "\xFF\x01" || !s.Since.Equal(began) {
			t.Errorf("after an orderly end: %+v", s)
		}
		if n := f.Count(tv, session.Place{Client: "vpn1", Device: "xbox", Port: "7"}); n != 0 {
			t.Error("its port is not known any more")
		}
		must(t, f.tell(session.Stopped, "1", nil, session.Report{}))
		f.want(0, f.load())
	})
}

// TestFlush: what goes on is written before long, without an end.
func TestFlush(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		must(t, f.tell(session.GoesOn, "1", f.grant("vpn1", tv), session.Report{HasOctets: true, OctetsIn: 5}))
		f.want(0, f.load())
		time.Sleep(31 * time.Second)
		if s := f.want(1, f.load())[0]; s.OctetsIn != 5 {
			t.Errorf("%+v", s)
		}
		f.close()
		time.Sleep(25 * time.Hour)
		f.want(0, f.load()) // it was over meanwhile
		f.open()
	})
}

// TestNotRecorded: while the store fails nothing is said to be recorded, and once
// it does not, the repeat is.
func TestNotRecorded(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		token := f.grant("vpn1", tv)
		for i, event := range []session.Event{session.Starts, session.Stopped} {
			f.store.refuse(store.ErrUnavailable)
			for range 2 {
				if err := f.tell(event, "1", token, session.Report{}); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("store down: %v", err)
				}
			}
			f.store.refuse(nil)
			must(t, f.tell(event, "1", token, session.Report{}))
			f.want(1-i, f.load())
		}
	})
}

// TestDamagedRecord: S3: a record that was changed or moved is no session; it is
// told of and removed, also where the end comes at once.
func TestDamagedRecord(t *testing.T) {
	for name, after := range map[string]func(f *fixture){
		"before long": func(*fixture) { time.Sleep(31 * time.Second) },
		"at the end":  func(f *fixture) { f.close() },
	} {
		t.Run(name, func(t *testing.T) {
			try(t, func(t *testing.T, f *fixture) {
				token := f.grant("vpn1", tv)
				must(t, f.tell(session.Starts, "1", token, session.Report{}))
				must(t, f.tell(session.Starts, "2", token, session.Report{}))
				f.close()
				kept := f.store.records(t)
				_, err := f.store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: kept[0].Key, Value: kept[1].Value}})
				must(t, err)
				f.open()
				f.want(1, f.Table)
				after(f)
				f.mu.Lock()
				defer f.mu.Unlock()
				if len(f.damaged) != 1 || f.damaged[0] != kept[0].Key {
					t.Errorf("told of %q, want %q", f.damaged, kept[0].Key)
				}
				if left := f.store.records(t); len(left) != 1 || left[0].Key != kept[1].Key {
					t.Errorf("%d records are left, want 1", len(left))
				}
			})
		})
	}
}

// TestLoadAgain: a store that fails halfway is read once more, and nothing is
// counted twice.
func TestLoadAgain(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		const many = 300 // more than are read at once
		for n := range many {
			of := session.Owner{Account: alain, AccountID: tv.AccountID, AppPassword: [8]byte{byte(n >> 8), byte(n), 1}}
			must(t, f.tell(session.GoesOn, fmt.Sprint(n), f.grant("vpn1", of), session.Report{}))
		}
		f.close()
		damaged := f.store.records(t)[0].Key
		_, err := f.store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: damaged, Value: []byte("x")}})
		must(t, err)
		f.store.scans = 2 // of which the last fails
		table := session.New(session.Options{
			Store: f.store, Keyring: f.keys, Now: time.Now, Standing: f.standing,
			Damaged: func(key string) { f.damaged = append(f.damaged, key) },
		})
		if err := table.Load(f.ctx); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("halfway: %v", err)
		}
		must(t, table.Load(f.ctx))
		f.want(many-1, table)
		must(t, table.Flush(f.ctx))
		if len(f.damaged) != 1 {
			t.Errorf("told of %q", f.damaged)
		}
		counted := 0
		for n := range many {
			counted += table.Count(session.Owner{Account: alain, AccountID: tv.AccountID, AppPassword: [8]byte{byte(n >> 8), byte(n), 1}}, session.Place{})
		}
		if counted != many-1 {
			t.Errorf("%d counted, want %d", counted, many-1)
		}
	})
}
