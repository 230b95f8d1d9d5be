package main

import (
	"context"
	"errors"
	"time"

	"github.com/mdp/qrterminal/v3"
	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) twoStepCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "two-step", Short: "Turn two-step verification on and off"}
	cmd.AddCommand(a.twoStepEnroll(), a.twoStepConfirm(), a.twoStepOff(), a.twoStepCheck())
	return cmd
}

func (a *app) twoStepEnroll() *cobra.Command {
	var asJSON bool
	var secrets secretOut
	cmd := &cobra.Command{
		Use:   "enroll NAME",
		Short: "Begin: print what an authenticator app scans",
		Long:  "Begin: print an otpauth URI and its QR code for the owner's authenticator app.\nNothing changes until \"two-step confirm\" with a code that the app shows.",
		Args:  exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := secrets.open(cmd); err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) error {
				r, err := d.accounts.EnrollTwoStep(ctx, &controlv1.AccountRequest{Account: args[0]})
				if err != nil {
					return err
				}
				if secrets.elsewhere() {
					err := secrets.write(r.Otpauth)
					if asJSON {
						err = errors.Join(err, a.printJSON(struct{}{}))
					} else {
						a.printf("What an authenticator app wants is written to descriptor %d.\nThen: keywicket two-step confirm %s\n", secrets.fd, word(args[0]))
					}
					return err
				}
				if asJSON {
					return a.printJSON(map[string]string{"otpauth": r.Otpauth})
				}
				a.printf("Scan this with an authenticator app, or type the secret of the line below it:\n\n")
				qrterminal.GenerateHalfBlock(r.Otpauth, qrterminal.M, a.out)
				a.printf("\n%s\n\nThen: keywicket two-step confirm %s\n", r.Otpauth, word(args[0]))
				return nil
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	outFDFlag(cmd, &secrets)
	return cmd
}

func (a *app) twoStepConfirm() *cobra.Command {
	var asJSON bool
	var secrets secretOut
	r := &controlv1.ConfirmTwoStepRequest{}
	cmd := &cobra.Command{
		Use:   "confirm NAME",
		Short: "Turn it on, with a code of the authenticator app on standard input",
		Long:  "Turn two-step verification on, with a code of the authenticator app on standard\ninput. Prints the recovery codes and the first app password, once.",
		Args:  exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := secrets.open(cmd); err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) (err error) {
				r.Account = args[0]
				if r.Code, err = a.readSecret(ctx, "Code of the authenticator app", false); err != nil {
					return err
				}
				c, err := d.accounts.ConfirmTwoStep(ctx, r)
				if err != nil {
					return err
				}
				return a.showConfirmation(args[0], c, asJSON, &secrets)
			})
		},
	}
	cmd.Flags().StringVar(&r.Name, "name", "", "the `name` of the first app password")
	cmd.Flags().StringVar(&r.Profile, "profile", "", "its `profile`")
	jsonFlag(cmd, &asJSON)
	outFDFlag(cmd, &secrets)
	return cmd
}

// showConfirmation prints what turning it on made, the one time.
func (a *app) showConfirmation(name string, c *controlv1.ConfirmTwoStepResponse, asJSON bool, secrets *secretOut) error {
	all := c.RecoveryCodes
	if c.AppPassword != nil {
		all = append([]string{c.Password}, all...)
	}
	err := secrets.write(all...)
	if asJSON {
		err = errors.Join(err, a.printConfirmation(c, secrets.elsewhere()))
	} else {
		a.sayConfirmation(name, c, secrets)
	}
	return a.notLost(err, "turn two-step verification off, and enroll again")
}

func (a *app) printConfirmation(c *controlv1.ConfirmTwoStepResponse, withoutSecrets bool) error {
	out := struct {
		AppPassword *appPasswordJSON `json:"app_password"`
		Recovery    []string         `json:"recovery_codes,omitzero"`
	}{Recovery: notNil(c.RecoveryCodes)}
	if withoutSecrets {
		c.Password, out.Recovery = "", nil
	}
	if c.AppPassword != nil {
		p := toAppPasswordJSON(c.AppPassword, c.Password)
		out.AppPassword = &p
	}
	return a.printJSON(out)
}

func (a *app) sayConfirmation(name string, c *controlv1.ConfirmTwoStepResponse, secrets *secretOut) {
	a.printf("Two-step verification is on for %s.\n\n", line(name))
	if secrets.elsewhere() {
		a.printf("Recovery codes, each good once where the app is lost, are written to descriptor %d.\n", secrets.fd)
	} else {
		a.printf("Recovery codes, each good once where the app is lost. Keep them safe:\n\n")
		for _, code := range c.RecoveryCodes {
			a.printf("    %s\n", code)
		}
	}
	if c.AppPassword == nil {
		return
	}
	a.printf("\n")
	a.showPassword(c.AppPassword, c.Password, secrets)
}

func (a *app) twoStepOff() *cobra.Command {
	var yes, asJSON bool
	cmd := a.verb("off NAME", "Turn it off; the account's app passwords stop", func(ctx context.Context, d daemonClient, args []string) error {
		// A script that turns it off means it: by default nothing is lost.
		if err := a.confirm(ctx, yes || !a.atTerminal(), "Turn two-step verification off for "+line(args[0])+"? Its app passwords stop."); err != nil {
			return err
		}
		since := time.Now()
		account, err := d.accounts.TurnOffTwoStep(ctx, &controlv1.AccountRequest{Account: args[0]})
		if err != nil {
			return err
		}
		endings := a.endings(ctx, d, args[0], since)
		if asJSON {
			return a.printTaken(account, endings)
		}
		a.printf("Two-step verification is off for %s; its %d app passwords do not work%s.\n", line(account.Name), account.AppPasswords, endingsText(endings))
		return nil
	})
	yesFlag(cmd, &yes)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) twoStepCheck() *cobra.Command {
	return a.verb("check NAME", "Check a security or recovery code on standard input, and use it up", func(ctx context.Context, d daemonClient, args []string) error {
		code, err := a.readSecret(ctx, "Security code", false)
		if err != nil {
			return err
		}
		if _, err := d.accounts.CheckCode(ctx, &controlv1.CheckCodeRequest{Account: args[0], Code: code}); err != nil {
			return err
		}
		a.printf("The code is right, and is used up now.\n")
		return nil
	})
}
