package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) keyringCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keyring", Short: "Change the root keys, and see what needs them"}
	cmd.AddCommand(
		a.keyringVerb("check", "Show the root keys, and how many records need each", func(ctx context.Context, d daemonClient, _ []string) (*controlv1.ListKeysResponse, error) {
			return d.daemon.ListKeys(ctx, &controlv1.ListKeysRequest{})
		}),
		a.keyringVerb("rotate", "Make a fresh root key, and bring every record under it", func(ctx context.Context, d daemonClient, _ []string) (*controlv1.ListKeysResponse, error) {
			return d.daemon.RotateKey(ctx, &controlv1.RotateKeyRequest{})
		}),
		a.keyringVerb("retire KEY", "Take an old root key away, once no record needs it", func(ctx context.Context, d daemonClient, args []string) (*controlv1.ListKeysResponse, error) {
			return d.daemon.RetireKey(ctx, &controlv1.RetireKeyRequest{Id: args[0]})
		}),
	)
	return cmd
}

type keyJSON struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Newest  bool      `json:"newest"`
	Records uint64    `json:"records"`
}

func (a *app) keyringVerb(use, short string, call func(context.Context, daemonClient, []string) (*controlv1.ListKeysResponse, error)) *cobra.Command {
	var asJSON bool
	cmd := a.verb(use, short, func(ctx context.Context, d daemonClient, args []string) error {
		r, err := call(ctx, d, args)
		if err != nil {
			return err
		}
		verb, _, _ := strings.Cut(use, " ")
		return a.showKeys(verb, r, asJSON)
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) showKeys(verb string, r *controlv1.ListKeysResponse, asJSON bool) error {
	all := []keyJSON{}
	for i, k := range r.Keys {
		all = append(all, keyJSON{ID: k.Id, Created: k.Created.AsTime(), Newest: i == len(r.Keys)-1, Records: k.Records})
	}
	if asJSON {
		return a.printJSON(all)
	}
	if verb == "rotate" {
		a.printf("The keyring has a fresh key, %s. Back the keyring file up now, apart from the data.\nEvery record is being brought under it; \"keywicket keyring check\" says how far that is.\n", all[len(all)-1].ID)
		return nil
	}
	rows := [][]string{{"KEY", "CREATED", "RECORDS", ""}}
	for _, k := range all {
		note := ""
		if k.Newest {
			note = "seals"
		} else if k.Records == 0 {
			note = "can be retired"
		}
		rows = append(rows, []string{k.ID, shownTime(k.Created), strconv.FormatUint(k.Records, 10), note})
	}
	return table(a.out, rows)
}
