package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) appPasswordCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "app-password", Aliases: []string{"ap"}, Short: "Issue and manage the app passwords of an account"}
	cmd.AddCommand(
		a.appPasswordCreate(), a.withAll(a.appPasswordList()), a.appPasswordRotate(), a.appPasswordDelete(), a.appPasswordDeleteAll(),
		a.appPasswordChange("suspend USER ID", "Stop one until it is resumed", "Suspended", true, daemonClient.Suspend),
		a.appPasswordChange("resume USER ID", "Let a suspended one work again", "Resumed", false, daemonClient.Resume),
		a.appPasswordChange("repin USER ID", "Let the next device that uses one become its device", "Unpinned", false, daemonClient.Repin),
	)
	return cmd
}

func (a *app) appPasswordCreate() *cobra.Command {
	var name, profile, expires string
	var reply []string
	var asJSON bool
	var secrets secretOut
	cmd := &cobra.Command{
		Use:   "create USER --name TEXT",
		Short: "Make one for a device, and print it, once",
		Long:  "Make one for a device, and print it, once.\n\n" + ownHelp + "\nThere it asks for the main password and for a security code; where standard input\nis no terminal, they are its first two lines.",
		Args:  upToArgs("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &controlv1.CreateRequest{Name: name, Profile: profile}
			if cmd.Flags().Changed("expires") {
				at, err := parseExpiry(expires, time.Now())
				if err != nil {
					return usage(cmd, err)
				}
				r.Expires = timestamppb.New(at)
			}
			for _, text := range reply {
				name, value, ok := strings.Cut(text, "=")
				if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok || name == "" || value == "" {
					return usage(cmd, fmt.Errorf("%q is no attribute; write it as 'Tunnel-Private-Group-Id=42'", text))
				}
				r.Reply = append(r.Reply, &controlv1.RadiusAttribute{Name: name, Value: value})
			}
			if len(args) == 0 && len(r.Reply) > 0 {
				return usage(cmd, errors.New("--reply is the administrator's to say, for a USER"))
			}
			if err := secrets.open(cmd); err != nil {
				return err
			}
			if len(args) == 0 {
				return a.createOwn(cmd, r, asJSON, &secrets)
			}
			r.Account = args[0]
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) error {
				made, err := d.Create(ctx, r)
				if err != nil {
					return err
				}
				return a.showMade(made.AppPassword, made.Password, asJSON, &secrets)
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the `name` of the device, 1 to 64 characters (required)")
	cmd.Flags().StringVar(&profile, "profile", "", "what kind of device it is for: a `profile` of the configuration")
	cmd.Flags().StringVar(&expires, "expires", "", "when it ends: a `date`, a time or a duration (2027-01-31, 30d)")
	cmd.Flags().StringArrayVar(&reply, "reply", nil, "a RADIUS `attribute` of the answer to this device, as NAME=VALUE; may be repeated")
	_ = cmd.MarkFlagRequired("name")
	jsonFlag(cmd, &asJSON)
	outFDFlag(cmd, &secrets)
	return cmd
}

// showMade prints a new app password, the one time.
func (a *app) showMade(p *controlv1.AppPassword, password string, asJSON bool, secrets *secretOut) error {
	err := secrets.write(password)
	switch {
	case asJSON && secrets.elsewhere():
		err = errors.Join(err, a.printJSON(toAppPasswordJSON(p, "")))
	case asJSON:
		err = a.printJSON(toAppPasswordJSON(p, password))
	default:
		a.showPassword(p, password, secrets)
	}
	return a.notLost(err, "delete the app password "+p.Id+", or rotate it")
}

// showPassword tells a person of a new app password.
func (a *app) showPassword(p *controlv1.AppPassword, password string, secrets *secretOut) {
	a.printf("App password %q (id %s, profile %s):\n\n", line(p.Name), p.Id, p.Profile)
	if secrets.elsewhere() {
		a.printf("    written to descriptor %d\n\n", secrets.fd)
	} else {
		a.printf("    %s\n\n", grouped(password))
	}
	a.printf("Type it into the device now: it cannot be shown again. Hyphens and capitals do\nnot matter")
	for _, m := range p.Methods {
		if m == "cleartext" {
			continue
		}
		if secrets.elsewhere() {
			password = "the small letters without hyphens"
		}
		a.printf(", except with CHAP and MS-CHAPv2: there type\n%s", password)
		break
	}
	a.printf(".\n")
	for _, r := range p.Reply {
		a.printf("Answers to it have %s = %s.\n", line(r.Name), line(r.Value))
	}
	if p.Expires != nil {
		a.printf("It ends at %s.\n", shownTime(p.Expires.AsTime()))
	}
}

func (a *app) appPasswordList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list USER",
		Short: "List an account's app passwords",
		Args:  upToArgs("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listOwn(cmd, asJSON)
			}
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) error {
				r, err := d.List(ctx, &controlv1.ListRequest{Account: args[0]})
				if err != nil {
					return err
				}
				return a.showList(args[0]+" has", r, asJSON)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// showList prints the app passwords of somebody who has them.
func (a *app) showList(has string, r *controlv1.ListResponse, asJSON bool) error {
	if asJSON {
		all := []appPasswordJSON{}
		for _, p := range r.AppPasswords {
			all = append(all, toAppPasswordJSON(p, ""))
		}
		return a.printJSON(all)
	}
	if len(r.AppPasswords) == 0 {
		a.printf("%s no app passwords.\n", line(has))
		return nil
	}
	return table(a.out, appPasswordRows(r.AppPasswords))
}

func appPasswordRows(all []*controlv1.AppPassword) [][]string {
	now := time.Now()
	rows := [][]string{{"ID", "NAME", "PROFILE", "STATUS", "CREATED", "EXPIRES", "LAST USE", "AT", "USES", "REPLY"}}
	if !slices.ContainsFunc(all, func(p *controlv1.AppPassword) bool { return len(p.Reply) > 0 }) {
		rows[0] = rows[0][:len(rows[0])-1] // few have any
	}
	for _, p := range all {
		expires, last, at := "never", "never", ""
		if p.Expires != nil {
			expires = p.Expires.AsTime().Local().Format(time.DateOnly)
		}
		if p.LastUse != nil {
			last, at = ago(p.LastUse.Time.AsTime(), now), p.LastUse.Service
		}
		rows = append(rows, []string{p.Id, p.Name, p.Profile, p.Status, p.Created.AsTime().Local().Format(time.DateOnly), expires, last, at, count(uint32(p.Uses)), shownReply(p.Reply)})
	}
	return rows
}

func shownReply(all []*controlv1.RadiusAttribute) string {
	var texts []string
	for _, r := range all {
		texts = append(texts, r.Name+"="+r.Value)
	}
	return strings.Join(texts, ", ")
}

func (a *app) appPasswordRotate() *cobra.Command {
	var overlap string
	var asJSON bool
	var secrets secretOut
	cmd := &cobra.Command{
		Use:   "rotate USER ID",
		Short: "Give one a new text, and keep everything else",
		Args:  exactArgs("USER ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &controlv1.RotateRequest{Account: args[0], AppPassword: args[1]}
			if cmd.Flags().Changed("overlap") {
				d, err := parseSpan(overlap)
				if err != nil {
					return usage(cmd, err)
				}
				r.OverlapSeconds = int64(d / time.Second)
			}
			if err := secrets.open(cmd); err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) error {
				made, err := d.Rotate(ctx, r)
				if err != nil {
					return err
				}
				if err := a.showMade(made.AppPassword, made.Password, asJSON, &secrets); err != nil {
					return err
				}
				if r.OverlapSeconds > 0 && !asJSON {
					a.printf("The old one works on for %s.\n", overlap)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&overlap, "overlap", "", "how long the old text works on, as a `duration` up to 30d (default: not at all)")
	jsonFlag(cmd, &asJSON)
	outFDFlag(cmd, &secrets)
	return cmd
}

func (a *app) appPasswordDelete() *cobra.Command {
	var yes, asJSON bool
	cmd := a.verb("delete USER ID", "Delete one; it never works again", func(ctx context.Context, d daemonClient, args []string) error {
		if err := a.confirm(ctx, yes, "Delete the app password "+line(args[1])+" of "+line(args[0])+"? Its device is locked out at once, and there is no undo."); err != nil {
			return err
		}
		since := time.Now()
		r, err := d.Delete(ctx, &controlv1.AppPasswordRequest{Account: args[0], AppPassword: args[1]})
		if err != nil {
			return err
		}
		return a.showTaken("Deleted", r.AppPasswords, a.endings(ctx, d, args[0], since), asJSON)
	})
	yesFlag(cmd, &yes)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) appPasswordDeleteAll() *cobra.Command {
	var yes, asJSON bool
	cmd := a.verb("delete-all USER", "Delete every app password of an account", func(ctx context.Context, d daemonClient, args []string) error {
		if err := a.confirm(ctx, yes, "Delete every app password of "+line(args[0])+"? All its devices are locked out at once, and there is no undo."); err != nil {
			return err
		}
		since := time.Now()
		r, err := d.DeleteAll(ctx, &controlv1.DeleteAllRequest{Account: args[0]})
		if err != nil {
			return err
		}
		return a.showTaken("Deleted", r.AppPasswords, a.endings(ctx, d, args[0], since), asJSON)
	})
	yesFlag(cmd, &yes)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// changeCall is a call of the contract that changes one app password.
type changeCall func(daemonClient, context.Context, *controlv1.AppPasswordRequest, ...grpc.CallOption) (*controlv1.ChangedResponse, error)

func (a *app) appPasswordChange(use, short, done string, takesAway bool, call changeCall) *cobra.Command {
	var asJSON bool
	cmd := a.verb(use, short, func(ctx context.Context, d daemonClient, args []string) error {
		since := time.Now()
		r, err := call(d, ctx, &controlv1.AppPasswordRequest{Account: args[0], AppPassword: args[1]})
		if err != nil {
			return err
		}
		if takesAway {
			return a.showTaken(done, r.AppPasswords, a.endings(ctx, d, args[0], since), asJSON)
		}
		return a.showChanged(done, r, asJSON)
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) showChanged(done string, r *controlv1.ChangedResponse, asJSON bool) error {
	if asJSON {
		all := []*refJSON{}
		for _, ref := range r.AppPasswords {
			all = append(all, toRefJSON(ref))
		}
		return a.printJSON(all)
	}
	for _, ref := range r.AppPasswords {
		a.printf("%s: %q (id %s)\n", done, line(ref.Name), ref.Id)
	}
	if len(r.AppPasswords) == 0 {
		a.printf("There were none.\n")
	}
	return nil
}
