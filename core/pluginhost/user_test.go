package pluginhost_test

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/store"
)

// TestUser: with a user, the process is that user from its first instruction, has
// none of the host's groups, and is a plugin like any other; a script too.
func TestUser(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if os.Geteuid() != 0 || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("only root can become nobody: %v", err)
		}
		t.Skip("only root can become somebody else")
	}
	as := func(name string, edit func(*pluginhost.Spec)) func(*pluginhost.Spec) {
		return func(s *pluginhost.Spec) {
			s.User = name
			if edit != nil {
				edit(s)
			}
		}
	}
	f := run(t, pluginhost.KindStore, "store", quick, as("nobody", nil)).wait()
	s := f.store()
	_, err = s.Get(f.ctx, "environment")
	if unable(t, "the answer", err); !strings.Contains(fmt.Sprint(err), nobody.Uid+" in /") {
		t.Errorf("it has %v", err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.status().PID))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Uid:" + strings.Repeat("\t"+nobody.Uid, 4), "Gid:" + strings.Repeat("\t"+nobody.Gid, 4), "Groups:\t" + nobody.Gid + " ", "CapEff:\t0000000000000000",
	} {
		if !strings.Contains(string(status), line+"\n") {
			t.Errorf("its status has no line %q:\n%s", line, status)
		}
	}
	if _, err := s.Get(f.ctx, "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("it does not answer: %v", err)
	}
	kill(t, f.status().PID)
	f.until("started anew", func(s pluginhost.Status) bool { return s.Restarts == 1 && s.State == pluginhost.StateRunning })

	once := pluginhost.Restart{First: time.Hour}
	waiting := func(s pluginhost.Status) bool { return s.State == pluginhost.StateWaiting }
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nid -u >&2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	sum, err := pluginhost.Sum(script)
	if err != nil {
		t.Fatal(err)
	}
	f = run(t, pluginhost.KindStore, "store", once, as("nobody", func(s *pluginhost.Spec) { s.Path, s.SHA256 = script, sum }))
	if s := f.until("ended", waiting); !strings.Contains(s.LastError, `the last it said: "`+nobody.Uid+`"`) {
		t.Errorf("a script: %s", s.LastError)
	}
	f = run(t, pluginhost.KindStore, "store", once, as("nobody-at-all", nil))
	if s := f.until("refused", waiting); !strings.Contains(s.LastError, "unknown user nobody-at-all") || s.PID != 0 {
		t.Errorf("a user that there is not: %+v", s)
	}
}
