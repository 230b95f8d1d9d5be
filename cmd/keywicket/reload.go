package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/core/config"
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

// fixed returns what differs between the two and needs a restart.
func fixed(old, now *config.File) error {
	var faults config.Faults
	same := func(same bool, key ...string) {
		if !same {
			faults = append(faults, now.Fault("this cannot change while running; restart keywicket for it", key...))
		}
	}
	same(old.DataDir == now.DataDir, "data_dir")
	same(old.Keyring == now.Keyring, "keyring")
	same(old.Audit == now.Audit, "audit")
	same(old.Control == now.Control, "control")
	same(old.Log == now.Log, "log")
	same(old.Directory == now.Directory, "directory")
	same(old.Store == now.Store, "store")
	same((old.Radius == nil) == (now.Radius == nil), "radius")
	if old.Radius != nil && now.Radius != nil {
		same(sameAddresses(old.Radius.Listen, now.Radius.Listen), "radius", "listen")
		same(sameAddresses(old.Radius.Accounting, now.Radius.Accounting), "radius", "accounting")
	}
	same((old.PAM == nil) == (now.PAM == nil), "pam")
	same(old.PAM == nil || now.PAM == nil || old.PAM.Socket == now.PAM.Socket, "pam", "socket")
	same((old.Metrics == nil) == (now.Metrics == nil) && (old.Metrics == nil || *old.Metrics == *now.Metrics), "metrics")
	return faults.Err()
}

// sameAddresses says whether both are the same, in whatever order.
func sameAddresses(a, b []netip.AddrPort) bool {
	order := func(all []netip.AddrPort) []netip.AddrPort {
		return slices.SortedFunc(slices.Values(all), netip.AddrPort.Compare)
	}
	return slices.Equal(order(a), order(b))
}
