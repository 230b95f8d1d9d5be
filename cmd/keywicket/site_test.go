package main_test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

const (
	alain = "alain@contoso.com"
	beate = "beate@contoso.com"
)

// A site is what "keywicket init" made in a directory, with one RADIUS client,
// and the daemon that runs there.
type site struct {
	t      testing.TB
	dir    string
	daemon *process
	radius string // address of the running daemon

	accounting string // the same for accounting, where it has any
	host       string // that the daemon runs on, if not this one; see onHost
}

// newSite makes a site and starts nothing. Refusals are not delayed, so that
// tests are quick, and the kernel chooses the port.
func newSite(t testing.TB, more ...string) *site {
	t.Helper()
	s := &site{t: t, dir: shortDir(t)}
	s.ok("", "init", "--dir", s.dir)
	s.edit(`listen = ["127.0.0.1:1812"]`, `listen = ["127.0.0.1:0"]`)
	s.edit(`#reject_delay = "1s"`, `reject_delay = "0s"`)
	s.add(s.ok("", "client", "new", "vpn1", "--address", "127.0.0.1", "--config", s.config()))
	s.add(more...)
	return s
}

// startSite makes a site and starts its daemon.
func startSite(t testing.TB, more ...string) *site {
	t.Helper()
	s := newSite(t, more...)
	s.start()
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }
func (s *site) config() string          { return s.path("keywicket.toml") }
func (s *site) socket() string          { return s.path("control.sock") }

// edit replaces old in the configuration, which must be there once.
func (s *site) edit(old, now string) {
	s.t.Helper()
	text := readFile(s.t, s.config())
	if n := strings.Count(text, old); n != 1 {
		s.t.Fatalf("%q stands %d times in the configuration", old, n)
	}
	writeFile(s.t, s.config(), strings.Replace(text, old, now, 1))
}

// add writes blocks at the end of the configuration.
func (s *site) add(blocks ...string) {
	s.t.Helper()
	writeFile(s.t, s.config(), readFile(s.t, s.config())+"\n"+strings.Join(blocks, "\n")+"\n")
}

// run runs a verb against the daemon of the site.
func (s *site) run(stdin string, args ...string) result {
	s.t.Helper()
	return runCommand(s.t, stdin, func(c *exec.Cmd) { c.Env = append(os.Environ(), "KEYWICKET_SOCKET="+s.socket()) }, args...)
}

// ok is run for what must succeed; it returns the standard output.
func (s *site) ok(stdin string, args ...string) string {
	s.t.Helper()
	r := s.run(stdin, args...)
	if r.code != 0 {
		s.t.Fatalf("keywicket %q: %s", args, r)
	}
	return r.out
}

// refused is run for what must end with code and say words on standard error.
func (s *site) refused(code int, words, stdin string, args ...string) result {
	s.t.Helper()
	r := s.run(stdin, args...)
	if r.code != code || !strings.Contains(r.err, words) {
		s.t.Errorf("keywicket %q: %s\nwant exit code %d and %q on stderr", args, r, code, words)
	}
	return r
}

// decode is ok for a verb that prints JSON.
func (s *site) decode(into any, stdin string, args ...string) {
	s.t.Helper()
	text := s.ok(stdin, append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), into); err != nil {
		s.t.Fatalf("keywicket %q --json: %v\n%s", args, err, text)
	}
}

// launch starts the daemon and does not wait for it.
func (s *site) launch() *process {
	s.t.Helper()
	log, err := os.OpenFile(s.path("stderr.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	must(s.t, err)
	defer log.Close()
	c := exec.Command("keywicket", "serve", "--config", s.config())
	if s.host != "" {
		c = exec.Command("unshare", append([]string{"--uts", "sh", "-c", `echo "$0" > /proc/sys/kernel/hostname && exec "$@"`, s.host}, c.Args...)...)
	}
	c.Stderr = log
	return start(s.t, c)
}

// start starts the daemon, and returns when it answers.
func (s *site) start() {
	s.t.Helper()
	s.daemon = s.launch()
	var status struct{ Store struct{ Ready bool } }
	until(s.t, "the daemon is ready", func() bool {
		if s.daemon.hasEnded() {
			s.t.Fatalf("the daemon ended:\n%s", s.log())
		}
		r := s.run("", "status", "--json")
		return r.code == 0 && json.Unmarshal([]byte(r.out), &status) == nil && status.Store.Ready
	})
	s.findRadius()
}

// findRadius asks the daemon where it listens.
func (s *site) findRadius() {
	s.t.Helper()
	var status struct {
		Bridges map[string]struct{ Addresses []string }
	}
	s.decode(&status, "", "status")
	if addresses := status.Bridges["radius"].Addresses; len(addresses) > 0 {
		s.radius = addresses[0]
	}
	if addresses := status.Bridges["radius-accounting"].Addresses; len(addresses) > 0 {
		s.accounting = addresses[0]
	}
}

// stop ends the daemon with TERM, which must be clean.
func (s *site) stop() {
	s.t.Helper()
	s.daemon.signal(s.t, syscall.SIGTERM)
	if code := s.daemon.wait(s.t); code != 0 {
		s.t.Fatalf("after TERM: exit code %d\n%s", code, s.log())
	}
}

func (s *site) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

// crash ends the daemon with KILL and starts it again.
func (s *site) crash() {
	s.t.Helper()
	s.daemon.signal(s.t, syscall.SIGKILL)
	s.daemon.wait(s.t)
	s.start()
}

// reload lets the daemon read the configuration, which must be without fault.
func (s *site) reload() { s.t.Helper(); s.ok("", "reload") }

func (s *site) log() string { return readFile(s.t, s.path("stderr.log")) }

// An owner is an account with two-step verification.
type owner struct {
	name     string
	uri      string // of the authenticator app
	used     string // the code that confirmed it
	first    issued
	recovery []string
}

// An issued is an app password as it was printed.
type issued struct {
	ID       string
	Name     string
	Password string
}

// code is what the authenticator app shows a number of steps from now.
func (o owner) code(t testing.TB, steps int) string {
	t.Helper()
	code, err := core.CodeFor(o.uri, time.Now().Add(time.Duration(steps)*30*time.Second))
	must(t, err)
	return code
}

// enroll makes an account as README tells it.
func (s *site) enroll(name string, flags ...string) owner {
	s.t.Helper()
	s.ok("", append([]string{"user", "add", name}, flags...)...)
	return s.turnOn(name)
}

// turnOn turns two-step verification on, for an account that there is.
func (s *site) turnOn(name string) owner {
	s.t.Helper()
	o := owner{name: name}
	var enrolled struct{ Otpauth string }
	s.decode(&enrolled, "", "two-step", "enroll", name)
	o.uri = enrolled.Otpauth
	o.used = o.code(s.t, 0)
	var confirmed struct {
		AppPassword issued   `json:"app_password"`
		Recovery    []string `json:"recovery_codes"`
	}
	s.decode(&confirmed, o.used+"\n", "two-step", "confirm", name)
	o.first, o.recovery = confirmed.AppPassword, confirmed.Recovery
	return o
}

// create makes an app password.
func (s *site) create(account, name string, flags ...string) issued {
	s.t.Helper()
	var made issued
	s.decode(&made, "", append([]string{"app-password", "create", account, "--name", name}, flags...)...)
	return made
}

// A control speaks to the daemon without a process for every call.
type control struct {
	controlv1.AppPasswordsClient
	accounts controlv1.AccountsClient
}

// dial connects to the control socket, until the test ends.
func (s *site) dial() control {
	s.t.Helper()
	conn, err := grpc.NewClient("unix://"+s.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	return control{controlv1.NewAppPasswordsClient(conn), controlv1.NewAccountsClient(conn)}
}

// freePort returns a TCP port of 127.0.0.1 that nobody uses at the moment.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// enrollQuickly is enroll without processes.
func (s *site) enrollQuickly(d control, name string) owner {
	s.t.Helper()
	ctx := s.t.Context()
	_, err := d.accounts.Add(ctx, &controlv1.AddAccountRequest{Account: name})
	must(s.t, err)
	enrolled, err := d.accounts.EnrollTwoStep(ctx, &controlv1.AccountRequest{Account: name})
	must(s.t, err)
	o := owner{name: name, uri: enrolled.Otpauth}
	c, err := d.accounts.ConfirmTwoStep(ctx, &controlv1.ConfirmTwoStepRequest{Account: name, Code: o.code(s.t, 0)})
	must(s.t, err)
	o.first, o.recovery = issued{c.AppPassword.Id, c.AppPassword.Name, c.Password}, c.RecoveryCodes
	return o
}

func createRequest(account, name string) *controlv1.CreateRequest {
	return &controlv1.CreateRequest{Account: account, Name: name}
}
