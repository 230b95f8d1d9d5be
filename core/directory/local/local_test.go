package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/directory/directorytest"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/secret"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

const (
	name     = "alain@contoso.com"
	password = "Correct horse, 1"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// quick is a cost for tests.
var quick = Cost{Time: 1, MemoryKiB: 64, Threads: 1}

func ring(t testing.TB) *keyring.Keyring {
	t.Helper()
	k, err := keyring.New(noon)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open returns a directory over s with one account.
func open(t testing.TB, s store.Store, opts Options) *Directory {
	t.Helper()
	if opts.Cost == (Cost{}) {
		opts.Cost = quick
	}
	opts.Now = func() time.Time { return noon }
	d := New(s, ring(t), opts)
	if _, err := d.Add(t.Context(), name, []string{"staff"}, []byte(password)); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestContract(t *testing.T) {
	directorytest.Run(t, func(tb testing.TB) directory.Directory {
		s := memstore.New()
		tb.Cleanup(func() { _ = s.Close() })
		d := New(s, ring(tb), Options{Cost: quick})
		if err := directorytest.Fill(t.Context(), d, directorytest.Standard()); err != nil {
			tb.Fatal(err)
		}
		return d
	})
}

// TestEmptyPasswordIsDenied also where somebody stored its hash.
func TestEmptyPasswordIsDenied(t *testing.T) {
	d := open(t, memstore.New(), Options{})
	h := phc{cost: quick, salt: make([]byte, saltSize)}
	var err error
	if h.hash, err = d.derive(t.Context(), h.cost, h.salt, nil); err != nil {
		t.Fatal(err)
	}
	if right, err := d.matches(t.Context(), h, nil); !right || err != nil {
		t.Fatalf("the hash is not that of the empty password: %v", err)
	}
	if err := d.change(t.Context(), name, func(rec *record.Local) { rec.Password = h.String() }); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{d.VerifyPassword(t.Context(), name, nil), d.Recognize(t.Context(), name, []byte{})} {
		if verdict(err) != directory.ErrDenied {
			t.Error(err)
		}
	}
}

// TestEveryRefusalCostsOneHash: argon2id allocates its memory, so the octets
// that a call allocates tell whether it ran.
func TestEveryRefusalCostsOneHash(t *testing.T) {
	d := open(t, memstore.New(), Options{Cost: Cost{Time: 1, MemoryKiB: 8 << 10, Threads: 1}})
	if _, err := d.Add(t.Context(), "none-set", nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Add(t.Context(), "disabled", nil, []byte(password)); err != nil {
		t.Fatal(err)
	}
	if err := d.SetEnabled(t.Context(), "disabled", false); err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]struct{ name, password string }{
		"right":                 {name, password},
		"wrong":                 {name, "wrong"},
		"empty":                 {name, ""},
		"too long":              {name, strings.Repeat("x", maxPassword+1)},
		"absent":                {"nobody", password},
		"absent, empty":         {"nobody", ""},
		"no possible name":      {"", password},
		"no password, and none": {"none-set", ""},
		"no password, and one":  {"none-set", password},
		"disabled":              {"disabled", password},
	} {
		for call, f := range map[string]func(context.Context, string, []byte) error{"VerifyPassword": d.VerifyPassword, "Recognize": d.Recognize} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_ = f(t.Context(), try.name, []byte(try.password))
			runtime.ReadMemStats(&after)
			if got := (after.TotalAlloc - before.TotalAlloc) >> 10; got < 8<<10 || got > 12<<10 {
				t.Errorf("%s: %s allocated %d KiB", what, call, got)
			}
		}
	}
}

func TestHashingWaitsForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, memstore.New(), Options{MaxConcurrent: 2})
		d.slots <- struct{}{}
		d.slots <- struct{}{}

		late, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		for what, err := range map[string]error{
			"right":       d.VerifyPassword(late, name, []byte(password)),
			"absent":      d.VerifyPassword(late, "nobody", []byte(password)),
			"Recognize":   d.Recognize(late, name, []byte(password)),
			"SetPassword": d.SetPassword(late, name, []byte("other")),
		} {
			if verdict(err) != directory.ErrUnavailable || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("waited %v", waited)
		}

		if err := d.SetPassword(t.Context(), "nobody", []byte("other")); verdict(err) != directory.ErrNotFound {
			t.Errorf("the password of nobody: %v", err) // waits for ever if it is hashed first
		}

		done := make(chan error)
		go func() { done <- d.VerifyPassword(t.Context(), name, []byte(password)) }()
		synctest.Wait()
		<-d.slots
		if err := <-done; err != nil {
			t.Errorf("with a slot: %v", err)
		}
		if len(d.slots) != 1 {
			t.Errorf("%d slots are held", len(d.slots))
		}
	})
}

func TestNothingIsHashedAfterTheEnd(t *testing.T) {
	d := New(memstore.New(), ring(t), Options{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // a slot is free: select alone would take it every other time
		if _, err := d.derive(ended, quick, make([]byte, saltSize), nil); verdict(err) != directory.ErrUnavailable {
			t.Fatal(err)
		}
	}
}

func TestDefaults(t *testing.T) {
	d := New(memstore.New(), ring(t), Options{})
	if d.cost != (Cost{Time: 3, MemoryKiB: 1 << 16, Threads: 4}) { // RFC 9106, section 4, second option
		t.Errorf("cost %+v", d.cost)
	}
	if want := max(1, runtime.NumCPU()/2); cap(d.slots) != want {
		t.Errorf("%d slots, want %d", cap(d.slots), want)
	}
	huge := Cost{Time: 1 << 31, MemoryKiB: 1 << 31, Threads: 255}.withDefaults()
	if huge != maxCost() || !huge.bounded() {
		t.Errorf("a huge cost becomes %+v", huge)
	}
}

func TestRecord(t *testing.T) {
	s := memstore.New()
	d := open(t, s, Options{})
	e, err := s.Get(t.Context(), "local/"+name)
	if err != nil {
		t.Fatal(err)
	}
	for _, clear := range []string{"staff", "argon2id", password} {
		if bytes.Contains(e.Value, []byte(clear)) {
			t.Errorf("the store sees %q", clear)
		}
	}
	rec, err := d.open(e)
	if err != nil {
		t.Fatal(err)
	}
	if rec.GetCreated() != noon.UnixMilli() || len(rec.GetId()) != 16 || !strings.HasPrefix(rec.GetPassword(), "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("record %v", rec)
	}
	a, err := d.Lookup(t.Context(), name)
	if err != nil || len(a.ID) != 32 || a.TwoStep != directory.NotMine {
		t.Errorf("account %+v, %v", a, err)
	}

	if d.keys, err = d.keys.Rotate(noon); err != nil {
		t.Fatal(err)
	}
	if err := d.VerifyPassword(t.Context(), name, []byte(password)); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
}

func TestAppPasswordIsNoMainPassword(t *testing.T) {
	d := open(t, memstore.New(), Options{})
	for _, p := range []string{"kfmwtbrqhjaxpdnesgcy", "KFMW-tbrq hjax-pdne-sgcy", "aaaaaaaaaaaaaaab", strings.Repeat("z", secret.Long)} {
		_, add := d.Add(t.Context(), "new", nil, []byte(p))
		for call, err := range map[string]error{"Add": add, "SetPassword": d.SetPassword(t.Context(), name, []byte(p))} {
			if verdict(err) != directory.ErrInvalid || !strings.Contains(err.Error(), "app password") || strings.Contains(err.Error(), p) {
				t.Errorf("%s of %s: %v", call, p, err)
			}
		}
	}
	if err := d.VerifyPassword(t.Context(), name, []byte(password)); err != nil {
		t.Errorf("the password was changed: %v", err)
	}
	if err := d.SetPassword(t.Context(), name, []byte("correct horse battery staple")); err != nil {
		t.Errorf("a pass phrase: %v", err)
	}
}

func TestRules(t *testing.T) {
	d := open(t, memstore.New(), Options{})
	many := make([]string, maxGroups+1)
	for i := range many {
		many[i] = fmt.Sprint("group ", i)
	}
	for what, tt := range map[string]struct {
		name     string
		groups   []string
		password []byte
		ok       bool
	}{
		"longest name":     {strings.Repeat("n", maxName), nil, nil, true},
		"longer name":      {strings.Repeat("n", maxName+1), nil, nil, false},
		"name not UTF-8":   {"\xff", nil, nil, false},
		"longest password": {"p1", nil, bytes.Repeat([]byte("x"), maxPassword), true},
		"longer password":  {"p2", nil, bytes.Repeat([]byte("x"), maxPassword+1), false},
		"shortest":         {"p3", nil, []byte("x"), true},
		"most groups":      {"g1", many[1:], nil, true},
		"one more":         {"g2", many, nil, false},
		"one twice":        {"g3", append(many[1:], many[1]), nil, true},
		"longest group":    {"g4", []string{strings.Repeat("\u00e9", maxGroup)}, nil, true},
		"longer group":     {"g5", []string{strings.Repeat("\u00e9", maxGroup+1)}, nil, false},
		"control":          {"g6", []string{"a\nb"}, nil, false},
		"bidi":             {"g7", []string{"a\u202eb"}, nil, false},
		"group not UTF-8":  {"g8", []string{"a\xff"}, nil, false},
	} {
		_, err := d.Add(t.Context(), tt.name, tt.groups, tt.password)
		if (err == nil) != tt.ok || err != nil && verdict(err) != directory.ErrInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	given := []string{"b", "a", "b"}
	a, err := d.Add(t.Context(), "sorted", given, nil)
	if err != nil || !slices.Equal(a.Groups, []string{"a", "b"}) || !slices.Equal(given, []string{"b", "a", "b"}) {
		t.Errorf("groups %q of %q, %v", a.Groups, given, err)
	}
	if _, err := d.List(t.Context(), "", 0); verdict(err) != directory.ErrInvalid {
		t.Errorf("a list of none: %v", err)
	}
}

func TestRandomnessFails(t *testing.T) {
	for octets, what := range map[int]string{idSize - 1: "id", idSize + saltSize - 1: "salt"} {
		d := New(memstore.New(), ring(t), Options{Cost: quick, Rand: bytes.NewReader(make([]byte, octets))})
		if _, err := d.Add(t.Context(), name, nil, []byte(password)); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), what) {
			t.Errorf("%d octets: %v", octets, err)
		}
		if _, err := d.Lookup(t.Context(), name); verdict(err) != directory.ErrNotFound {
			t.Errorf("%d octets: an account was made: %v", octets, err)
		}
	}
}

// scripted is a store whose watch says what a test wants.
type scripted struct {
	store.Store
	events chan store.Event
}

func (s scripted) Watch(context.Context, string) (<-chan store.Event, error) { return s.events, nil }

func TestWatchMapsEvents(t *testing.T) {
	s := scripted{memstore.New(), make(chan store.Event, 3)}
	d := New(s, ring(t), Options{})
	changes, err := d.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.events <- store.Event{Entry: store.Entry{Key: "local/a/local/b"}}
	s.events <- store.Event{Reset: true}
	s.events <- store.Event{Deleted: true, Entry: store.Entry{Key: "local/c"}}
	close(s.events)
	var got []directory.Change
	for c := range changes {
		got = append(got, c)
	}
	if want := []directory.Change{{Name: "a/local/b"}, {Reset: true}, {Name: "c"}}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestWatchEndsWithNobodyListening: synctest fails if the goroutine stays.
func TestWatchEndsWithNobodyListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := scripted{memstore.New(), make(chan store.Event, 1)}
		if _, err := New(s, ring(t), Options{}).Watch(ctx); err != nil {
			t.Fatal(err)
		}
		s.events <- store.Event{Reset: true}
		synctest.Wait()
		cancel()
	})
}

func BenchmarkVerifyPassword(b *testing.B) {
	d := open(b, memstore.New(), Options{Cost: DefaultCost()})
	b.ReportAllocs()
	for b.Loop() {
		if err := d.VerifyPassword(b.Context(), name, []byte(password)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	d := open(b, memstore.New(), Options{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Lookup(b.Context(), name); err != nil {
			b.Fatal(err)
		}
	}
}
