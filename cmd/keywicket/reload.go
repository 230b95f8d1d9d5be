package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) reloadCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Let the daemon read its configuration again",
		Long:  "Let the daemon read its configuration again, as a HUP signal does. A configuration\nwith a fault changes nothing, and every fault is printed.",
		Args:  exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) error {
				r, err := d.daemon.Reload(ctx, &controlv1.ReloadRequest{})
				if status.Code(err) == codes.InvalidArgument {
					return usageError{errors.New(messageOf(err))}
				}
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(map[string]any{"warnings": notNil(r.Warnings)})
				}
				for _, w := range r.Warnings {
					a.printf("warning: %s\n", line(w))
				}
				a.printf("The configuration was read again.\n")
				return nil
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
