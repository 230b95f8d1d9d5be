package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"layeh.com/radius"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// TERM ends the daemon although refusals wait for their time, a main password
// is being hashed, and somebody keeps a connection open.
func TestTermWithRequestsInFlight(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.edit(`reject_delay = "0s"`, `reject_delay = "5s"`)
	s.edit(`#main_password = "never"`, `main_password = "without-two-step"`)
	s.start()
	s.ok(mainPassword+"\n", "user", "add", alain, "--password")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var flying sync.WaitGroup
	defer flying.Wait()
	defer cancel()
	d, secret := s.dial(), s.secret("vpn1")
	for i := range 50 {
		flying.Go(func() { _, _ = s.exchange(ctx, "127.0.0.1", secret, fmt.Sprint(i), "wrong") })
	}
	for range 4 {
		flying.Go(func() {
			_, _ = d.Verify(ctx, &controlv1.VerifyRequest{Account: alain, Password: mainPassword, Service: "radius/vpn1"})
		})
	}
	until(t, "the requests have come in", func() bool {
		return s.counter("access-request") == 50
	})
	begin := time.Now()
	s.stop()
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("TERM took %s", took)
	}
	if _, err := os.Lstat(s.socket()); err == nil {
		t.Error("the control socket is still there")
	}
}

// counter returns a counter of the RADIUS bridge.
func (s *site) counter(name string) uint64 {
	s.t.Helper()
	var status struct {
		Bridges map[string]struct{ Counters map[string]uint64 }
	}
	s.decode(&status, "", "status")
	return status.Bridges["radius"].Counters[name]
}

// hup sends HUP, and waits until the log says so.
func (s *site) hup(words string) {
	s.t.Helper()
	before := strings.Count(s.log(), words)
	s.daemon.signal(s.t, syscall.SIGHUP)
	until(s.t, "the log says after HUP: "+words, func() bool { return strings.Count(s.log(), words) > before })
}

const wasReloaded = "the configuration was read again"

// Twenty reloads lose no packet of a client that stays, and bring in a new one.
func TestReloadLosesNothing(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	defer load.Wait()
	defer cancel()
	secret, answered := s.secret("vpn1"), atomic.Uint64{}
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				code, err := s.exchange(context.Background(), "127.0.0.1", secret, alain, o.first.Password)
				if err != nil || code != radius.CodeAccessAccept {
					t.Errorf("while reloading: %v, %v", code, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for i := range 20 {
		name := fmt.Sprintf("new%d", i)
		address := fmt.Sprintf("127.0.0.%d", i+2)
		s.add(s.ok("", "client", "new", name, "--address", address, "--config", s.config()))
		before := answered.Load()
		s.hup(wasReloaded)
		if code, err := s.exchange(ctx, address, s.secret(name), alain, o.first.Password); err != nil || code != radius.CodeAccessAccept {
			t.Fatalf("the new client %s: %v, %v", name, code, err)
		}
		until(t, "the old client is answered", func() bool { return answered.Load() > before || t.Failed() })
	}
}

// A faulty file changes nothing, whoever asks to read it, and every fault is told.
func TestReloadWithFaults(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	good := readFile(t, s.config())
	for _, faults := range []struct{ add, want []string }{
		{[]string{"[profile.vpn]", "letters = 21", "unknown_key = 1"}, []string{"21 letters", "unknown_key"}},
		{[]string{"[radius.client.vpn2]", `address = ["127.0.0.2"]`, `secret_file = "missing.secret"`,
			"[profile.vpn]", `reply = { "No-Such-Thing" = "1" }`}, []string{"missing.secret", "No-Such-Thing"}},
	} {
		writeFile(t, s.config(), good)
		s.add(faults.add...)
		s.hup("the configuration has faults; the one before stays in force")
		r := s.refused(2, "keywicket.toml:", "", "reload")
		for _, fault := range faults.want {
			if !strings.Contains(s.log(), fault) {
				t.Errorf("the log does not tell of %q", fault)
			}
			if !strings.Contains(r.err, fault) {
				t.Errorf("reload does not tell of %q: %s", fault, r)
			}
		}
		s.expect(accept, alain, o.first.Password)
	}
	if n := s.counter("dropped, unknown-client"); n != 0 {
		t.Errorf("%d packets of unknown clients", n)
	}
	writeFile(t, s.config(), good)
	s.hup(wasReloaded)
	s.expect(accept, alain, o.first.Password)
}

// What cannot change while running is a fault at its line.
func TestReloadOfFixed(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	s.edit(`listen = ["127.0.0.1:0"]`, `listen = ["127.0.0.1:0", "127.0.0.2:0"]`)
	s.edit("[log]", "[log]\nlevel = \"warn\"")
	refused := s.refused(2, "restart keywicket", "", "reload")
	for _, want := range []string{`keywicket\.toml:\d+: radius\.listen: `, `keywicket\.toml:\d+: log: `} {
		if !regexp.MustCompile(want).MatchString(refused.err) {
			t.Errorf("no %s in %s", want, refused.err)
		}
	}
	s.expect(accept, alain, o.first.Password)
}

// HUP is never the end, also not while starting.
func TestHupWhileStarting(t *testing.T) {
	s := newSite(t)
	s.daemon = s.launch()
	until(t, "the daemon writes its first file", func() bool {
		_, err := os.Stat(filepath.Join(s.dir, "data/store"))
		return err == nil || s.daemon.hasEnded()
	})
	for range 200 {
		if s.daemon.hasEnded() {
			t.Fatalf("HUP ended the daemon\n%s", s.log())
		}
		s.daemon.signal(t, syscall.SIGHUP)
		time.Sleep(time.Millisecond)
	}
	until(t, "the daemon answers", func() bool { return s.run("", "status").code == 0 })
	s.stop()
}

// A log whose reader went away ends nothing.
func TestLogPipeClosed(t *testing.T) {
	s := newSite(t)
	r, w, err := os.Pipe()
	must(t, err)
	c := exec.Command("keywicket", "serve", "--config", s.config())
	c.Stderr = w
	s.daemon = start(t, c)
	must(t, w.Close())
	until(t, "the daemon answers", func() bool { return s.run("", "status").code == 0 })
	must(t, r.Close())
	for range 3 {
		s.daemon.signal(t, syscall.SIGHUP) // each writes lines
		s.ok("", "reload")
	}
	s.ok("", "status")
	writeFile(t, s.path("stderr.log"), "")
	s.stop()
}
