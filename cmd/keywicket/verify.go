package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/bridges/radius"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) verifyCommand() *cobra.Command {
	r := &controlv1.VerifyRequest{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify USER --service SERVICE",
		Short: "Try to sign in, with the password on standard input",
		Long:  "Try to sign in at a service, with the password on standard input, and say whether\nit was granted or why not. It is a real attempt: it counts as a use, and stands\nin the audit.",
		Args:  exactArgs("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.Service == "" {
				return usage(cmd, errors.New("--service is empty; a service is radius/vpn1, pam/sshd and so on"))
			}
			if strings.HasPrefix(r.Service, "radius/") { // as the bridge would spell it: it may become the pin
				r.Device = radius.Device(r.Device)
			}
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) (err error) {
				r.Account = args[0]
				if r.Password, err = a.readSecret(ctx, "Password", false); err != nil {
					return err
				}
				v, err := d.Verify(ctx, r)
				if err != nil {
					return err
				}
				return a.showVerdict(v, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&r.Service, "service", "", "where to sign in, as radius/vpn1 or pam/sshd (required)")
	cmd.Flags().StringVar(&r.Device, "device", "", "the `device` that signs in, where the app password is pinned")
	_ = cmd.MarkFlagRequired("service")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// showVerdict prints v. A refusal is an answer, and ends with exitFailed.
func (a *app) showVerdict(v *controlv1.VerifyResponse, asJSON bool) error {
	if asJSON {
		out := map[string]any{"result": "refused", "reason": v.Reason}
		if v.Granted {
			out = map[string]any{"result": "granted", "app_password": toRefJSON(v.AppPassword)}
		}
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else if v.Granted {
		with := "the main password"
		if v.AppPassword != nil {
			with = "the app password \"" + line(v.AppPassword.Name) + "\""
		}
		a.printf("granted, with %s\n", with)
	} else {
		a.printf("refused (%s): %s\n", v.Reason, v.Sentence)
	}
	if !v.Granted {
		return &refusal{reason: v.Reason}
	}
	return nil
}
