package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

const listAllHelp = `List the app passwords of one account, or with --all those of every account.
` + ownHelp + `

With --all --json there is one JSON object a line, with "account" and what the
list of one account has. The other flags choose among all; where several are
given, all of them must hold. --deleted-still-tried lists the deleted ones that
a device still has: objects with "account", "id", "name", "deleted" (null where
the app password is there and its text was rotated), "last_try" and "tries".

Nothing waits for the list. An account that changes meanwhile is in it as it was
before or after.`

// listFilter is what the flags choose, as they were typed.
type listFilter struct {
	all                     bool
	unusedFor, expiringSoon string
	request                 controlv1.ListAllRequest
}

// withAll lets the verb that lists one account's app passwords list those of
// all accounts too.
func (a *app) withAll(cmd *cobra.Command) *cobra.Command {
	var f listFilter
	one, argsOfOne := cmd.RunE, cmd.Args
	cmd.Use, cmd.Short, cmd.Long = "list USER", "List app passwords, of an account or of all", listAllHelp
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "list those of every account")
	flags.BoolVar(&f.request.AtLimit, "at-limit", false, "those of accounts that may have no more")
	flags.StringVar(&f.unusedFor, "unused-for", "", "those not used for a `duration` (90d)")
	flags.StringVar(&f.expiringSoon, "expiring-within", "", "those that end within a `duration` (30d), by their date or by disuse")
	flags.StringVar(&f.request.Status, "status", "", "those with a `status`: active, suspended, expired, unused-expired or denied")
	flags.BoolVar(&f.request.DeletedStillTried, "deleted-still-tried", false, "the deleted ones that a device still has")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if f.all {
			if len(args) > 0 {
				return errors.New("--all is about every account; leave USER out")
			}
			return nil
		}
		for _, name := range []string{"at-limit", "unused-for", "expiring-within", "status", "deleted-still-tried"} {
			if cmd.Flags().Changed(name) {
				return fmt.Errorf("--%s chooses among all; say --all too", name)
			}
		}
		return argsOfOne(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !f.all {
			return one(cmd, args)
		}
		if err := f.parse(); err != nil {
			return usage(cmd, err)
		}
		asJSON, err := cmd.Flags().GetBool("json")
		if err != nil {
			return err
		}
		return a.stream(cmd.Context(), func(ctx context.Context, d daemonClient, alive func()) error {
			return a.listAll(ctx, d, alive, &f.request, asJSON)
		})
	}
	return cmd
}

// parse reads what the flags say.
func (f *listFilter) parse() (err error) {
	r := &f.request
	if r.UnusedForSeconds, err = parseSeconds(f.unusedFor); err != nil {
		return err
	}
	if r.ExpiringWithinSeconds, err = parseSeconds(f.expiringSoon); err != nil {
		return err
	}
	if err := knownWord("status", core.Status(r.Status), core.Statuses()); err != nil {
		return err
	}
	if r.DeletedStillTried && (r.UnusedForSeconds > 0 || r.ExpiringWithinSeconds > 0 || r.Status != "") {
		return errors.New("--deleted-still-tried is about app passwords that are gone; the other flags but --at-limit are about those that are there")
	}
	return nil
}

// parseSeconds reads a duration of whole seconds; "" is 0.
func parseSeconds(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	d, err := parseSpan(text)
	if err == nil && d < time.Second {
		err = fmt.Errorf("%q is less than a second", text)
	}
	return uint64(d / time.Second), err
}

type (
	ownedJSON struct {
		Account string `json:"account"`
		appPasswordJSON
	}

	deletedJSON struct {
		Account string     `json:"account"`
		ID      string     `json:"id"`
		Name    string     `json:"name"`
		Deleted *time.Time `json:"deleted"`
		LastTry *useJSON   `json:"last_try"`
		Tries   uint32     `json:"tries"`
	}
)

func (a *app) listAll(ctx context.Context, d daemonClient, alive func(), r *controlv1.ListAllRequest, asJSON bool) error {
	stream, err := d.ListAll(ctx, r)
	if err != nil {
		return err
	}
	out := a.newReport(asJSON)
	out.header = append([]string{"ACCOUNT"}, appPasswordRows(nil)[0]...)
	if r.DeletedStillTried {
		out.header = []string{"ACCOUNT", "ID", "NAME", "DELETED", "LAST TRY", "AT", "DEVICE", "TRIES"}
	}
	for {
		account, err := stream.Recv()
		if err != nil {
			return out.end(ctx, err)
		}
		alive()
		if account.Damaged {
			out.isDamaged(account.Account)
		}
		if err := out.addAccount(account); err != nil {
			return err
		}
	}
}

// addAccount prints what was found of one account.
func (o *report) addAccount(account *controlv1.AccountAppPasswords) error {
	rows := appPasswordRows(account.AppPasswords)[1:]
	for i, p := range account.AppPasswords {
		if err := o.add(ownedJSON{account.Account, toAppPasswordJSON(p, "")}, append([]string{account.Account}, rows[i]...)); err != nil {
			return err
		}
	}
	for _, t := range account.Deleted {
		last := t.Last
		j := deletedJSON{
			Account: account.Account, ID: t.AppPassword.GetId(), Name: t.AppPassword.GetName(), Deleted: timeOrNil(t.Deleted), Tries: t.Tries,
			LastTry: &useJSON{Time: last.GetTime().AsTime(), Service: last.GetService(), Source: last.GetSource(), Device: last.GetDevice(), Method: last.GetMethod()},
		}
		deleted := "rotated"
		if j.Deleted != nil {
			deleted = j.Deleted.Local().Format(time.DateOnly)
		}
		row := []string{j.Account, j.ID, j.Name, deleted, shownTime(j.LastTry.Time), j.LastTry.Service, j.LastTry.Device, count(j.Tries)}
		if err := o.add(j, row); err != nil {
			return err
		}
	}
	return nil
}

// reportRows is how many rows are put into columns together.
const reportRows = 200

// A report prints what comes as it comes: JSON lines, or rows in columns.
type report struct {
	err     io.Writer
	out     *bufio.Writer
	json    *json.Encoder // nil: rows
	header  []string
	rows    [][]string
	printed int
	damaged int
	nothing string // what to say where there is none
}

func (a *app) newReport(asJSON bool) *report {
	o := &report{err: a.err, out: bufio.NewWriter(a.out), nothing: "There are none."}
	if asJSON {
		o.json = json.NewEncoder(o.out)
		o.json.SetEscapeHTML(false)
	}
	return o
}

// add prints one thing, as an object or as a row.
func (o *report) add(object any, row []string) error {
	o.printed++
	if o.json != nil {
		return o.json.Encode(object)
	}
	o.rows = append(o.rows, row)
	if len(o.rows) < reportRows {
		return nil
	}
	return o.flushRows()
}

// flushRows prints the rows that wait, each block under its header: the columns
// of the next may be wider.
func (o *report) flushRows() error {
	if len(o.rows) == 0 {
		return nil
	}
	rows := append([][]string{o.header}, o.rows...)
	o.rows = o.rows[:0]
	return table(o.out, rows)
}

// isDamaged tells of an account whose record cannot be read.
func (o *report) isDamaged(account string) {
	o.damaged++
	fmt.Fprintf(o.err, "keywicket: the record of %s was changed or damaged; restore it from a backup, and find out who could write there\n", line(account))
}

// end prints what waits. err is what ended the stream; io.EOF is its end.
func (o *report) end(ctx context.Context, err error) error {
	flushed := o.flushRows()
	if err == io.EOF && o.printed == 0 && o.json == nil && o.damaged == 0 {
		fmt.Fprintln(o.out, o.nothing)
	}
	flushed = errors.Join(flushed, o.out.Flush())
	switch {
	case err != io.EOF && o.printed > 0:
		return &partialError{reasonOf(ctx, err) + "; this is not all", endedBy(ctx, err)}
	case err != io.EOF:
		return endedBy(ctx, err)
	case flushed != nil:
		return flushed
	case o.damaged > 0:
		return errors.New(strconv.Itoa(o.damaged) + " accounts could not be read")
	}
	return nil
}

// outAtTerminal says whether standard output is a terminal.
func (a *app) outAtTerminal() bool {
	kept, ok := a.out.(*keptWriter)
	if !ok {
		return false
	}
	f, ok := kept.Writer.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
