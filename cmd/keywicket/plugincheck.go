package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/core/directory/directorytest"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/storetest"
	"github.com/keywicket/keywicket/plugins/sdk"
)

// checkPatience is how long one promise may take to be kept.
const checkPatience = time.Minute

// checkRestart is how often a plugin may end before it is given up: the check
// itself ends a store five times.
func checkRestart() pluginhost.Restart {
	return pluginhost.Restart{First: 100 * time.Millisecond, Crashes: 10}
}

// A pluginCheck is what "plugin check" is asked to do.
type pluginCheck struct {
	path     string
	kind     string
	settings string
	accounts string
	change   string
	user     string
	asJSON   bool
}

func (a *app) pluginCheckCommand() *cobra.Command {
	var c pluginCheck
	cmd := &cobra.Command{
		Use:   "check PATH",
		Short: "Run the plugin at PATH and check that it keeps its contract",
		Long: "Run the plugin at PATH, in whatever language it is written, and check that it keeps\nevery promise of its contract. What it breaks is named; then the exit code is 1, and\n" +
			"3 where the plugin does not run.\n\nA store must be empty, and is emptied again and again; it is killed in between, and must have\nwhat it answered. What a loss of power leaves is not tried. A directory must have the\naccounts that --accounts names:\n\n" +
			"  [enabled]\n  name = \"alain@contoso.com\"\n  password = \"…\"\n  groups = [\"staff\"]\n  [disabled]\n  name = \"bea@contoso.com\"\n  password = \"…\"\n  [absent]\n  name = \"nobody@contoso.com\"\n\n" +
			"and perhaps [no_password], with a name: an account without a main password. Whether a\nwatch tells of changes is tried with --change alone.",
		Args: exactArgs("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.path = args[0]
			return a.checkPlugin(cmd.Context(), c)
		},
	}
	cmd.Flags().StringVar(&c.kind, "kind", "", "what it must be: `KIND` is store, directory, notifier or hook")
	cmd.Flags().StringVar(&c.settings, "settings", "", "a `FILE` with its settings, as in [plugin.NAME.settings]")
	cmd.Flags().StringVar(&c.accounts, "accounts", "", "a `FILE` with the accounts of a directory")
	cmd.Flags().StringVar(&c.change, "change", "", "a `COMMAND` for sh that changes something about the account of [enabled], for a directory with a watch")
	cmd.Flags().StringVar(&c.user, "user", "", "run it as the user `NAME`")
	jsonFlag(cmd, &c.asJSON)
	return cmd
}

// spec reads what the plugin is run with. Every error is one of usage.
func (c pluginCheck) spec() (spec pluginhost.Spec, err error) {
	if c.kind != "" && !slices.Contains(config.PluginKinds(), c.kind) {
		return spec, fmt.Errorf("--kind: %q is not known; take one of %s", c.kind, strings.Join(config.PluginKinds(), ", "))
	}
	spec = pluginhost.Spec{Name: pluginName(c.path), Kind: pluginhost.Kind(c.kind), User: c.user}
	if spec.Path, err = filepath.Abs(c.path); err != nil {
		return spec, err
	}
	if c.settings != "" {
		if spec.Settings, err = config.LoadSettings(c.settings); err != nil {
			return spec, err
		}
	}
	spec.SHA256, err = pluginhost.Sum(spec.Path)
	return spec, err
}

func (a *app) checkPlugin(ctx context.Context, c pluginCheck) (err error) {
	spec, err := c.spec()
	if err != nil {
		return usageError{err}
	}
	fixture, err := c.fixture()
	if err != nil {
		return usageError{err}
	}
	host, err := pluginhost.New(pluginhost.Options{Restart: checkRestart(), Log: newLog(a.err, config.Log{Level: "info", Format: config.LogText}), Version: version()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	if err := host.Set(ctx, []pluginhost.Spec{spec}); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	if err := host.WaitFirst(starting, spec.Name); err != nil {
		return unavailableError{err}
	}
	r := checkReport{Plugin: spec.Path, Kind: string(host.Status()[0].Kind), Version: host.Status()[0].Version, show: !c.asJSON, standard: c.accounts == "", app: a}
	if err := r.run(ctx, host, spec.Name, fixture); err != nil {
		return err
	}
	r.after(host.Status()[0])
	if c.asJSON {
		err = a.printJSON(r)
	} else {
		a.printf("%s\n", r.summary())
	}
	if err == nil && r.Broken > 0 {
		return &refusal{"the contract is broken"}
	}
	return err
}

// A checkReport is what came of it.
type checkReport struct {
	Plugin  string        `json:"plugin"`
	Kind    string        `json:"kind"`
	Version string        `json:"version"`
	Broken  int           `json:"broken"`
	Cases   []checkedCase `json:"cases"`

	killed   int // how often the check itself ended it
	show     bool
	standard bool // a directory was asked for the suite's accounts
	app      *app
}

type checkedCase struct {
	Name   string `json:"name"`
	Result string `json:"result"` // kept, broken, not-offered or not-tried
	Broken string `json:"broken,omitempty"`
}

// try checks one promise.
func (r *checkReport) try(ctx context.Context, name string, check func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	c := checkedCase{Name: name, Result: "kept"}
	err := check(ctx)
	switch {
	case errors.Is(err, directorytest.ErrNotOffered), errors.Is(err, storetest.ErrNotOffered):
		c.Result = "not-offered"
	case errors.Is(err, directorytest.ErrNotTried):
		c.Result = "not-tried"
	case err != nil:
		c.Result, c.Broken = "broken", err.Error()
		r.Broken++
	}
	r.Cases = append(r.Cases, c)
	if r.show {
		r.app.printf("%-12s %s\n", c.Result, line(c.Name))
		if c.Result == "not-tried" {
			r.app.printf("             %s\n", line(err.Error()))
		}
		if c.Broken != "" {
			r.app.printf("             %s\n", strings.ToValidUTF8(line(c.Broken[:min(len(c.Broken), 1000)]), ""))
		}
	}
}

// run checks every promise of the plugin's kind.
func (r *checkReport) run(ctx context.Context, host *pluginhost.Host, name string, f directorytest.Fixture) error {
	switch pluginhost.Kind(r.Kind) {
	case pluginhost.KindStore:
		return r.store(ctx, host, name)
	case pluginhost.KindDirectory:
		d, err := host.DirectoryNow(name)
		if err != nil {
			return unavailableError{err}
		}
		for _, c := range directorytest.Cases() {
			r.try(ctx, c.Name, func(ctx context.Context) error { return c.Check(ctx, d, f) })
		}
	case pluginhost.KindHook:
		h, err := host.Hook(name)
		if err != nil {
			return err
		}
		can := host.Status()[0].Capabilities
		r.try(ctx, "hook/check", func(ctx context.Context) error {
			if !slices.Contains(can, "check") {
				return directorytest.ErrNotOffered
			}
			_, err := h.Check(ctx, sdk.SignIn{Account: "keywicket-suite@example.org", AppPassword: sdk.AppPassword{ID: "1", Name: "suite"}, Profile: "default",
				Service: "radius/suite", Source: "192.0.2.1", Device: "suite", Method: "cleartext", Time: time.Now()})
			return err
		})
		r.try(ctx, "hook/events", func(ctx context.Context) error {
			if !slices.Contains(can, "events") {
				return directorytest.ErrNotOffered
			}
			return h.Observe(ctx, []sdk.Event{{Time: time.Now(), Kind: "attempt", Account: "keywicket-suite@example.org", Result: "granted"}})
		})
	default:
		r.try(ctx, "notify/delivers", func(context.Context) error {
			return fmt.Errorf("%w: a notice would go to somebody", directorytest.ErrNotTried)
		})
	}
	return nil
}

func (r *checkReport) store(ctx context.Context, host *pluginhost.Host, name string) error {
	s, err := host.Store(name)
	if err != nil {
		return err
	}
	some, err := s.Scan(ctx, "", "", 1)
	if err != nil {
		return unavailableError{fmt.Errorf("whether the store is empty cannot be read: %w", err)}
	}
	if len(some) > 0 {
		return usageError{errors.New("the store is not empty, and the check would delete what is there; give it an empty one, by its settings")}
	}
	for _, c := range storetest.Cases() {
		r.try(ctx, c.Name, func(ctx context.Context) error { return errors.Join(storetest.Empty(ctx, s), c.Check(ctx, s)) })
	}
	r.try(ctx, "durable/what was answered is there after the plugin was killed", func(ctx context.Context) error {
		return errors.Join(storetest.Empty(ctx, s), storetest.CheckDurable(ctx, func() (store.Store, func()) {
			_ = host.Wait(ctx, name) // where it does not run, the store says so
			return s, func() { r.kill(ctx, host) }
		}))
	})
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	// It was killed a moment ago. Where it does not run, the store says so.
	_ = host.Wait(ctx, name)
	if err := storetest.Empty(ctx, s); err != nil && r.Broken == 0 { // else it is no news
		return err
	}
	return nil
}

// kill ends the plugin the hard way, and returns when the host knows.
func (r *checkReport) kill(ctx context.Context, host *pluginhost.Host) {
	before := host.Status()[0]
	if before.PID == 0 || syscall.Kill(before.PID, syscall.SIGKILL) != nil {
		return // it has ended by itself
	}
	r.killed++
	for host.Status()[0].Restarts == before.Restarts && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
}

// after looks at how the plugin has come through.
func (r *checkReport) after(s pluginhost.Status) {
	r.try(context.Background(), "process/stays", func(context.Context) error {
		if ended := s.Restarts - r.killed; ended > 0 {
			return fmt.Errorf("it ended %d times: %s", ended, s.LastError)
		}
		return nil
	})
	r.try(context.Background(), "process/answers", func(context.Context) error {
		if s.Faults > 0 {
			return fmt.Errorf("%d answers were none: %s", s.Faults, s.LastError)
		}
		return nil
	})
}

func (r *checkReport) summary() string {
	made, untried := 0, 0
	for _, c := range r.Cases {
		switch c.Result {
		case "not-offered":
		case "not-tried":
			untried++
		default:
			made++
		}
	}
	switch {
	case r.Broken == 0 && untried > 0:
		return fmt.Sprintf("The %s keeps %d promises; %d could not be tried.", r.Kind, made, untried)
	case r.Broken == 0:
		return fmt.Sprintf("The %s keeps all of %d promises.", r.Kind, made)
	case r.standard && r.Kind == string(pluginhost.KindDirectory):
		return fmt.Sprintf("The %s BREAKS %d of %d promises. It was asked for accounts of the suite's own; --accounts names those that it has.", r.Kind, r.Broken, made)
	}
	return fmt.Sprintf("The %s BREAKS %d of %d promises.", r.Kind, r.Broken, made)
}

// fixture reads the accounts that a directory is to have.
func (c pluginCheck) fixture() (directorytest.Fixture, error) {
	f, err := directorytest.Standard(), error(nil)
	if c.accounts != "" {
		f, err = readFixture(c.accounts)
	}
	if c.change != "" {
		f.Change = func(ctx context.Context) error {
			out, err := exec.CommandContext(ctx, "/bin/sh", "-c", c.change).CombinedOutput()
			if err != nil {
				return fmt.Errorf("--change: %w: %.200q", err, out)
			}
			return nil
		}
	}
	return f, err
}
