package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/plugins/client"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// launchEngine launches an engine over the store of the site.
func launchEngine(s *site, log *lockedBuffer) *client.Client {
	s.t.Helper()
	c, err := client.Launch(client.Options{Config: s.config(), Log: log})
	must(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// A lockedBuffer is written and read by many.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// children returns the engines that process pid launched.
func children(t testing.TB, pid int) (all []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	must(t, err)
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil { // the thread ended
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(field)
			must(t, err)
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child)); strings.Contains(string(line), "plugin\x00serve") {
				all = append(all, child)
			}
		}
	}
	return all
}

func oneChild(t testing.TB, pid int) int {
	t.Helper()
	all := children(t, pid)
	if len(all) != 1 {
		t.Fatalf("%d engines of process %d: %v", len(all), pid, all)
	}
	return all[0]
}

func signIn(account, password string) *controlv1.VerifyRequest {
	return &controlv1.VerifyRequest{Account: account, Password: password, Service: "web/wiki", Source: "127.0.0.1"}
}

// tryClient does with c what a program does, at an account that there is.
func tryClient(t *testing.T, c *client.Client) {
	t.Helper()
	ctx := t.Context()
	made, err := c.AppPasswords.Create(ctx, createRequest(alain, "Wiki"))
	must(t, err)
	must(t, c.Verify(ctx, signIn(alain, made.Password)))
	for _, wrong := range []*controlv1.VerifyRequest{signIn(alain, "wrong"), signIn("nobody@contoso.com", made.Password), signIn(alain, ""), signIn(alain, "\xff")} {
		if err := c.Verify(ctx, wrong); !errors.Is(err, client.ErrRefused) || errors.Is(err, client.ErrUnavailable) {
			t.Errorf("%q: %v", wrong.Account, err)
		}
	}
	list, err := c.AppPasswords.List(ctx, &controlv1.ListRequest{Account: alain})
	must(t, err)
	if len(list.AppPasswords) != 2 || list.AppPasswords[1].Name != "Wiki" || list.AppPasswords[1].LastUse.GetService() != "web/wiki" {
		t.Errorf("%v", list)
	}
	_, err = c.AppPasswords.Delete(ctx, &controlv1.AppPasswordRequest{Account: alain, AppPassword: "Wiki"})
	must(t, err)
	if err := c.Verify(ctx, signIn(alain, made.Password)); !errors.Is(err, client.ErrRefused) {
		t.Errorf("deleted: %v", err)
	}
	if _, err := c.AppPasswords.List(ctx, &controlv1.ListRequest{Account: "nobody@contoso.com"}); status.Code(err) != codes.NotFound {
		t.Errorf("nobody: %v", err)
	}
}

// TestClientDial: another program asks the daemon, and goes on when it is back.
func TestClientDial(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	c, err := client.Dial(s.socket())
	must(t, err)
	defer c.Close()
	tryClient(t, c)
	s.stop()
	if err := c.Verify(t.Context(), signIn(alain, o.first.Password)); !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrRefused) {
		t.Errorf("without the daemon: %v", err)
	}
	s.start()
	until(t, "the client finds the daemon again", func() bool { return c.Verify(t.Context(), signIn(alain, o.first.Password)) == nil })
}

// TestClientLaunch: another program has an engine of its own, but not beside a
// daemon. One that was killed or stopped is started again; meanwhile nobody is let
// in, and nobody refused.
func TestClientLaunch(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	if c, err := client.Launch(client.Options{Config: s.config()}); err == nil || !errors.Is(err, client.ErrUnavailable) || !strings.Contains(err.Error(), "is open in another process") {
		if err == nil {
			c.Close()
		}
		t.Errorf("beside the daemon: %v", err)
	}
	if err := s.dialed().Verify(t.Context(), signIn(alain, o.first.Password)); err != nil { // and it goes on
		t.Errorf("the daemon beside which one was launched: %v", err)
	}
	s.stop()

	sockets := shortDir(t)
	t.Setenv("TMPDIR", sockets)
	log := &lockedBuffer{}
	c := launchEngine(s, log)
	must(t, c.Verify(t.Context(), signIn(alain, o.first.Password)))
	tryClient(t, c)
	is, err := c.Daemon.Status(t.Context(), &controlv1.StatusRequest{})
	must(t, err)
	if !is.Store.Ready || len(is.Bridges) != 0 {
		t.Errorf("%v", is)
	}
	if _, err := os.Stat(s.socket()); err == nil {
		t.Error("a launched engine has a control socket")
	}
	engine := oneChild(t, os.Getpid())
	for _, name := range []string{"cmdline", "environ"} {
		if text := readFile(t, fmt.Sprintf("/proc/%d/%s", engine, name)); strings.Contains(text, o.first.Password) {
			t.Errorf("the engine's %s has an app password", name)
		}
	}
	must(t, c.Close())

	c = launchEngine(s, log)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} { // and it is started again
		was := oneChild(t, os.Getpid())
		must(t, syscall.Kill(was, signal))
		until(t, "the engine answers again", func() bool {
			err := c.Verify(t.Context(), signIn(alain, o.first.Password))
			if err != nil && (!errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrRefused)) {
				t.Errorf("after %s: %v", signal, err)
			}
			return err == nil
		})
		if now := oneChild(t, os.Getpid()); now == was {
			t.Errorf("%s left engine %d", signal, was)
		}
		if err := c.Verify(t.Context(), signIn(alain, "wrong")); !errors.Is(err, client.ErrRefused) {
			t.Errorf("after %s: %v", signal, err)
		}
	}
	must(t, c.Close())

	c = launchEngine(s, log) // so that it waits no longer than it must
	good := readFile(t, s.config())
	s.add("nonsense = 1")
	must(t, syscall.Kill(oneChild(t, os.Getpid()), syscall.SIGKILL))
	until(t, "the error says why it does not start", func() bool {
		err := c.Verify(t.Context(), signIn(alain, o.first.Password))
		return errors.Is(err, client.ErrUnavailable) && strings.Contains(err.Error(), "nonsense")
	})
	writeFile(t, s.config(), good)
	until(t, "the engine answers again", func() bool { return c.Verify(t.Context(), signIn(alain, o.first.Password)) == nil })
	engine = oneChild(t, os.Getpid())
	must(t, syscall.Kill(engine, syscall.SIGSTOP)) // it does not end by itself
	must(t, c.Close())
	if left := children(t, os.Getpid()); len(left) > 0 {
		t.Errorf("engines that are left: %v", left)
	}
	if err := c.Verify(t.Context(), signIn(alain, o.first.Password)); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
	if left, _ := filepath.Glob(sockets + "/*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if strings.Contains(log.String(), o.first.Password) {
		t.Error("the log has an app password")
	}
	s.refused(2, "keywicket serve", "", "plugin", "serve", "--config", s.config())
	if _, err := client.Launch(client.Options{Config: s.path("nothing.toml")}); err == nil || !strings.Contains(err.Error(), "nothing.toml") {
		t.Errorf("without a configuration: %v", err)
	}
	if _, err := client.Launch(client.Options{Program: s.path("nothing")}); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("without a program: %v", err)
	}
}

// TestPluginServePlain: without certificates the socket is the user's alone.
func TestPluginServePlain(t *testing.T) {
	s := newSite(t)
	p := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: client.Handshake(), Plugins: client.Plugins(), Cmd: exec.Command("keywicket", "plugin", "serve", "--config", s.config()),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: hclog.NewNullLogger(),
	})
	defer p.Kill()
	c, err := p.Client()
	must(t, err)
	conn, err := c.Dispense("control")
	must(t, err)
	accounts := controlv1.NewAccountsClient(conn.(*grpc.ClientConn))
	_, err = accounts.Add(t.Context(), &controlv1.AddAccountRequest{Account: alain})
	must(t, err)
	info, err := os.Stat(p.ReattachConfig().Addr.String())
	must(t, err)
	if info.Mode().Type() != os.ModeSocket || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the socket is %s", info.Mode())
	}
}

// dialed is a client of the daemon, until the test ends.
func (s *site) dialed() *client.Client {
	s.t.Helper()
	c, err := client.Dial(s.socket())
	must(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// browse asks for the page, and returns the status.
func browse(t testing.TB, address, account, password string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", http.NoBody)
	must(t, err)
	if account != "" {
		r.SetBasicAuth(account, password)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if asks := resp.Header.Get("WWW-Authenticate") != ""; asks != (resp.StatusCode == http.StatusUnauthorized) {
		t.Errorf("status %d, and WWW-Authenticate is %v", resp.StatusCode, asks)
	}
	return resp.StatusCode
}

// webpage starts the example, and returns its address when it answers.
func webpage(s *site, args ...string) (page *process, address string) {
	s.t.Helper()
	address = freePort(s.t)
	c := exec.Command(pluginPath(s.t, "webpage"), append([]string{"-listen", address}, args...)...)
	c.Stderr = s.t.Output()
	page = start(s.t, c)
	until(s.t, "the page answers", func() bool {
		if page.hasEnded() {
			s.t.Fatal("the page's program ended")
		}
		return browse(s.t, address, "", "") == http.StatusUnauthorized
	})
	return page, address
}

// TestWebpage: a page behind the daemon, and behind an engine of its own which
// does not outlive it.
func TestWebpage(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	expect := func(address string, want int, password string) {
		t.Helper()
		if got := browse(t, address, alain, password); got != want {
			t.Errorf("status %d, want %d", got, want)
		}
	}
	_, address := webpage(s, "-socket", s.socket())
	wiki := s.create(alain, "Wiki")
	expect(address, http.StatusOK, wiki.Password)
	expect(address, http.StatusUnauthorized, "wrong")
	expect(address, http.StatusUnauthorized, "")
	s.ok("", "app-password", "delete", alain, "Wiki", "--yes")
	expect(address, http.StatusUnauthorized, wiki.Password)
	s.stop()
	expect(address, http.StatusServiceUnavailable, o.first.Password)

	sockets := shortDir(t)
	t.Setenv("TMPDIR", sockets)
	page, address := webpage(s, "-config", s.config())
	expect(address, http.StatusOK, o.first.Password)
	expect(address, http.StatusUnauthorized, wiki.Password)
	engine := oneChild(t, page.cmd.Process.Pid)
	must(t, syscall.Kill(engine, syscall.SIGKILL))
	until(t, "the page has an engine again", func() bool {
		status := browse(t, address, alain, o.first.Password)
		if status != http.StatusServiceUnavailable && status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		return status == http.StatusOK && oneChild(t, page.cmd.Process.Pid) != engine
	})
	engine = oneChild(t, page.cmd.Process.Pid)
	page.signal(t, syscall.SIGKILL)
	until(t, "the engine ends with its parent", func() bool { return syscall.Kill(engine, 0) == syscall.ESRCH || isZombie(engine) })
	if left, _ := filepath.Glob(sockets + "/*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	s.start() // the store is free
	s.expectVerify(o.first.Password)
}

// isZombie says whether a process has ended, and nobody has asked how.
func isZombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(text), ") Z ")
}

func (s *site) expectVerify(password string) {
	s.t.Helper()
	must(s.t, s.dialed().Verify(s.t.Context(), signIn(alain, password)))
}
