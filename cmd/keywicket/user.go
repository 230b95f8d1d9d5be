package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) userCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "Manage the accounts that Keywicket keeps itself"}
	cmd.AddCommand(
		a.userAdd(), a.userList(), a.userShow(), a.userDelete(), a.userSetPassword(), a.userImport(), a.userExport(),
		a.userChange("disable NAME", "Stop everything of an account until it is enabled", false),
		a.userChange("enable NAME", "Let an account work again", true),
	)
	return cmd
}

func (a *app) userAdd() *cobra.Command {
	var groups []string
	var password, asJSON bool
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add an account",
		Long:  "Add an account. With --password its main password is read from standard input;\nwithout, the account has none until set-password.",
		Args:  exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &controlv1.AddAccountRequest{Account: args[0], Groups: groups}
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) (err error) {
				if password {
					if r.MainPassword, err = a.readSecret(ctx, "Main password for "+line(args[0]), true); err != nil {
						return err
					}
				}
				account, err := d.accounts.Add(ctx, r)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(toAccountJSON(account))
				}
				a.printf("Added %s. Next: keywicket two-step enroll %s\n", line(account.Name), word(account.Name))
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&groups, "group", nil, "a `group` that the account belongs to; may be repeated")
	cmd.Flags().BoolVar(&password, "password", false, "read a main password from standard input")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON")
}

func (a *app) userList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all accounts",
		Args:  exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.stream(cmd.Context(), func(ctx context.Context, d daemonClient, alive func()) error {
				all, err := listAccounts(ctx, d, alive)
				if err != nil {
					return endedBy(ctx, err)
				}
				if asJSON {
					return a.printJSON(all)
				}
				rows := [][]string{{"NAME", "STATE", "TWO-STEP", "APP PASSWORDS", "GROUPS"}}
				for _, account := range all {
					rows = append(rows, []string{account.Name, enabledWord(account.Enabled), onWord(account.TwoStep),
						count(account.AppPasswords), strings.Join(account.Groups, ", ")})
				}
				return table(a.out, rows)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func listAccounts(ctx context.Context, d daemonClient, alive func()) ([]accountJSON, error) {
	stream, err := d.accounts.List(ctx, &controlv1.ListAccountsRequest{})
	if err != nil {
		return nil, err
	}
	all := []accountJSON{}
	for {
		account, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		alive()
		all = append(all, toAccountJSON(account))
	}
}

func (a *app) userShow() *cobra.Command {
	var asJSON bool
	cmd := a.verb("show NAME", "Show one account", func(ctx context.Context, d daemonClient, args []string) error {
		account, err := d.accounts.Get(ctx, &controlv1.AccountRequest{Account: args[0]})
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(toAccountJSON(account))
		}
		return a.showAccount(account)
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) showAccount(account *controlv1.Account) error {
	allowed := "allowed"
	if !account.AppPasswordsAllowed {
		allowed = "disallowed by the configuration"
	}
	rows := [][]string{
		{"Name", account.Name},
		{"State", enabledWord(account.Enabled)},
		{"Groups", strings.Join(account.Groups, ", ")},
		{"Two-step verification", onWord(account.TwoStep)},
		{"Recovery codes left", count(account.RecoveryCodes)},
		{"App passwords", count(account.AppPasswords) + ", " + allowed},
	}
	return table(a.out, rows)
}

func (a *app) userChange(use, short string, enabled bool) *cobra.Command {
	var asJSON bool
	cmd := a.verb(use, short, func(ctx context.Context, d daemonClient, args []string) error {
		since := time.Now()
		account, err := d.accounts.SetEnabled(ctx, &controlv1.SetEnabledRequest{Account: args[0], Enabled: enabled})
		if err != nil {
			return err
		}
		endings := a.endings(ctx, d, args[0], since)
		if asJSON {
			return a.printTaken(account, endings)
		}
		a.printf("%s is %s%s.\n", line(account.Name), enabledWord(account.Enabled), endingsText(endings))
		return nil
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) userDelete() *cobra.Command {
	var yes, asJSON bool
	cmd := a.verb("delete NAME", "Delete an account with all its app passwords", func(ctx context.Context, d daemonClient, args []string) error {
		account, err := d.accounts.Get(ctx, &controlv1.AccountRequest{Account: args[0]})
		if err != nil {
			return err
		}
		if err := a.confirm(ctx, yes, "Delete "+line(account.Name)+" with "+count(account.AppPasswords)+" app passwords, for good?"); err != nil {
			return err
		}
		since := time.Now()
		if _, err := d.accounts.Delete(ctx, &controlv1.AccountRequest{Account: args[0]}); err != nil {
			return err
		}
		endings := a.endings(ctx, d, args[0], since)
		if asJSON {
			return a.printJSON(map[string]any{"name": account.Name, "app_passwords": account.AppPasswords, "sessions": toEndingsJSON(endings)})
		}
		a.printf("Deleted %s%s.\n", line(account.Name), endingsText(endings))
		return nil
	})
	yesFlag(cmd, &yes)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVar(yes, "yes", false, "do not ask")
}

func (a *app) userSetPassword() *cobra.Command {
	return a.verb("set-password NAME", "Set the main password, read from standard input", func(ctx context.Context, d daemonClient, args []string) error {
		password, err := a.readSecret(ctx, "New main password for "+line(args[0]), true)
		if err != nil {
			return err
		}
		since := time.Now()
		if _, err := d.accounts.SetMainPassword(ctx, &controlv1.SetMainPasswordRequest{Account: args[0], MainPassword: password}); err != nil {
			return err
		}
		a.printf("The main password of %s is set%s.\n", line(args[0]), endingsText(a.endings(ctx, d, args[0], since)))
		return nil
	})
}
