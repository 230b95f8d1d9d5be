package core

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/secure/precis"
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	proofs "github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// FuzzNormalizeAccount: normalising twice is normalising once, and the quick
// way for ASCII gives what the whole profile gives.
func FuzzNormalizeAccount(f *testing.F) {
	for _, seed := range []string{
		"", "alain@contoso.com", "Alain@Contoso.COM", "ａlain", "ALAIN\u00a0", " a", "a b", "\x00", "\xff", "ß", "ẞ", "Σίσυφος", "ΣΑΣ", "ﬁ",
		"e\u0301", "\u00e9", "שלום", "a\u05d0", "\u0660\u06f0", "İ", "ı", "K", "Å", "~!#$%&'*+-/=?^_`{|}", strings.Repeat("x", 257), strings.Repeat("\u00e9", 200),
		"kfmwtbrqhjaxpdnesgcy", "\u1e9e\u0130", "\u03c2", "\u30fb", "x\u200dy",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		name, err := NormalizeAccount(typed)
		if err != nil {
			if KindOf(err) != KindInvalid || name != "" {
				t.Errorf("%q: %q, %v", typed, name, err)
			}
		} else {
			if name == "" || len(name) > maxAccountName {
				t.Errorf("%q became %d octets", typed, len(name))
			}
			if again, err := NormalizeAccount(name); err != nil || again != name {
				t.Errorf("%q became %q and then %q (%v)", typed, name, again, err)
			}
		}
		quick, ok := normalizeASCII(typed)
		octets, short := appendASCII(nil, []byte(typed))
		if possible := ok && typed != "" && len(typed) <= maxAccountName; short != possible || short && string(octets) != quick {
			t.Errorf("%q: as octets %q, %v, as a string %q, %v", typed, octets, short, quick, possible)
		}
		if !ok || typed == "" {
			return
		}
		if whole, err := precis.UsernameCaseMapped.String(typed); err != nil || whole != quick {
			t.Errorf("%q: the quick way gives %q, the profile %q (%v)", typed, quick, whole, err)
		}
	})
}

// FuzzRecord: whatever an opened record holds, nothing panics and no text that
// nobody was given is granted.
func FuzzRecord(f *testing.F) {
	keys, err := keyring.New(time.Now())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range recordSeeds(f, keys) {
		f.Add(seed, []byte{})
		f.Add([]byte{}, seed)
		f.Add(seed, seed)
	}
	never, err := secret.Parse([]byte("kfmwtbrqhjaxpdnesgcy"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, account, activity []byte) {
		if len(account) > 1<<16 || len(activity) > 1<<16 {
			return
		}
		e, entries := fuzzEngine(t, keys, account, activity)
		if entries == 0 {
			return
		}
		ctx := t.Context()
		for _, p := range []proofs.Proof{proofs.Cleartext(never.Canonical()), proofs.Cleartext("hunter2"), proofs.Cleartext{}, yes{}} {
			g, err := e.Verify(ctx, Attempt{Account: "alain", Proof: p, Service: "radius/vpn1", Device: "x"})
			if err == nil {
				t.Errorf("%T was granted as %+v", p, g)
			}
		}
		list, err := e.List(ctx, "alain")
		_, _ = json.Marshal(list) // a year beyond 9999 is an error there, and no panic
		_ = fmt.Sprintf("%+v %v", list, err)
		e.Account(ctx, "alain")
		e.Attempts(ctx, "alain")
		e.Create(ctx, "alain", NewAppPassword{Name: "x"})
		e.Rotate(ctx, "alain", "laptop", time.Hour)
		e.CheckCode(ctx, "alain", "000000")
		e.CheckCode(ctx, "alain", "aaaaa-aaaaa")
		e.Enroll(ctx, "alain")
		e.Flush(ctx)
		e.DeleteAll(ctx, "alain")
		if _, err := e.Verify(ctx, Attempt{Account: "alain", Proof: proofs.Cleartext(never.Canonical()), Service: "radius/vpn1"}); err == nil {
			t.Error("granted after everything")
		}
	})
}

// yes is a response that fits everything that it is shown.
type yes struct{}

func (yes) Method() proofs.Method { return proofs.MethodCHAP }
func (yes) Try([]byte) bool       { return true }

// TestTrialWithoutItsKey: where the material of an app password cannot be
// opened, nothing matches it, least of all the empty text.
func TestTrialWithoutItsKey(t *testing.T) {
	keys, err := keyring.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e, _ := fuzzEngine(t, keys, recordSeeds(t, keys)[0], nil)
	_, err = e.Verify(t.Context(), Attempt{Account: "alain", Proof: yes{}, Service: "radius/vpn1"})
	if ReasonOf(err) != ReasonWrong {
		t.Errorf("reason %q, want %q", ReasonOf(err), ReasonWrong)
	}
}

// recordSeeds are an account with all that it can have, and a part of it.
func recordSeeds(t testing.TB, keys *keyring.Keyring) [][]byte {
	key := keys.Newest()
	tag := &record.Tag{Key: key[:], Tag: make([]byte, 16), Inner: []byte("sealed")}
	full := &record.Account{
		Generation: 3, Id: make([]byte, 16), DirectoryId: "1", Created: 1,
		TwoStep: &record.TwoStep{On: true, Secret: make([]byte, 20), LastStep: 1, Recovery: []*record.Tag{tag}, Pending: make([]byte, 20), PendingSince: 1 << 60},
		AppPasswords: []*record.AppPassword{
			{Id: make([]byte, 8), Name: "laptop", Profile: "default", Letters: 20, Tag: tag, Previous: tag, PreviousUntil: 1 << 62, Services: []string{"*"},
				Methods: []string{"cleartext", "chap"}, Material: map[string][]byte{"chap": []byte("x")}, PreviousMaterial: map[string][]byte{"chap": []byte("x")}, Created: 1, Expires: 1 << 62},
			{Name: "no tag", Letters: 1 << 31, PinDevice: true, Used: -1 << 63},
			{},
		},
		Remembered: []*record.Remembered{{Id: make([]byte, 8), Name: "gone", Tag: tag, Deleted: 1 << 62}, {}},
	}
	activity := &record.Activity{
		Usages:   []*record.Usage{{Id: "0000000000000000", Count: 1 << 63, Last: &record.Attempt{Time: 1 << 62}}, {}},
		Attempts: []*record.Attempt{{Time: -1 << 63, Service: "x", Method: "x"}, {}},
	}
	var seeds [][]byte
	for _, m := range []proto.Message{full, activity, &record.Account{DirectoryId: "1", Removed: true}} {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, b, b[:len(b)/2])
	}
	return seeds
}

// fuzzEngine opens an engine whose account "alain" has these records, sealed;
// and says how many it has.
func fuzzEngine(t *testing.T, keys *keyring.Keyring, account, activity []byte) (*Engine, int) {
	s := memstore.New()
	t.Cleanup(func() { s.Close() })
	policy := DefaultPolicy()
	p := policy.Profiles[DefaultProfile]
	p.Methods = proofs.Methods()
	policy.Profiles[DefaultProfile] = p
	e, err := Open(t.Context(), Options{Store: s, Directory: alone{}, Keyring: keys, Policy: &policy, Flush: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	n := 0
	for kind, plain := range map[string][]byte{record.KindAccount: account, record.KindActivity: activity} {
		if len(plain) == 0 {
			continue
		}
		key := kind + "/alain"
		_, err := s.Apply(t.Context(), store.Batch{{Action: store.Put, Key: key, Value: keys.Seal(kind, key, plain)}})
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return e, n
}

// alone is a directory of one account.
type alone struct{}

func (alone) Lookup(context.Context, string) (directory.Account, error) {
	return directory.Account{ID: "1", Name: "alain", Enabled: true}, nil
}

func (alone) VerifyPassword(context.Context, string, []byte) error { return directory.ErrDenied }
