package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

const (
	defaultSelfSocket = "/run/keywicket/self.sock"

	ownHelp = `Without USER it is about the account that has the name of your login on this host,
at the socket of self-service ([control] self_service of the configuration).`
)

// askSelf runs fn with a client of the self-service socket: the one that
// --socket names, or the configuration that --config names, or the usual one.
// Where there is none, a USER was forgotten, perhaps.
func (a *app) askSelf(cmd *cobra.Command, fn func(ctx context.Context, d daemonClient) error) error {
	path := defaultSelfSocket
	switch {
	case a.socket != "":
		path = a.socket
	case a.configPath != "":
		f, err := loadConfig(a.configPath)
		if err != nil {
			return err
		}
		path = f.Control.SelfService
	}
	if _, err := os.Stat(path); path == "" || errors.Is(err, fs.ErrNotExist) {
		return usage(cmd, fmt.Errorf("the argument USER is missing; without it this is about your own account, for which the daemon must run with [control] self_service"))
	}
	return askAt(cmd.Context(), path, fn)
}

func (a *app) listOwn(cmd *cobra.Command, asJSON bool) error {
	return a.askSelf(cmd, func(ctx context.Context, d daemonClient) error {
		r, err := d.self.List(ctx, &controlv1.ListOwnRequest{})
		if err != nil {
			return err
		}
		return a.showList("You have", r, asJSON)
	})
}

func (a *app) createOwn(cmd *cobra.Command, r *controlv1.CreateRequest, asJSON bool, secrets *secretOut) error {
	return a.askSelf(cmd, func(ctx context.Context, d daemonClient) error {
		main, code, err := a.readProofs(ctx)
		if err != nil {
			return err
		}
		made, err := d.self.Create(ctx, &controlv1.CreateOwnRequest{MainPassword: main, Code: code, Name: r.Name, Profile: r.Profile, Expires: r.Expires})
		if err != nil {
			return err
		}
		return a.showMade(made.AppPassword, made.Password, asJSON, secrets)
	})
}

// readProofs reads the main password and a security code: at a terminal with
// prompts, else from the first two lines of standard input.
func (a *app) readProofs(ctx context.Context) (main, code string, err error) {
	if a.atTerminal() {
		if main, err = a.readHidden(ctx, "Main password"); err == nil {
			code, err = a.readHidden(ctx, "Security code")
		}
		return main, code, err
	}
	if a.in == nil {
		return "", "", errors.New("standard input is closed, and the main password and the security code are read from there")
	}
	lines := bufio.NewScanner(io.LimitReader(a.in, 2*maxInput))
	var read []string
	_, err = awaited(ctx, func() (string, error) {
		for len(read) < 2 && lines.Scan() {
			read = append(read, strings.TrimSuffix(lines.Text(), "\r"))
		}
		return "", lines.Err()
	})
	switch {
	case errors.Is(err, errInterrupted):
		return "", "", err
	case err != nil:
		return "", "", fmt.Errorf("standard input: %w", err)
	}
	if len(read) < 2 || read[0] == "" || read[1] == "" {
		return "", "", errors.New("standard input wants two lines: the main password and a security code")
	}
	return read[0], read[1], nil
}
