package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) sessionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "session", Short: "Show where app passwords are in use"}
	cmd.AddCommand(a.sessionList())
	return cmd
}

func (a *app) sessionList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [USER]",
		Short: "List the sessions of an account, or all, as accounting tells of them",
		Args:  upToArgs("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.stream(cmd.Context(), func(ctx context.Context, d daemonClient, alive func()) error {
				r := &controlv1.ListSessionsRequest{}
				if len(args) > 0 {
					r.Account = args[0]
				}
				all, err := listSessions(ctx, d, r, alive)
				switch {
				case err != nil:
					return endedBy(ctx, err)
				case asJSON:
					return a.printJSON(all)
				case len(all) == 0:
					a.printf("There are none. Sessions are known where a client sends its accounting to Keywicket.\n")
					return nil
				}
				return table(a.out, sessionRows(all))
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// sessionJSON and endingJSON are what other programs read. Fields are added,
// never renamed.
type (
	sessionJSON struct {
		Account     string     `json:"account"`
		AppPassword *refJSON   `json:"app_password"`
		Client      string     `json:"client"`
		Device      string     `json:"device"`
		Address     string     `json:"address"`
		Since       *time.Time `json:"since"`
		OctetsIn    uint64     `json:"octets_in"`
		OctetsOut   uint64     `json:"octets_out"`

		Ending *triedJSON `json:"ending"` // null: it may go on
	}

	// triedJSON is what came of ending a session that is still there.
	triedJSON struct {
		Outcome string     `json:"outcome"` // refused, unanswered, waiting, not-asked
		Detail  string     `json:"detail"`
		Asked   *time.Time `json:"asked"`
	}

	endingJSON struct {
		Client  string `json:"client"`
		Device  string `json:"device"`
		Outcome string `json:"outcome"` // ended, refused, unanswered, waiting, not-asked
		Detail  string `json:"detail"`
	}

	// changedJSON is an app password that was taken away, with its sessions.
	changedJSON struct {
		refJSON
		Sessions []endingJSON `json:"sessions"`
	}
)

func listSessions(ctx context.Context, d daemonClient, r *controlv1.ListSessionsRequest, alive func()) ([]sessionJSON, error) {
	stream, err := d.sessions.List(ctx, r)
	if err != nil {
		return nil, err
	}
	all := []sessionJSON{}
	for {
		s, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		alive()
		all = append(all, toSessionJSON(s))
	}
}

func toSessionJSON(s *controlv1.Session) sessionJSON {
	j := sessionJSON{
		Account: s.GetAccount(), AppPassword: toRefJSON(s.GetAppPassword()), Client: s.GetClient(), Device: s.GetDevice(),
		Address: s.GetAddress(), Since: timeOrNil(s.GetSince()), OctetsIn: s.GetOctetsIn(), OctetsOut: s.GetOctetsOut(),
	}
	if s.GetOutcome() != "" {
		j.Ending = &triedJSON{Outcome: s.GetOutcome(), Detail: s.GetDetail(), Asked: timeOrNil(s.GetAsked())}
	}
	return j
}

func sessionRows(all []sessionJSON) [][]string {
	rows := [][]string{{"ACCOUNT", "APP PASSWORD", "CLIENT", "DEVICE", "ADDRESS", "SINCE", "IN", "OUT", "NOT ENDED"}}
	for _, s := range all {
		name, since, ending := "", "", ""
		if s.AppPassword != nil {
			name = s.AppPassword.Name
		}
		if s.Since != nil {
			since = shownTime(*s.Since)
		}
		if s.Ending != nil {
			ending = outcomeText(s.Ending.Outcome, s.Ending.Detail)
		}
		rows = append(rows, []string{s.Account, name, s.Client, s.Device, s.Address, since, octets(s.OctetsIn), octets(s.OctetsOut), ending})
	}
	return rows
}

// octets says roughly how much n is.
func octets(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	at, size := 0, float64(n)
	for size >= 1024 && at < len(units)-1 {
		at, size = at+1, size/1024
	}
	if at == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, units[at])
}

// endings returns what comes of the sessions of an account that were to be
// ended since then. What was done is done, so that a fault here is no failure.
func (a *app) endings(ctx context.Context, d daemonClient, account string, since time.Time) []*controlv1.SessionEnding {
	r, err := d.sessions.ListEndings(ctx, &controlv1.ListEndingsRequest{Account: account, Since: timestamppb.New(since)})
	if err != nil {
		fmt.Fprintln(a.err, "keywicket: what comes of its sessions is not known: "+sanitize(messageOf(err)))
		return nil
	}
	return r.GetEndings()
}

// endingsText tells of endings as the rest of a line: "; 2 sessions ended, vpn1
// did not answer". It is empty where there are none.
func endingsText(all []*controlv1.SessionEnding) string {
	over := 0
	var others []string
	for _, n := range all {
		if session.Outcome(n.GetOutcome()) == session.Ended {
			over++
			continue
		}
		if text := endingText(n); !slices.Contains(others, text) {
			others = append(others, text)
		}
	}
	var parts []string
	switch {
	case over == 1:
		parts = append(parts, "1 session ended")
	case over > 1:
		parts = append(parts, fmt.Sprintf("%d sessions ended", over))
	}
	if parts = append(parts, others...); len(parts) == 0 {
		return ""
	}
	return "; " + strings.Join(parts, ", ")
}

// endingText tells of a session that goes on.
func endingText(n *controlv1.SessionEnding) string {
	return line(n.GetSession().GetClient() + " " + outcomeText(n.GetOutcome(), n.GetDetail()))
}

// outcomeText says what the client of a session that goes on did.
func outcomeText(outcome, detail string) string {
	if detail != "" {
		detail = " (" + detail + ")"
	}
	switch session.Outcome(outcome) {
	case session.Refused:
		return "refused" + detail
	case session.NotAsked:
		return "was not asked" + detail
	case session.Waits:
		return "did not answer yet and is asked again"
	}
	return "did not answer" + detail
}

// printTaken prints as JSON an account that something was taken from, and what
// became of its sessions.
func (a *app) printTaken(account *controlv1.Account, endings []*controlv1.SessionEnding) error {
	j := toAccountJSON(account)
	j.Sessions = toEndingsJSON(endings)
	return a.printJSON(j)
}

func toEndingsJSON(all []*controlv1.SessionEnding) []endingJSON {
	list := []endingJSON{}
	for _, n := range all {
		list = append(list, endingJSON{Client: n.GetSession().GetClient(), Device: n.GetSession().GetDevice(), Outcome: n.GetOutcome(), Detail: n.GetDetail()})
	}
	return list
}

// showTaken prints what was taken away, and what comes of its sessions.
func (a *app) showTaken(done string, refs []*controlv1.AppPasswordRef, endings []*controlv1.SessionEnding, asJSON bool) error {
	of := func(ref *controlv1.AppPasswordRef) (its []*controlv1.SessionEnding) {
		for _, n := range endings {
			if n.GetSession().GetAppPassword().GetId() == ref.GetId() {
				its = append(its, n)
			}
		}
		return its
	}
	if asJSON {
		all := []changedJSON{}
		for _, ref := range refs {
			all = append(all, changedJSON{*toRefJSON(ref), toEndingsJSON(of(ref))})
		}
		return a.printJSON(all)
	}
	for _, ref := range refs {
		a.printf("%s: %q (id %s)%s\n", done, line(ref.Name), ref.Id, endingsText(of(ref)))
	}
	if len(refs) == 0 {
		a.printf("There were none.\n")
	}
	return nil
}
