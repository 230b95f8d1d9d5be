package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
)

// onHost has the daemon of s think that its host is called name.
func (s *site) onHost(name string) {
	s.t.Helper()
	if out, err := exec.Command("unshare", "--uts", "true").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			s.t.Fatalf("%v: %s", err, out)
		}
		s.t.Skipf("no host can have another name here: %v: %s", err, out)
	}
	s.host = name
}

// TestEtcdOneNodeAsks: of two nodes that know of a session the one that it was told to
// has its device end it, wherever its app password is deleted, and both know that it is
// over. Where that node is gone, the other one has it ended.
func TestEtcdOneNodeAsks(t *testing.T) {
	t.Parallel()
	needRadclient(t)
	nas := freeUDP(t)
	endpoint := etcdtest.Start(t, 1, etcdtest.Options{}).Members[0].URL
	plugin := etcdPlugin(t)
	a, b := etcdSite(t, plugin, endpoint), etcdSite(t, plugin, endpoint)
	b.onHost("another")
	writeFile(t, b.path("keyring"), readFile(t, a.path("keyring")))
	writeFile(t, b.path("vpn1.secret"), readFile(t, a.path("vpn1.secret")))
	for _, s := range []*site{a, b} {
		s.edit(`#accounting = ["127.0.0.1:1813"]`, `accounting = ["127.0.0.1:0"]`)
		s.edit("[radius.client.vpn1]\n", "[radius.client.vpn1]\ndisconnect = \""+nas+"\"\n")
	}
	log := startFreeRADIUS(t, nas, a.secret("vpn1"))
	a.start()
	b.start()
	made := a.enroll(alain).first
	use := func(made issued) {
		t.Helper()
		for i := range 5 {
			a.account("Start", fmt.Sprintf(`Acct-Session-Id = "%d"`, i), a.expect(accept, alain, made.Password).class(), userName(alain))
		}
		until(t, "the other node knows of them", func() bool { return len(b.sessions()) == 5 })
	}
	second := a.create(alain, "second")
	use(made)
	if out := b.ok("", "app-password", "delete", alain, made.ID, "--yes"); !strings.Contains(out, "sessions ended") {
		t.Logf("delete says %q", out) // the other one may have been quicker
	}
	for _, s := range []*site{a, b} {
		until(t, "all are over", func() bool { return len(s.sessions()) == 0 })
	}
	if n := strings.Count(readFile(t, log), "Received Disconnect-Request"); n != 5 {
		t.Errorf("FreeRADIUS was asked %d times, want 5", n)
	}

	use(second)
	a.daemon.signal(t, syscall.SIGKILL)
	b.ok("", "app-password", "delete", alain, second.ID, "--yes")
	until(t, "all are over once more", func() bool { return len(b.sessions()) == 0 })
	if n := strings.Count(readFile(t, log), "Received Disconnect-Request"); n != 10 {
		t.Errorf("FreeRADIUS was asked %d times, want 10", n)
	}
}
