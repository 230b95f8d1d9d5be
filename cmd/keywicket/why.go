package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) whyCommand() *cobra.Command {
	var asJSON bool
	cmd := a.verb("why USER", "Show the last attempts of an account, and why they were refused", func(ctx context.Context, d daemonClient, args []string) error {
		r, err := d.ListAttempts(ctx, &controlv1.ListAttemptsRequest{Account: args[0]})
		if err != nil {
			return err
		}
		if asJSON {
			all := []attemptJSON{}
			for _, attempt := range r.Attempts {
				all = append(all, toAttemptJSON(attempt))
			}
			return a.printJSON(all)
		}
		if len(r.Attempts) == 0 {
			a.printf("No attempts of %s are known: nothing reached Keywicket under this name.\n\"keywicket status\" counts what was dropped, and \"keywicket radius debug\" shows each packet.\n", line(args[0]))
			return nil
		}
		for _, attempt := range r.Attempts {
			a.printf("%s\n", attemptText(attempt))
		}
		return nil
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

// attemptText tells of one attempt, with what to do about it.
func attemptText(t *controlv1.Attempt) string {
	var where strings.Builder
	fmt.Fprintf(&where, "%s  %s", shownTime(t.Time.AsTime()), line(t.Service))
	if t.Source != "" {
		fmt.Fprintf(&where, " from %s", line(t.Source))
	}
	if t.Device != "" {
		fmt.Fprintf(&where, ", device %s", line(t.Device))
	}
	if t.Method != "" {
		fmt.Fprintf(&where, " (%s)", line(t.Method))
	}
	used := ""
	if p := t.AppPassword; p != nil {
		used = fmt.Sprintf(" %q (id %s)", line(p.Name), p.Id)
	}
	if t.Reason == "" {
		if used == "" {
			used = " the main password"
		}
		return fmt.Sprintf("%s\n    granted with%s", where.String(), used)
	}
	if used != "" {
		used = " with" + used
	}
	return fmt.Sprintf("%s\n    refused%s (%s): %s", where.String(), used, t.Reason, t.Sentence)
}
