package core

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// everybody is a directory in which everybody exists.
type everybody struct{}

func (everybody) Lookup(_ context.Context, name string) (directory.Account, error) {
	return directory.Account{ID: "id of " + name, Name: name, Enabled: true}, nil
}

func (everybody) VerifyPassword(context.Context, string, []byte) error { return directory.ErrDenied }

// Watch never says anything: nobody changes.
func (everybody) Watch(ctx context.Context) (<-chan directory.Change, error) {
	c := make(chan directory.Change)
	context.AfterFunc(ctx, func() { close(c) })
	return c, nil
}

func openBench(b testing.TB, opt Options) *Engine {
	b.Helper()
	e, err := Open(b.Context(), opt)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	return e
}

const perAccount = 3

func accountName(i int) string { return fmt.Sprintf("user%07d@contoso.com", i) }

// populate writes n accounts with perAccount app passwords each, and returns
// the text of one of each.
func populate(b testing.TB, e *Engine, n int) []secret.Text {
	texts := make([]secret.Text, n)
	var batch store.Batch
	for i := range n {
		rec := &record.Account{Generation: 1, Id: make([]byte, 16), DirectoryId: "id of " + accountName(i), TwoStep: &record.TwoStep{On: true}}
		rand.Read(rec.Id)
		for j := range perAccount {
			p := &record.AppPassword{Id: binary.BigEndian.AppendUint64(nil, uint64(i*perAccount+j)), Name: fmt.Sprint("device ", j),
				Profile: DefaultProfile, Services: []string{"*"}, Methods: []string{string(proof.MethodCleartext)}, Created: time.Now().UnixMilli()}
			var err error
			if texts[i], err = secret.Generate(rand.Reader, secret.Standard); err != nil {
				b.Fatal(err)
			}
			e.setText(rec, p, &texts[i])
			rec.AppPasswords = append(rec.AppPasswords, p)
		}
		op, err := e.put(record.KindAccount, record.PrefixAccount+accountName(i), rec, 0)
		if err != nil {
			b.Fatal(err)
		}
		if batch = append(batch, op); len(batch) == store.MaxOps || i == n-1 {
			if _, err := e.store.Apply(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch = nil
		}
	}
	return texts
}

// An arrival is an attempt as a bridge has it.
type arrival struct {
	name  string
	typed []byte
}

// arrivals returns attempts at accounts in no order. What is typed lies in the
// order in which it comes: a bridge has it in the cache of the processor, from the
// packet.
func arrivals(texts []secret.Text) []arrival {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	var octets []byte
	ends := make([][2]int, 1<<18)
	for i := range ends {
		at := random.IntN(len(texts))
		octets = append(octets, accountName(at)...)
		ends[i][0] = len(octets)
		octets = append(octets, texts[at].Canonical()...)
		ends[i][1] = len(octets)
	}
	names := string(octets)
	all := make([]arrival, len(ends))
	start := 0
	for i, end := range ends {
		all[i] = arrival{name: names[start:end[0]], typed: octets[end[0]:end[1]]}
		start = end[1]
	}
	return all
}

// BenchmarkVerifyAccounts compares a sign-in among few accounts with one among
// many, all in the cache. ACCOUNTS is how many "many" is: 1000000 takes a
// minute to make and 4 GiB.
func BenchmarkVerifyAccounts(b *testing.B) {
	many := 10_000
	if text := os.Getenv("ACCOUNTS"); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	for _, n := range []int{10, many} {
		keys, err := keyring.New(time.Now())
		if err != nil {
			b.Fatal(err)
		}
		opt := Options{Store: memstore.New(), Directory: everybody{}, Keyring: keys, CacheBytes: 16 << 30, Flush: time.Hour}
		texts := populate(b, openBench(b, opt), n)
		e := openBench(b, opt) // one that did not see the accounts come
		verify := func(name string, typed []byte) {
			if _, err := e.Verify(b.Context(), Attempt{Account: name, Proof: proof.Cleartext(typed), Service: "radius/vpn1"}); err != nil {
				b.Fatal(err)
			}
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range 2 { // the first use of each is noted in its record
			for i := range n {
				verify(accountName(i), []byte(texts[i].Canonical()))
				if i%(maxFresh/4) == 0 || i == n-1 { // before the engine would do it beside us
					if err := e.Flush(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.Run(fmt.Sprintf("%d accounts", n), func(b *testing.B) {
			b.ReportAllocs()
			arrived := arrivals(texts)
			i := 0
			for b.Loop() {
				verify(arrived[i].name, arrived[i].typed)
				i = (i + 1) % len(arrived)
			}
			stats := e.Stats()
			b.ReportMetric(float64(stats.CachedAccounts), "cached")
			b.ReportMetric(float64(stats.CachedOctets)/float64(n), "counted-B/account")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "heap-B/account")
		})
	}
}
