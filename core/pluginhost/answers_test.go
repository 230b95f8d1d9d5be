package pluginhost

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
)

// seed adds what m looks like on the wire.
func seed(f *testing.F, text string, messages ...proto.Message) {
	for _, m := range messages {
		octets, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(octets, text)
	}
}

// FuzzStoreAnswers takes what is no error for what the contract says that it is.
func FuzzStoreAnswers(f *testing.F) {
	entry := func(key string) *pluginv1.Entry {
		return &pluginv1.Entry{Key: []byte(key), Value: []byte("v"), Revision: 7}
	}
	seed(f, "a", &pluginv1.ScanResponse{Entries: []*pluginv1.Entry{entry("a1"), entry("a2")}}, &pluginv1.ScanResponse{Entries: []*pluginv1.Entry{entry("a2"), entry("a1")}},
		&pluginv1.ScanResponse{Entries: []*pluginv1.Entry{entry("b1")}}, &pluginv1.WatchResponse{Reset_: true, Lost: true},
		&pluginv1.WatchResponse{Started: true}, &pluginv1.WatchResponse{Reset_: true}, &pluginv1.WatchResponse{Lost: true, Entry: entry("a")},
		&pluginv1.WatchResponse{Deleted: true, Entry: entry("a")}, &pluginv1.WatchResponse{Entry: entry("a1")},
		&pluginv1.SnapshotResponse{Revision: 3, Entries: []*pluginv1.Entry{entry("b"), entry("a")}}, &pluginv1.GetResponse{Entry: entry("a")})
	f.Fuzz(func(t *testing.T, octets []byte, prefix string) {
		if r := new(pluginv1.ScanResponse); proto.Unmarshal(octets, r) == nil {
			const limit = 3
			scan := scanned{prefix: prefix, last: prefix, left: limit}
			all, err := scan.take(nil, r.Entries)
			if err == nil && len(all) == len(r.Entries) {
				entries(t, prefix, all, limit)
			} else if err == nil || all != nil {
				t.Errorf("%d of %d entries, and %v", len(all), len(r.Entries), err)
			}
			nonsense(t, err)
		}
		if r := new(pluginv1.WatchResponse); proto.Unmarshal(octets, r) == nil {
			e, err := storeEvent(prefix, r)
			if nonsense(t, err); err == nil && !r.Started {
				oneEvent(t, prefix, e)
			}
		}
		if r := new(pluginv1.SnapshotResponse); proto.Unmarshal(octets, r) == nil {
			var all []store.Entry
			var begun bool
			var last string
			var own error
			err := snapshotStore{}.page(r, &begun, &last, &own, func(store.Revision) error { return nil },
				func(e store.Entry) error { all = append(all, e); return nil })
			if nonsense(t, err); err == nil && r.Revision == 0 {
				t.Error("a snapshot begins without a revision")
			}
			entries(t, "", all, len(r.Entries)) // those that were told before what is wrong
		}
	})
}

func oneEvent(t *testing.T, prefix string, e store.Event) {
	t.Helper()
	switch {
	case e.Reset && e.Lost, (e.Reset || e.Lost) && (e.Deleted || e.Entry.Key != ""), e.Deleted && e.Entry.Value != nil:
		t.Errorf("several things: %+v", e)
	case e.Reset || e.Lost:
	case e.Deleted:
		e.Entry.Value = []byte{}
		entries(t, prefix, []store.Entry{e.Entry}, 1)
	default:
		entries(t, prefix, []store.Entry{e.Entry}, 1)
	}
}

// entries demands that all could come of a Scan.
func entries(t *testing.T, prefix string, all []store.Entry, limit int) {
	t.Helper()
	if len(all) > limit || !slices.IsSortedFunc(all, func(a, b store.Entry) int { return strings.Compare(a.Key, b.Key) }) {
		t.Errorf("too many, or out of order: %+v", all)
	}
	for i, e := range all {
		if store.CheckKey(e.Key) != nil || e.Value == nil || len(e.Value) > store.MaxValue || e.Revision == 0 || !strings.HasPrefix(e.Key, prefix) ||
			i > 0 && all[i-1].Key == e.Key {
			t.Errorf("an entry that can't be: %+v", e)
		}
	}
}

// nonsense demands that an error says that the answer is none: no word of a
// contract may come of it.
func nonsense(t *testing.T, err error) {
	t.Helper()
	var odd wrongAnswer
	if err != nil && !errors.As(err, &odd) {
		t.Errorf("%v is an answer", err)
	}
}

// FuzzDirectoryAnswers does so for accounts and their changes.
func FuzzDirectoryAnswers(f *testing.F) {
	seed(f, "", &pluginv1.Account{Id: "1", Name: "alain", Enabled: true, Groups: []string{"staff"}, Attributes: map[string]string{"mail": "a@b"}, TwoStep: pluginv1.TwoStep_TWO_STEP_ON},
		&pluginv1.Account{Id: "1", Name: "alain", TwoStep: 9}, &pluginv1.Account{Id: "1", Name: "alain", Groups: []string{""}, TwoStep: 1},
		&pluginv1.WatchAccountsResponse{Started: true}, &pluginv1.WatchAccountsResponse{Name: "alain"}, &pluginv1.WatchAccountsResponse{Lost: true, Reset_: true})
	f.Add([]byte("\x0a\x01\xff\x12\x01a\x30\x01"), "")
	f.Fuzz(func(t *testing.T, octets []byte, _ string) {
		if r := new(pluginv1.Account); proto.Unmarshal(octets, r) == nil {
			a, err := accountOf(r)
			if nonsense(t, err); err == nil {
				account(t, a)
			}
		}
		if r := new(pluginv1.WatchAccountsResponse); proto.Unmarshal(octets, r) == nil {
			c, err := changeOf(r)
			nonsense(t, err)
			if err == nil && !r.Started && (c.Reset && c.Lost || (c.Reset || c.Lost) == (c.Name != "") || len(c.Name) > maxName || !utf8.ValidString(c.Name)) {
				t.Errorf("a change that is not one thing: %+v", c)
			}
		}
	})
}

func account(t *testing.T, a directory.Account) {
	t.Helper()
	fits := func(text string, most int) {
		if text == "" || len(text) > most || !utf8.ValidString(text) {
			t.Errorf("%q is in an account", text)
		}
	}
	fits(a.ID, 256)
	fits(a.Name, 1024)
	for _, g := range a.Groups {
		fits(g, 256)
	}
	for key := range maps.Keys(a.Attributes) {
		fits(key, 256)
		fits("-"+a.Attributes[key], 4097)
	}
	if a.TwoStep > directory.On || len(a.Groups) > 4096 || len(a.Attributes) > 256 {
		t.Errorf("an account that can't be: %+v", a)
	}
}

// FuzzHookAnswers does so for decisions: only one that allows, for the account
// that was asked for, allows.
func FuzzHookAnswers(f *testing.F) {
	for _, decision := range []pluginv1.Decision{0, 1, 2, 3} {
		seed(f, "alain", &pluginv1.CheckResponse{Account: "alain", Decision: decision, Text: "no", Reply: []*pluginv1.ReplyAttribute{{Name: "Filter-Id", Value: "x"}}},
			&pluginv1.CheckResponse{Account: "beate", Decision: decision})
	}
	f.Fuzz(func(t *testing.T, octets []byte, account string) {
		r := new(pluginv1.CheckResponse)
		if proto.Unmarshal(octets, r) != nil {
			return
		}
		a, err := answerOf(&pluginv1.CheckRequest{Account: account}, r)
		nonsense(t, err)
		if a.Allow && (err != nil || r.Decision != pluginv1.Decision_DECISION_ALLOW || r.Account != account) {
			t.Errorf("allowed, with %v: %v", err, r)
		}
		if err == nil && (len(a.Text) > 256 || len(a.Reply) > 64 || len(a.Reply) != len(r.Reply) || !a.Allow && r.Decision != pluginv1.Decision_DECISION_REFUSE) {
			t.Errorf("an answer that can't be: %+v", a)
		}
		for _, attribute := range a.Reply {
			if err == nil && (attribute.Name == "" || len(attribute.Name) > 253 || len(attribute.Value) > 253 || !utf8.ValidString(attribute.Name+attribute.Value)) {
				t.Errorf("an attribute that can't be: %+v", attribute)
			}
		}
	})
}
