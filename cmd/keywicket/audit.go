package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/audit"
	"github.com/keywicket/keywicket/core/keyring"
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Read the audit, and check that nobody changed it"}
	cmd.AddCommand(a.auditTail(), a.auditVerify())
	return cmd
}

func (a *app) auditTail() *cobra.Command {
	var f audit.Filter
	var reason, event, since string
	var follow, asJSON bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print events, oldest first",
		Long:  "Print events, oldest first; with --follow also those to come, until Ctrl-C. The\naudit is read from the folder that the configuration names.",
		Args:  exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.Reason, f.Event = core.Reason(reason), core.EventKind(event)
			if err := errors.Join(knownWord("event", f.Event, auditedKinds()), knownWord("reason", f.Reason, core.Reasons())); err != nil {
				return usage(cmd, err)
			}
			file, err := a.loadFile(cmd.Context())
			if err != nil {
				return err
			}
			if since != "" {
				d, err := parseSpan(since)
				if err != nil {
					return usage(cmd, err)
				}
				f.Since = time.Now().Add(-d)
			}
			read := audit.Read
			if follow {
				read = audit.Follow
			}
			err = read(cmd.Context(), file.Audit.Path, f, func(e audit.Entry, raw []byte) error {
				if asJSON {
					_, err := fmt.Fprintf(a.out, "%s\n", raw)
					return err
				}
				_, err := fmt.Fprintln(a.out, entryText(e))
				return err
			})
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on with what is to come")
	flags.StringVar(&f.Account, "account", "", "only of this `account`")
	flags.StringVar(&f.Service, "service", "", "only of this `service`")
	flags.StringVar(&reason, "reason", "", "only attempts refused for this `reason`")
	flags.StringVar(&event, "event", "", "only this kind of `event`")
	flags.StringVar(&since, "since", "", "only of the last `duration` (90m, 7d)")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// auditedKinds returns every kind of event that the audit can hold.
func auditedKinds() []core.EventKind {
	return append(core.EventKinds(), audit.EventOpened, audit.EventTorn, audit.EventDeleted, audit.EventDropped)
}

// knownWord says that there is no such word, which would choose nothing. An empty
// one chooses all.
func knownWord[W ~string](flag string, word W, known []W) error {
	if word == "" || slices.Contains(known, word) {
		return nil
	}
	all := make([]string, len(known))
	for i, w := range known {
		all[i] = string(w)
	}
	return fmt.Errorf("--%s: there is no %q; there are %s", flag, word, strings.Join(all, ", "))
}

// entryText is one event for a person.
func entryText(e audit.Entry) string {
	var b strings.Builder
	add := func(format, text string) {
		if text != "" {
			fmt.Fprintf(&b, format, line(text))
		}
	}
	b.WriteString(shownTime(e.Time))
	add("  %s", string(e.Event))
	add("  %s", e.Account)
	add(" %q", e.AppPassword.Name)
	add(" at %s", e.Service)
	add(" from %s", e.Source)
	add(", device %s", e.Device)
	add(": %s", e.Result)
	add(" (%s)", string(e.Reason))
	add(", %s", e.Detail)
	add(", by %s", e.Actor)
	return b.String()
}

func (a *app) auditVerify() *cobra.Command {
	var old []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Find lines of the audit that were edited, removed, added or reordered",
		Args:  exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := a.loadFile(cmd.Context())
			if err != nil {
				return err
			}
			var keys [][]byte
			for _, path := range append([]string{file.Keyring}, old...) {
				k, err := keyring.ReadFile(path)
				if err != nil {
					return usageError{err}
				}
				keys = append(append(keys, k.AuditKey()), k.OldAuditKeys()...)
			}
			report, err := audit.Verify(file.Audit.Path, keys)
			if err != nil {
				return err
			}
			return a.showAudited(report, asJSON)
		},
	}
	cmd.Flags().StringArrayVar(&old, "keyring", nil, "an older `keyring` whose key wrote the beginning; may be repeated")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// showAudited prints what was found. A fault is an answer that ends with
// exitFailed.
func (a *app) showAudited(r audit.Report, asJSON bool) error {
	var failed error
	if n := len(r.Faults); n > 0 {
		failed = fmt.Errorf("the audit has %d faults in %d lines", n, r.Lines)
	}
	if asJSON {
		faults := []faultJSON{}
		for _, f := range r.Faults {
			faults = append(faults, faultJSON{File: f.File, Line: f.Line, Text: f.Text})
		}
		return errors.Join(a.printJSON(map[string]any{"files": r.Files, "lines": r.Lines, "from": r.From, "to": r.To, "faults": faults}), failed)
	}
	for _, fault := range r.Faults {
		a.printf("%s:%d: %s\n", line(fault.File), fault.Line, line(fault.Text))
	}
	if failed == nil {
		a.printf("%d lines in %d files, from %s to %s: nothing is missing or changed.\n", r.Lines, r.Files, shownTime(r.From), shownTime(r.To))
	}
	return failed
}
