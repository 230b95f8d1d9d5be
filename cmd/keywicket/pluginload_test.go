package main_test

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// TestPluginKilledUnderLoad kills the directory's plugin every 200 ms while a
// thousand sign-ins a second ask it: nobody is let in with a wrong password, and
// nobody turned away with a right one. KEYWICKET_KILL_SECONDS says for how long.
func TestPluginKilledUnderLoad(t *testing.T) {
	seconds := 3
	if n, err := strconv.Atoi(os.Getenv("KEYWICKET_KILL_SECONDS")); err == nil {
		seconds = n
	}
	dir := shortDir(t)
	writeFile(t, dir+"/accounts.csv", "id,name,enabled,groups,mail,password\n1,"+alain+",yes,,,\n")
	path := pluginPath(t, "csv")
	sum, err := pluginhost.Sum(path)
	must(t, err)
	host, err := pluginhost.New(pluginhost.Options{Dir: dir, Restart: pluginhost.Restart{First: time.Millisecond, Most: 5 * time.Millisecond, Crashes: 1 << 30}})
	must(t, err)
	defer func() { must(t, host.Close()) }()
	must(t, host.Set(t.Context(), []pluginhost.Spec{{
		Name: "csv", Kind: pluginhost.KindDirectory, Path: path, SHA256: sum, Settings: map[string]any{"path": dir + "/accounts.csv"},
	}}))
	must(t, host.Wait(t.Context(), "csv"))
	d, err := host.Directory("csv")
	must(t, err)
	keys, err := keyring.New(time.Now())
	must(t, err)
	policy := core.DefaultPolicy()
	policy.RequireTwoStep = false
	engine, err := core.Open(t.Context(), core.Options{
		Store: memstore.New(), Directory: d, Keyring: keys, Policy: &policy, MaxAge: 1, Stale: 1, // every sign-in asks the plugin
	})
	must(t, err)
	defer func() { must(t, engine.Close()) }()
	var text string
	until(t, "an app password is made", func() bool {
		_, made, err := engine.Create(t.Context(), alain, core.NewAppPassword{Name: "load"})
		text = made.Canonical()
		return err == nil
	})

	end := time.Now().Add(time.Duration(seconds) * time.Second)
	var attempts, granted, refused, away, wrong atomic.Int64
	try := func(password string, right bool) {
		attempts.Add(1)
		_, err := engine.Verify(t.Context(), core.Attempt{Account: alain, Proof: proof.Cleartext(password), Service: "radius/vpn1"})
		switch kind := core.KindOf(err); {
		case kind == core.KindUnavailable:
			away.Add(1)
		case kind == 0 && right:
			granted.Add(1)
		case kind == core.KindDenied && !right, kind == core.KindLimited && !right:
			refused.Add(1)
		default:
			wrong.Add(1)
			t.Errorf("a password that is right (%v): %v", right, err)
		}
	}
	var all sync.WaitGroup
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	all.Go(func() {
		for time.Now().Before(end) {
			time.Sleep(200 * time.Millisecond)
			if pid := host.Status()[0].PID; pid > 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have died by itself
			}
		}
	})
	for n := 0; time.Now().Before(end); n++ {
		<-tick.C
		all.Go(func() {
			if n%2 == 0 {
				try(text, true)
			} else {
				try(strings.Repeat("a", 19)+"b", false)
			}
		})
	}
	all.Wait()
	s := host.Status()[0]
	t.Logf("%d sign-ins, %d granted, %d refused, %d unavailable, %d wrong; %d restarts", attempts.Load(), granted.Load(), refused.Load(), away.Load(), wrong.Load(), s.Restarts)
	if granted.Load() == 0 || refused.Load() == 0 || s.Restarts < 2 {
		t.Error("this has tried nothing")
	}
}
