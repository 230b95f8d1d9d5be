package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"layeh.com/radius"
)

// A use is what the daemon holds of the machine.
type use struct {
	memory      int // KiB of its own
	threads     int
	descriptors int
}

func (u use) String() string {
	return fmt.Sprintf("%d KiB, %d threads, %d descriptors", u.memory, u.threads, u.descriptors)
}

func (p *process) use(t testing.TB) (u use) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	for line := range strings.Lines(readFile(t, proc+"status")) {
		name, rest, _ := strings.Cut(line, ":")
		value, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		switch n, _ := strconv.Atoi(value); name { // a line that is no number is none of these
		case "RssAnon":
			u.memory = n
		case "Threads":
			u.threads = n
		}
	}
	open, err := os.ReadDir(proc + "fd")
	must(t, err)
	u.descriptors = len(open)
	return u
}

// TestSoak lets one daemon run under load for as long as SOAK says, such as 1h:
// app passwords come, change and go; devices sign in over RADIUS, rightly and
// wrongly; the configuration is read again, keys are rotated and retired,
// backups made and verified. Everything that is seen has an order that explains
// it, a right app password is never refused, and memory, threads and
// descriptors do not grow.
func TestSoak(t *testing.T) {
	text := os.Getenv("SOAK")
	if text == "" {
		t.Skip("SOAK says for how long, such as 1h")
	}
	soak, err := time.ParseDuration(text)
	must(t, err)
	c := newCrash(t, uint64(time.Now().UnixNano()))
	c.findRadius()
	device := c.create(crashAccount(0), "device that signs in all the time")
	signIns := c.signInAllTheTime(crashAccount(0), device.Password)
	var early, last use
	deadline := time.Now().Add(soak)
	rounds := 0
	for ; time.Now().Before(deadline) && !t.Failed(); rounds++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(50+c.random.IntN(100))*time.Millisecond)
		slots := newSlots(rounds)
		wait := c.load(ctx, slots)
		wait()
		cancel()
		c.check(uint64(rounds), rounds, slots)
		if rounds%100 == 0 {
			c.administer()
		}
		last = c.daemon.use(t)
		if time.Until(deadline) > soak*3/4 {
			early = use{max(early.memory, last.memory), max(early.threads, last.threads), max(early.descriptors, last.descriptors)}
		}
	}
	granted, refused := signIns()
	t.Logf("%d rounds, %d calls, %d sign-ins granted, %d refused; most in the first quarter: %s; at the end: %s", rounds, c.calls, granted, refused, early, last)
	if granted == 0 || refused == 0 || rounds < 10 {
		t.Error("too little went on to prove anything")
	}
	if last.memory > early.memory*5/4+16<<10 || last.threads > early.threads+8 || last.descriptors > early.descriptors+8 {
		t.Error("the daemon grows")
	}
	c.stop()
}

// administer does what an administrator does from time to time.
func (c *crash) administer() {
	c.t.Helper()
	c.reload()
	file := filepath.Join(c.dir, "soak.backup")
	must(c.t, os.RemoveAll(file))
	c.ok("", "backup", file)
	c.ok("", "backup", "verify", file, "--config", c.config())
	c.ok("", "audit", "verify", "--config", c.config())
	var keys []struct{ ID string }
	c.decode(&keys, "", "keyring", "rotate")
	for _, k := range keys[:len(keys)-1] {
		until(c.t, "no record needs the old key", func() bool { return c.run("", "keyring", "retire", k.ID).code == 0 })
	}
}

// signInAllTheTime signs in with the right app password and with a wrong one in
// turn until stop is called, which returns how often each went as it must.
func (c *crash) signInAllTheTime(account, password string) (stop func() (granted, refused int64)) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var granted, refused atomic.Int64
	var all sync.WaitGroup
	secret := c.secret("vpn1")
	for range 2 {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				typed, want, count := password, radius.CodeAccessAccept, &granted
				if i%2 == 1 {
					typed, want, count = password[1:]+"a", radius.CodeAccessReject, &refused
				}
				code, err := c.exchange(ctx, "127.0.0.1", secret, account, typed)
				if ctx.Err() != nil {
					return
				}
				if err != nil || code != want {
					c.t.Errorf("a sign-in ends with %v (%v), want %v", code, err, want)
					return
				}
				count.Add(1)
				time.Sleep(10 * time.Millisecond) // less than failures are silenced at
			}
		})
	}
	return func() (int64, int64) {
		cancel()
		all.Wait()
		return granted.Load(), refused.Load()
	}
}
