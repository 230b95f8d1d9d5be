package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

const reviewHelp = `Say what somebody should look at, in one sentence each: app passwords that were
not used for long, never used, about to end, expired or suspended for long;
devices that try what is pinned to another, or what was deleted; accounts at the
limit or with few recovery codes. With USER it looks at one account, else at all.

With --json there is one JSON object a line, with "account", "finding"
(at-limit, recovery-low, unused, never-used, expiring, expired, suspended,
pin-mismatch or deleted-tried), "app_password" (null where it is about the
account), "time", "device" and "sentence".`

func (a *app) reviewCommand() *cobra.Command {
	var unusedFor string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "review [USER]",
		Short: "Say which app passwords somebody should look at, and what to do",
		Long:  reviewHelp,
		Args:  upToArgs("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			seconds, err := parseSeconds(unusedFor)
			if err != nil {
				return usage(cmd, err)
			}
			r := &controlv1.ReviewRequest{UnusedForSeconds: seconds}
			if len(args) > 0 {
				r.Account = args[0]
			}
			return a.stream(cmd.Context(), func(ctx context.Context, d daemonClient, alive func()) error {
				return a.review(ctx, d, alive, r, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&unusedFor, "unused-for", "", "what is not used for this `duration` is unused (default 90d, or unused_after of the configuration if less)")
	jsonFlag(cmd, &asJSON)
	return cmd
}

type findingJSON struct {
	Account     string     `json:"account"`
	Finding     string     `json:"finding"`
	AppPassword *refJSON   `json:"app_password"`
	Time        *time.Time `json:"time"`
	Device      string     `json:"device"`
	Sentence    string     `json:"sentence"`
}

func (a *app) review(ctx context.Context, d daemonClient, alive func(), r *controlv1.ReviewRequest, asJSON bool) error {
	stream, err := d.Review(ctx, r)
	if err != nil {
		return err
	}
	out := a.newReport(asJSON)
	out.nothing = "There is nothing to look at."
	for {
		account, err := stream.Recv()
		if err != nil {
			return out.end(ctx, err)
		}
		alive()
		if account.Damaged {
			out.isDamaged(account.Account)
		}
		if !asJSON && len(account.Findings) > 0 {
			fmt.Fprintln(out.out, line(account.Account))
		}
		for _, f := range account.Findings {
			if err := out.addFinding(account.Account, f); err != nil {
				return err
			}
		}
	}
}

func (o *report) addFinding(account string, f *controlv1.Finding) error {
	if o.json != nil {
		return o.add(findingJSON{account, f.Kind, toRefJSON(f.AppPassword), timeOrNil(f.Time), f.Device, f.Sentence}, nil)
	}
	o.printed++
	_, err := fmt.Fprintf(o.out, "    %s\n", line(f.Sentence))
	return err
}
