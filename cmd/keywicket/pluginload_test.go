package main_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// killSeconds is how long plugins are killed: KEYWICKET_KILL_SECONDS, or a little.
func killSeconds() time.Duration {
	if n, err := strconv.Atoi(os.Getenv("KEYWICKET_KILL_SECONDS")); err == nil {
		return time.Duration(n) * time.Second
	}
	return 3 * time.Second
}

// killedHost runs one plugin that is started again at once, however often it dies.
func killedHost(t *testing.T, spec pluginhost.Spec) *pluginhost.Host {
	t.Helper()
	host, err := pluginhost.New(pluginhost.Options{Dir: shortDir(t), Restart: pluginhost.Restart{First: time.Millisecond, Most: 5 * time.Millisecond, Crashes: 1 << 30}})
	must(t, err)
	t.Cleanup(func() { must(t, host.Close()) })
	must(t, host.Set(t.Context(), []pluginhost.Spec{spec}))
	must(t, host.Wait(t.Context(), spec.Name))
	return host
}

// openEngine opens one over s and d that makes app passwords without a second
// step, until the test ends.
func openEngine(t *testing.T, opt core.Options) *core.Engine {
	t.Helper()
	policy := core.DefaultPolicy()
	policy.RequireTwoStep = false
	opt.Policy = &policy
	engine, err := core.Open(t.Context(), opt)
	must(t, err)
	t.Cleanup(func() { must(t, engine.Close()) })
	return engine
}

// createSoon makes an app password once the plugin lets it.
func createSoon(t *testing.T, engine *core.Engine) (text string) {
	t.Helper()
	until(t, "an app password is made", func() bool {
		_, made, err := engine.Create(t.Context(), alain, core.NewAppPassword{Name: "load"})
		text = made.Canonical()
		return err == nil
	})
	return text
}

// A killing signs in a thousand times a second, while it kills a plugin every
// 200 ms.
type killing struct {
	t      *testing.T
	host   *pluginhost.Host
	engine *core.Engine

	attempts, granted, refused, away, wrong atomic.Int64
}

// try signs in. right says whether the password is.
func (k *killing) try(password string, right bool) {
	k.attempts.Add(1)
	_, err := k.engine.Verify(k.t.Context(), core.Attempt{Account: alain, Proof: proof.Cleartext(password), Service: "radius/vpn1"})
	switch kind := core.KindOf(err); {
	case kind == core.KindUnavailable:
		k.away.Add(1)
	case kind == 0 && right:
		k.granted.Add(1)
	case kind == core.KindDenied && !right, kind == core.KindLimited && !right:
		k.refused.Add(1)
	default:
		k.wrong.Add(1)
		k.t.Errorf("a password that is right (%v): %v", right, err)
	}
}

// run tries the right password and a wrong one in turn, and beside them whatever
// else is to be done again and again.
func (k *killing) run(right string, beside func(n int)) {
	end := time.Now().Add(killSeconds())
	var all sync.WaitGroup
	all.Go(func() {
		for time.Now().Before(end) {
			time.Sleep(200 * time.Millisecond)
			if pid := k.host.Status()[0].PID; pid > 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have died by itself
			}
		}
	})
	all.Go(func() {
		for n := 0; time.Now().Before(end); n++ {
			beside(n)
		}
	})
	began := time.Now()
	for n := 0; time.Now().Before(end); time.Sleep(time.Millisecond) {
		for ; n < int(time.Since(began).Milliseconds()); n++ { // also those that a busy machine was late for
			all.Go(func() {
				if n%2 == 0 {
					k.try(right, true)
				} else {
					k.try(strings.Repeat("a", 19)+"b", false)
				}
			})
		}
	}
	all.Wait()
	s := k.host.Status()[0]
	k.t.Logf("%d sign-ins, %d granted, %d refused, %d unavailable, %d wrong; %d restarts",
		k.attempts.Load(), k.granted.Load(), k.refused.Load(), k.away.Load(), k.wrong.Load(), s.Restarts)
	if k.granted.Load() == 0 || k.refused.Load() == 0 || s.Restarts < 2 {
		k.t.Error("this has tried nothing")
	}
}

// TestPluginKilledUnderLoad kills the directory's plugin every 200 ms while a
// thousand sign-ins a second ask it: nobody is let in with a wrong password, and
// nobody turned away with a right one.
func TestPluginKilledUnderLoad(t *testing.T) {
	dir := shortDir(t)
	writeFile(t, dir+"/accounts.csv", "id,name,enabled,groups,mail,password\n1,"+alain+",yes,,,\n")
	path := pluginPath(t, "csv")
	sum, err := pluginhost.Sum(path)
	must(t, err)
	host := killedHost(t, pluginhost.Spec{
		Name: "csv", Kind: pluginhost.KindDirectory, Path: path, SHA256: sum, Settings: map[string]any{"path": dir + "/accounts.csv"},
	})
	d, err := host.Directory("csv")
	must(t, err)
	keys, err := keyring.New(time.Now())
	must(t, err)
	engine := openEngine(t, core.Options{Store: memstore.New(), Directory: d, Keyring: keys, MaxAge: 1, Stale: 1}) // every sign-in asks the plugin
	text := createSoon(t, engine)
	k := &killing{t: t, host: host, engine: engine}
	k.run(text, func(int) { time.Sleep(time.Millisecond) })
}

// TestStorePluginKilledUnderLoad does so with a store, which has the accounts too.
// Meanwhile app passwords are created and deleted: one whose creation was answered
// is never turned away, and one whose deletion was answered never let in.
func TestStorePluginKilledUnderLoad(t *testing.T) {
	host := killedHost(t, partSpec(t, "badger", pluginhost.KindStore, map[string]any{"dir": shortDir(t) + "/store"}))
	s, err := host.Store("badger")
	must(t, err)
	keys, err := keyring.New(time.Now())
	must(t, err)
	accounts := local.New(s, keys, local.Options{Cost: local.Cost{Time: 1, MemoryKiB: 64, Threads: 1}})
	engine := openEngine(t, core.Options{Store: s, Directory: accounts, Keyring: keys})
	_, err = accounts.Add(t.Context(), alain, nil, nil)
	must(t, err)
	text := createSoon(t, engine)
	k := &killing{t: t, host: host, engine: engine}
	var deleted []string
	remove := func(which string) {
		until(t, "it is deleted", func() bool {
			_, err := engine.Delete(t.Context(), alain, which)
			kind := core.KindOf(err)
			if kind != 0 && kind != core.KindUnavailable && kind != core.KindNotFound { // which an unanswered one may have left
				t.Errorf("delete: %v", err)
			}
			return kind != core.KindUnavailable
		})
	}
	k.run(text, func(n int) {
		name := fmt.Sprint("number ", n)
		made, secret, err := engine.Create(t.Context(), alain, core.NewAppPassword{Name: name})
		if err != nil {
			if core.KindOf(err) != core.KindUnavailable {
				t.Errorf("create: %v", err)
			}
			remove(name) // who knows whether it is there
			return
		}
		k.try(secret.Canonical(), true)
		remove(made.ID)
		deleted = append(deleted, secret.Canonical())
		k.try(secret.Canonical(), false)
		k.try(deleted[n%len(deleted)], false)
	})
	if len(deleted) < 2 {
		t.Errorf("%d app passwords were made and deleted", len(deleted))
	}
	t.Logf("%d app passwords were made and deleted meanwhile", len(deleted))
}
