package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/config"
)

const (
	demoAccount = "alain@contoso.com"
	demoPort    = 1812
	demoPorts   = 100 // how many are tried if it is taken
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "See the whole thing work, in a temporary directory",
		Long:  "See the whole thing work: a store, keys, an account with two-step verification, two\napp passwords, and a RADIUS server on this machine. Ctrl-C ends it and leaves\nnothing behind.",
		Args:  exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if a.socket != "" || a.configPath != "" {
				return usage(cmd, errors.New("the demo has a configuration and a socket of its own"))
			}
			dir, err := os.MkdirTemp("", "keywicket-demo-")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			// A closed terminal or pipe ends it as Ctrl-C does, or dir would stay.
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
			signal.Ignore(syscall.SIGPIPE)
			defer stop()
			return a.demo(ctx, dir)
		},
	}
}

// demo runs the daemon in dir, with a configuration like anybody's.
func (a *app) demo(ctx context.Context, dir string) error {
	if err := initialize(dir); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	if err := writeSecret(filepath.Join(dir, "vpn1.secret")); err != nil {
		return err
	}
	path := filepath.Join(dir, "keywicket.toml")
	if err := os.WriteFile(path, demoConfig(dir, port), 0o600); err != nil {
		return err
	}
	f, err := loadWhole(path)
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	a.out = &watchedWriter{Writer: a.out, fail: fail}
	err = serve(ctx, f, newLog(a.err, config.Log{Level: "warn", Format: config.LogText}), func(d *daemon) {
		if err := a.demoShow(ctx, d, dir, port); err != nil {
			fail(err)
		}
	}, &demoScreen{app: a})
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	a.printf("\nThe demo is over; %s is removed.\n", dir)
	return err
}

// A watchedWriter tells when nobody reads any more. Attempts are printed while
// the demo says what to try.
type watchedWriter struct {
	io.Writer
	mu   sync.Mutex
	fail func(error)
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.Writer.Write(b)
	if err != nil {
		w.fail(err)
	}
	return n, err
}

// freePort returns the first port from demoPort on that nobody uses.
func freePort() (int, error) {
	for port := demoPort; port < demoPort+demoPorts; port++ {
		c, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, c.Close()
		}
	}
	return 0, fmt.Errorf("no UDP port from %d to %d is free on 127.0.0.1", demoPort, demoPort+demoPorts-1)
}

func demoConfig(dir string, port int) []byte {
	return fmt.Appendf(nil, `data_dir = "%[1]s/data"
keyring  = "%[1]s/keyring"

[control]
socket = "%[1]s/control.sock"
group  = ""

[radius]
listen = ["127.0.0.1:%[2]d"]

[radius.client.vpn1]
address     = ["127.0.0.1"]
secret_file = "%[1]s/vpn1.secret"

[profile.vpn]
letters  = 28
services = ["radius/vpn*"]
reply    = { "Class" = "staff", "Session-Timeout" = "28800" }
`, dir, port)
}

// demoShow makes the account and prints what there is to try.
func (a *app) demoShow(ctx context.Context, d *daemon, dir string, port int) error {
	main := make([]byte, 6)
	rand.Read(main) // never fails (crypto/rand since Go 1.24)
	mainPassword := "main-" + hex.EncodeToString(main)
	if _, err := d.engine.AddAccount(ctx, demoAccount, []string{"staff"}, []byte(mainPassword)); err != nil {
		return err
	}
	uri, err := d.engine.Enroll(ctx, demoAccount)
	if err != nil {
		return err
	}
	code, err := core.CodeFor(uri, time.Now())
	if err != nil {
		return err
	}
	c, err := d.engine.Confirm(ctx, demoAccount, code, core.NewAppPassword{Name: "Xbox in the den"})
	if err != nil {
		return err
	}
	if c.First == nil {
		return errors.New("the first app password was not given")
	}
	_, vpn, err := d.engine.Create(ctx, demoAccount, core.NewAppPassword{Name: "Laptop VPN", Profile: "vpn"})
	if err != nil {
		return err
	}
	first, second := c.FirstText.Canonical(), vpn.Canonical()
	a.printf("Keywicket demo, all of it in %s\n\n", dir)
	a.printf("Made: a keyring, a store, and the account %s. It turned two-step\nverification on, and was given its first app password in the same step.\n\n", demoAccount)
	a.printf("  app password  %-22s %s\n", `"Xbox in the den"`, grouped(first))
	a.printf("  app password  %-22s %s\n", `"Laptop VPN"`, grouped(second))
	a.printf("  main password %-22s %s\n\n", "", mainPassword)
	a.printf("RADIUS is on 127.0.0.1:%d, with this machine as the client \"vpn1\".\n\n", port)
	a.printf("Try it in another terminal (Debian has the program in freeradius-utils). Let in:\n\n%s\n%s\n", radclientLine(dir, port, first), radclientLine(dir, port, second))
	a.printf("\nRefused, because the main password does not belong into a device:\n\n%s\n", radclientLine(dir, port, mainPassword))
	a.demoCommands(dir)
	a.printf("\nEvery attempt is shown here. Ctrl-C ends the demo.\n\n")
	return nil
}

func radclientLine(dir string, port int, password string) string {
	return fmt.Sprintf(`echo 'User-Name = "%s", User-Password = "%s", Message-Authenticator = 0x00' | radclient -S %s/vpn1.secret 127.0.0.1:%d auth`,
		demoAccount, password, dir, port)
}

func (a *app) demoCommands(dir string) {
	program := os.Args[0]
	if strings.Contains(program, "go-build") { // "go run" made it, and takes it away again
		program = "go run ./cmd/keywicket"
	}
	a.printf("\nLook around and break things, against the demo's control socket:\n\n")
	for _, verb := range []string{"why %s", "app-password list %s", "app-password create %s --name Printer", "app-password delete %s 'Xbox in the den' --yes", "two-step off %s"} {
		a.printf("%s --socket %s/control.sock %s\n", program, dir, fmt.Sprintf(verb, demoAccount))
	}
	a.printf("%s --socket %s/control.sock status\n", program, dir)
}

// A demoScreen prints each attempt as it comes in.
type demoScreen struct{ app *app }

// Record prints e, if it is an attempt.
func (s *demoScreen) Record(e core.Event) error {
	if e.Kind != core.EventAttempt {
		return nil
	}
	what := "GRANTED"
	if e.AppPassword.Name != "" {
		what += fmt.Sprintf(" with %q", line(e.AppPassword.Name))
	}
	if e.Reason != "" {
		what = fmt.Sprintf("REFUSED (%s): %s", e.Reason, e.Reason.SentenceOf(e.Method, e.Device))
	}
	s.app.printf("%s  %s at %s: %s\n", e.Time.Format(time.TimeOnly), line(e.Account), line(e.Service), what)
	return nil
}
