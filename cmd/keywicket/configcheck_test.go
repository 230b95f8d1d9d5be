package main_test

import (
	"os"
	"strings"
	"testing"
)

// What the daemon does not start with is told before, with its line: config check
// warns of it, and serve ends.
func TestConfigCheckOfWhatIsHere(t *testing.T) {
	for name, tt := range map[string]struct{ old, now, says string }{
		"the keyring is a folder":      {`/keyring"`, `/folder"`, "keyring: the daemon does not start with it: the keyring DIR/folder is a folder"},
		"the keyring is something":     {`/keyring"`, `/file"`, "keyring: the daemon does not start with it: the keyring DIR/file cannot be used: line 1: no keyring"},
		"the keyring is open":          {`/keyring"`, `/open"`, "has mode 0644, so that others may get at the keys: chmod 600 DIR/open"},
		"the keyring is not there":     {`/keyring"`, `/none"`, "keyring: DIR/none is not there, and the daemon does not start without it"},
		"data_dir is a file":           {`/data"`, `/file"`, "data_dir: DIR/file is no folder, and the daemon does not start with it"},
		"data_dir is not there":        {`/data"`, `/none"`, "data_dir: DIR/none is not there"},
		"the audit is a file":          {"[audit]\n", "[audit]\npath = \"file\"\n", "audit.path: DIR/file is no folder"},
		"a socket is a file":           {"\nsocket = ", "\nsocket = \"file\" #", "control.socket: DIR/file is there and is no socket"},
		"the self-service is a folder": {"[control]\n", "[control]\nself_service = \"folder\"\n", "control.self_service: DIR/folder is there and is no socket"},
		"a socket has no folder":       {"[log]\n", "[pam]\nsocket = \"none/pam.sock\"\nservices = [\"sshd\"]\n[log]\n", "pam.socket: the folder DIR/none is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			writeFile(t, s.path("file"), "something\n")
			writeFile(t, s.path("open"), readFile(t, s.path("keyring")))
			must(t, os.Chmod(s.path("open"), 0o644))
			must(t, os.Mkdir(s.path("folder"), 0o755))
			s.edit(tt.old, tt.now)
			says := strings.ReplaceAll(tt.says, "DIR", s.dir)
			if out := s.ok("", "config", "check", s.config()); !strings.Contains(out, says) || strings.Count(out, "warning: "+s.config()+":") != 1 {
				t.Errorf("%s\nwant %q alone", out, says)
			}
			if r := s.run("", "serve", "--config", s.config()); r.code == 0 {
				t.Errorf("and yet the daemon runs: %s", r)
			}
		})
	}
}

// The file may stand where every other command has it; one that is named by itself
// counts, and none is a mistake.
func TestConfigCheckOfWhich(t *testing.T) {
	s := newSite(t)
	writeFile(t, s.path("bad.toml"), "colour = 1\n")
	if out := s.ok("", "config", "check", "--config", s.config()); !strings.Contains(out, s.config()+" has no faults") {
		t.Error(out)
	}
	s.refused(2, "bad.toml:1", "", "config", "check", "--config", s.path("bad.toml"))
	s.refused(2, "bad.toml:1", "", "config", "check", s.path("bad.toml"), "--config", s.config())
	s.refused(2, "FILE is missing", "", "config", "check")
}
