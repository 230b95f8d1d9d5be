package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/keywicket/keywicket/core/config"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long:  "Run the daemon with the configuration that --config names, else " + defaultConfig + ".\nTERM and INT stop it, HUP reads the configuration again.",
		Args:  exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			defer func() {
				if errors.As(err, new(usageError)) {
					err = startError{err}
				}
			}()
			if a.socket != "" {
				return usage(cmd, fmt.Errorf("--socket is for those who ask the daemon; its own is in the configuration"))
			}
			f, err := loadWhole(a.configFile())
			if err != nil {
				return err
			}
			log := newLog(a.err, f.Log)
			if err := protectProcess(); err != nil {
				log.Warn("memory of this process is not protected from others", "err", err)
			}
			signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more ends no sign-in
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP) // from the start, or an early one would be the end
			defer signal.Stop(hup)
			// Go ends a panic with 2, which is exitUsage here: the service manager
			// would not start the daemon again. This way it ends with ABRT.
			debug.SetTraceback("crash")
			if n := places(os.Getenv("GOMAXPROCS"), runtime.GOMAXPROCS(0)); n > 0 {
				runtime.GOMAXPROCS(n)
			}
			n := newNotifier(log, f.Directory.Stale) // so long an old answer may serve, and no longer
			defer n.stop()
			return serve(cmd.Context(), f, log, func(d *daemon) {
				d.hup = hup
				d.announce(cmd.Context(), n)
			})
		},
	}
}

// minPlaces is how many goroutines may run at a time at least. What takes long (the
// store merges tables, garbage is collected) keeps its place for 10 ms at a time, and
// requests would wait in line behind it. With more places than processors the
// kernel shares these out, and lets go first who has waited.
const minPlaces = 4

// places returns how many there shall be, and 0 where it stays at n: there are
// enough, or the environment says how many.
func places(environment string, n int) int {
	if environment != "" || n >= minPlaces {
		return 0
	}
	return minPlaces
}

// configFile returns the configuration that --config names, or the usual one.
func (a *app) configFile() string {
	if a.configPath != "" {
		return a.configPath
	}
	return defaultConfig
}

// announce says that the daemon is ready, and lets HUP read the configuration
// again until ctx ends.
func (d *daemon) announce(ctx context.Context, n *notifier) {
	for _, w := range d.warnings(d.file) {
		d.log.Warn(w.Error())
	}
	args := []any{"version", version(), "control", d.file.Control.Socket}
	if d.radius != nil {
		args = append(args, "radius", d.radius.Addrs())
	}
	if d.pam != nil {
		args = append(args, "pam", d.pam.Addr())
	}
	if d.metricsAt != "" {
		args = append(args, "metrics", d.metricsAt)
	}
	d.log.Info("ready", args...)
	n.ready(ctx, d.engine.Ready)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-d.hup:
				over := n.reloading()
				d.reloadLogged(ctx)
				over()
			}
		}
	}()
}

func (d *daemon) reloadLogged(ctx context.Context) {
	warnings, err := d.Reload(ctx)
	if err != nil {
		d.log.Error("the configuration has faults; the one before stays in force", "err", err)
		return
	}
	for _, w := range warnings {
		d.log.Warn(w)
	}
	d.log.Info("the configuration was read again")
}

// newLog makes the log that the configuration wants: by itself, text at a
// terminal and JSON elsewhere.
func newLog(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	opt := &slog.HandlerOptions{Level: level}
	text := c.Format == config.LogText
	if f, ok := w.(*os.File); ok && c.Format == config.LogAuto {
		text = term.IsTerminal(int(f.Fd()))
	}
	if text {
		return slog.New(slog.NewTextHandler(w, opt))
	}
	return slog.New(slog.NewJSONHandler(w, opt))
}

// protectProcess keeps the memory of this process, which holds the root keys,
// out of core dumps and from other processes of the same user.
func protectProcess() error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("RLIMIT_CORE: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	return nil
}
