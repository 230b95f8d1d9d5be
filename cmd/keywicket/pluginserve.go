package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/keywicket/keywicket/bridges/control"
	"github.com/keywicket/keywicket/plugins/client"
)

// parentEvery is how often a launched engine looks whether its parent lives. A
// signal at its death (PR_SET_PDEATHSIG) would come at the end of the thread that
// launched it already.
const parentEvery = 250 * time.Millisecond

func (a *app) pluginServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Be the engine of the program that launches this one",
		Long: "Serve the contract of the control socket to the program that launched this one, as\na plugin of hashicorp/go-plugin, until that program ends. It is not run by hand:\n" +
			"plugins/client launches it. The configuration is that of the daemon, but RADIUS, PAM,\nmetrics and the sockets are not served.",
		Args: exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.socket != "" {
				return usage(cmd, errors.New("--socket is for those who ask the daemon; a launched engine has none"))
			}
			cookie := client.Handshake()
			if os.Getenv(cookie.MagicCookieKey) != cookie.MagicCookieValue {
				return usageError{errors.New("this is run by a program that launches the engine with plugins/client; by hand, run \"keywicket serve\"")}
			}
			return a.servePlugin(cmd.Context(), os.Getppid())
		},
	}
}

func (a *app) servePlugin(ctx context.Context, parent int) error {
	f, err := loadWhole(a.configFile())
	if err != nil {
		return err
	}
	log := newLog(a.err, f.Log)
	if err := protectProcess(); err != nil { // it also keeps others from the plugin's socket
		log.Warn("memory of this process is not protected from others", "err", err)
	}
	signal.Ignore(syscall.SIGHUP)  // the parent may ask to read the configuration again
	signal.Ignore(syscall.SIGPIPE) // nobody reads the log of one whose parent is dead, and it has a store to close
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for ctx.Err() == nil && os.Getppid() == parent {
			time.Sleep(parentEvery)
		}
		stop()
	}()
	defer func() {
		if dir := os.Getenv(plugin.EnvUnixSocketDir); dir != "" && os.Getppid() != parent {
			_ = os.Remove(dir) // nobody else is left to do it
		}
	}()
	return withEngine(ctx, f, log, func(d *daemon) error {
		d.child = true
		for _, w := range f.Warnings() {
			log.Warn(w.Error())
		}
		return d.serveParent(ctx, hclog.New(&hclog.LoggerOptions{Output: a.err, Level: hclog.Error}))
	})
}

// serveParent serves the parent until it says so, or ctx ends.
func (d *daemon) serveParent(ctx context.Context, log hclog.Logger) error {
	served := false
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: client.Handshake(),
		Plugins:         client.Plugins(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			served = true
			s := control.NewForParent(control.Options{Engine: d.engine, Host: d, Log: d.log}, opts...)
			context.AfterFunc(ctx, s.Stop)
			return s
		},
		Logger: log,
	})
	if !served {
		return fmt.Errorf("the socket for the program that launched this one cannot be made in %s", os.TempDir())
	}
	return nil
}
