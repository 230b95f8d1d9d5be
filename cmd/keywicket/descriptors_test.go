package main_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// C3: with no descriptor left sign-ins over RADIUS go on, what would have to be
// written down is refused, and when there are some again all is as before.
func TestC3NoDescriptors(t *testing.T) {
	needRadclient(t)
	page := freePort(t)
	s := startSite(t, "[metrics]", `listen = "`+page+`"`)
	text, d := s.enroll(alain).first.Password, s.dial()
	_, err := d.Create(t.Context(), createRequest(alain, "before"))
	must(t, err)
	limitDescriptors(t, s, 3)
	silent := connectOften(t, "tcp", page)
	until(t, "the log tells of it", func() bool { return strings.Contains(s.log(), "too many open files") })
	s.expect(accept, alain, text)
	s.expect(reject, alain, "wrong")
	if _, err := d.Create(t.Context(), createRequest(alain, "meanwhile")); status.Code(err) != codes.Unavailable {
		t.Errorf("an app password is made: %v", err)
	}
	s.expect(accept, alain, text)
	for _, conn := range silent {
		must(t, conn.Close())
	}
	until(t, "it serves again", func() bool {
		r, err := http.Get("http://" + page + "/readyz")
		return err == nil && r.Body.Close() == nil && r.StatusCode == http.StatusOK
	})
	until(t, "app passwords are made again", func() bool {
		_, err := d.Create(t.Context(), createRequest(alain, "after"))
		return err == nil
	})
	s.stop()
	for line := range strings.Lines(s.log()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is no JSON: %s", line)
		}
	}
}

// C3: with no descriptor left the PAM bridge stays, takes nobody in, and serves again
// when there are some.
func TestPAMNoDescriptors(t *testing.T) {
	needRoot(t)
	s := startSite(t, "[pam]", `socket = "pam.sock"`, `services = ["sshd"]`)
	text := s.enroll(alain).first.Password
	sock := s.path("pam.sock")
	limitDescriptors(t, s, 3)
	silent := connectOften(t, "unix", sock)
	until(t, "the log tells of it", func() bool { return strings.Contains(s.log(), "too many open files") })
	if n := strings.Count(s.log(), "too many open files"); n > 10 {
		t.Errorf("the log tells of it %d times", n)
	}
	for _, conn := range silent {
		must(t, conn.Close())
	}
	until(t, "it serves again", func() bool { return askPAM(t, sock, "sshd", alain, text) == 1 })
	s.stop()
}

// limitDescriptors leaves the daemon of s room for n more of them.
func limitDescriptors(t *testing.T, s *site, n int) {
	t.Helper()
	pid := fmt.Sprint(s.daemon.cmd.Process.Pid)
	open, err := os.ReadDir("/proc/" + pid + "/fd")
	must(t, err)
	if out, err := exec.Command("prlimit", "--pid", pid, fmt.Sprintf("--nofile=%d", len(open)+n)).CombinedOutput(); err != nil {
		t.Fatalf("prlimit: %v\n%s", err, out)
	}
}

// connectOften connects more often than there is room for, and says nothing.
func connectOften(t *testing.T, network, address string) (all []net.Conn) {
	t.Helper()
	for range 20 {
		conn, err := net.Dial(network, address)
		must(t, err)
		all = append(all, conn)
	}
	return all
}
