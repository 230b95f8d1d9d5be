package main_test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
	"github.com/keywicket/keywicket/plugins/etcd/etcdstore"
	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
)

// processCPU is the processor time that this process has used.
func processCPU(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// signer returns what signs in n times over s, all accounts in turn, and writes
// the last uses down.
func signer(t *testing.T, s store.Store) func(n int) {
	t.Helper()
	const accounts = 50
	keys, err := keyring.New(time.Now())
	must(t, err)
	e, err := core.Open(t.Context(), core.Options{
		Store: s, Keyring: keys, Flush: time.Hour, // as often as is said here, and no oftener on a slow machine
		Directory: local.New(s, keys, local.Options{Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}}),
	})
	must(t, err)
	t.Cleanup(func() { _ = e.Close() })
	n := etcdNode{Engine: e}
	var attempts []core.Attempt
	for i := range accounts {
		text := n.enroll(t, crashAccount(i))
		attempts = append(attempts, core.Attempt{Account: crashAccount(i), Proof: proof.Cleartext(text), Service: "radius/vpn1"})
	}
	return func(n int) {
		for i := range n {
			_, err := e.Verify(t.Context(), attempts[i%accounts])
			must(t, err)
		}
		must(t, e.Flush(t.Context()))
	}
}

// TestEtcdSignInCost: a sign-in of an account in the cache costs with etcd at
// most 1.1 times what it costs with Badger: processor time of the process, with
// what follows the store and writes last uses after each round, medians of rounds
// in turn. What else the machine does can spoil a try, but not make a dear one
// cheap: a sign-in that asks etcd costs fifty times as much.
func TestEtcdSignInCost(t *testing.T) {
	const rounds, signIns, most, tries = 9, 100_000, 1.1, 5
	shared, err := etcdstore.Open(etcdstore.Config{Endpoints: etcdtest.Start(t, 1, etcdtest.Options{}).URLs()})
	must(t, err)
	t.Cleanup(func() { _ = shared.Close() })
	own, err := badgerstore.Open(t.TempDir()+"/store", badgerstore.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, own.Close()) })
	kinds := []func(int){signer(t, own), signer(t, shared)}
	var said []string
	for range tries {
		took := make([][]time.Duration, len(kinds))
		for range rounds {
			for i, signIn := range kinds {
				before := processCPU(t)
				signIn(signIns)
				took[i] = append(took[i], (processCPU(t)-before)/signIns)
			}
		}
		for _, all := range took {
			slices.Sort(all)
		}
		badger, etcd := took[0][rounds/2], took[1][rounds/2]
		ratio := float64(etcd) / float64(badger)
		said = append(said, fmt.Sprintf("a sign-in costs %v with Badger and %v with etcd: %.2f times", badger, etcd, ratio))
		if ratio <= most {
			t.Log(said)
			return
		}
	}
	t.Errorf("more than %v times in all tries: %q", most, said)
}
