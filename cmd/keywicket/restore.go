package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/backup"
	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// restoreNoted is how long status tells of a restore: so long a deleted app
// password is remembered, and so long its device may come with questions.
const restoreNoted = 90 * 24 * time.Hour

// A restoreRequest is what the flags of restore say.
type restoreRequest struct {
	paths       []string
	suspend     bool
	leaveOut    bool
	yes, asJSON bool
}

func (a *app) restoreCommand() *cobra.Command {
	var r restoreRequest
	cmd := &cobra.Command{
		Use:   "restore FILE [INCREMENTAL...]",
		Short: "Make the store of a backup, while the daemon is stopped",
		Long: "Check a backup and the incremental ones that follow it, make a store of them,\nand put it into the place of the one in data_dir, which is kept. What was taken\n" +
			"away after the backup stays away, as far as the store that is replaced or the\naudit tells; app passwords that were made after it are lost.",
		Args: someArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.socket != "" {
				return usage(cmd, errors.New("restore asks no daemon; name the configuration with --config"))
			}
			r.paths = args
			if err := areFiles(args...); err != nil {
				return err
			}
			return a.restore(cmd.Context(), r)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&r.suspend, "suspend", false, "suspend the app passwords that could have been deleted after the backup, where nothing tells")
	flags.BoolVar(&r.leaveOut, "leave-out-damaged", false, "leave out records that are damaged, instead of restoring nothing")
	flags.BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	jsonFlag(cmd, &r.asJSON)
	return cmd
}

func (a *app) restore(ctx context.Context, request restoreRequest) error {
	f, err := loadConfig(a.configFile())
	if err != nil {
		return err
	}
	if name := f.Store.Plugin(); name != "" {
		return usageError{fmt.Errorf("the records are kept by the plugin %s: use the means of what is behind it", name)}
	}
	keys, err := keyring.ReadFile(f.Keyring)
	if err != nil {
		return usageError{err}
	}
	unix.Umask(0o077)
	r, err := backup.Prepare(ctx, restoreOptions(f, keys, request, newLog(a.err, config.Log{Level: "warn", Format: f.Log.Format})))
	if err != nil {
		return err
	}
	defer r.Close()
	report := r.Report()
	if err := a.confirmRestore(ctx, report, request); err != nil {
		if request.asJSON { // which they are is what whoever asks again wants to know
			err = errors.Join(err, a.printJSON(toRestoreJSON(report, false, false)))
		}
		return err
	}
	if err := r.Run(ctx, request.suspend); err != nil {
		return err
	}
	if request.asJSON {
		return a.printJSON(toRestoreJSON(report, true, request.suspend))
	}
	a.showRestore(report, request.suspend)
	return nil
}

// confirmRestore asks before some app passwords could come back, and, where somebody
// is there to be asked, before some are lost: the store that has them is kept.
func (a *app) confirmRestore(ctx context.Context, report backup.Report, request restoreRequest) error {
	question := ""
	if n := len(report.Later); n > 0 && !request.yes {
		fmt.Fprintf(a.err, "The backup is of %s. %d app passwords that were made after it will not work any more.\n", shownTime(report.Backup.Time), n)
		if a.atTerminal() {
			question = "Go on?"
		}
	}
	if n := len(report.Unsure); n > 0 && !request.suspend {
		a.printUnsure(report)
		question = fmt.Sprintf("Go on, and let all %d work?", n)
	}
	if question == "" {
		return nil
	}
	return a.confirm(ctx, request.yes, question)
}

func restoreOptions(f *config.File, keys *keyring.Keyring, request restoreRequest, log *slog.Logger) backup.Options {
	return backup.Options{
		Paths: request.paths, LeaveOut: request.leaveOut, DataDir: f.DataDir, AuditDir: f.Audit.Path, Keys: keys, Now: time.Now,
		Spare: uint64(cmp.Or(f.Store.MinFree, 256<<20) + 64<<20), // what badgerstore keeps free, and its ballast
		Open: func(dir string) (backup.Store, error) {
			return badgerstore.Open(dir, badgerstore.Options{Logger: log, MinFree: f.Store.MinFree})
		},
		Lock: func(dir string) (io.Closer, error) { return badgerstore.Lock(dir) },
		Record: func(r backup.Report) error {
			return errors.Join(recordRestore(f, keys, r, log), giveAudit(f.Audit.Path))
		},
	}
}

// recordRestore writes into the audit that the store is restored.
func recordRestore(f *config.File, keys *keyring.Keyring, r backup.Report, log *slog.Logger) error {
	events, err := openAudit(f, keys, log)
	if err != nil {
		return err
	}
	detail := fmt.Sprintf("backup %s of %s", r.Backup.ID, r.Backup.Time.UTC().Format(time.RFC3339))
	actor := fmt.Sprintf("uid %d", os.Getuid())
	err = events.Record(core.Event{Kind: core.EventRestore, Actor: actor, Detail: detail})
	for _, item := range r.Away {
		if item.From != backup.FromAudit || err != nil { // else the audit had it before
			continue
		}
		detail := item.Why + " before the restore, and not brought back"
		err = events.Record(core.Event{Kind: core.EventDeleted, Actor: actor, Account: item.Account, AppPassword: core.Ref{ID: item.ID, Name: item.Name}, Detail: detail})
	}
	return errors.Join(err, events.Close())
}

// giveAudit lets new files of the audit belong to whom the folder does, where
// root restores for the user of the service.
func giveAudit(dir string) error {
	var owner unix.Stat_t
	if err := unix.Stat(dir, &owner); err != nil || os.Geteuid() != 0 || owner.Uid == 0 && owner.Gid == 0 {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}

// printUnsure says what could come back.
func (a *app) printUnsure(r backup.Report) {
	fmt.Fprintf(a.err, "%s; %s.\n", sanitize(r.Untold), sanitize(r.AuditSays))
	fmt.Fprintf(a.err, "So %d app passwords that were deleted after %s, if any, would work again: every one\nof the %[1]d in the backup could be one of them. --suspend suspends them all, until their owners or the help desk resume them.\n",
		len(r.Unsure), shownTime(r.Backup.Time))
}

type (
	restoredJSON struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		Account string `json:"account"`
		Why     string `json:"why,omitempty"`
		From    string `json:"from,omitempty"`
	}
	restoreJSON struct {
		Restored     bool           `json:"restored"`
		Backup       string         `json:"backup"`
		Time         time.Time      `json:"time"`
		Revision     uint64         `json:"revision"`
		Files        int            `json:"files"`
		Records      int            `json:"records"`
		Accounts     int            `json:"accounts"`
		AppPasswords int            `json:"app_passwords"`
		Damaged      []string       `json:"damaged"`
		Replaced     *string        `json:"replaced"`
		AuditUntil   *time.Time     `json:"audit_until"`
		NotBack      []restoredJSON `json:"not_brought_back"`
		Lost         []restoredJSON `json:"lost"`
		Unsure       []restoredJSON `json:"could_have_come_back"`
		Suspended    bool           `json:"suspended"`
	}
)

func toRestoredJSON(items []backup.Item) []restoredJSON {
	all := []restoredJSON{}
	for _, i := range items {
		all = append(all, restoredJSON{ID: i.ID, Name: i.Name, Account: i.Account, Why: i.Why, From: i.From})
	}
	return all
}

func toRestoreJSON(r backup.Report, restored, suspended bool) restoreJSON {
	j := restoreJSON{
		Restored: restored, Backup: r.Backup.ID.String(), Time: r.Backup.Time, Revision: uint64(r.Backup.Revision), Files: r.Files, Records: r.Records,
		Accounts: r.Accounts, AppPasswords: r.AppPasswords, Damaged: notNil(r.Damaged),
		NotBack: toRestoredJSON(r.Away), Lost: toRestoredJSON(r.Later), Unsure: toRestoredJSON(r.Unsure), Suspended: suspended && len(r.Unsure) > 0,
	}
	if r.Kept != "" {
		j.Replaced = &r.Kept
	}
	if !r.AuditUntil.IsZero() {
		j.AuditUntil = &r.AuditUntil
	}
	return j
}

// maxShown is how many app passwords a list for people has.
const maxShown = 20

func (a *app) showRestore(r backup.Report, suspended bool) {
	a.printf("Restored %d records with %d app passwords, as of %s.\n", r.Records-len(r.Damaged), r.AppPasswords, shownTime(r.Backup.Time))
	if r.Kept != "" {
		a.printf("The store that was there is kept as %s.\n", line(r.Kept))
	}
	if !r.AuditUntil.IsZero() {
		a.printf("%s. So the audit was asked, which ends at %s: what was deleted\nlater, or in the second before the daemon was killed, may not be in it.\n", sanitize(r.Untold), shownTime(r.AuditUntil))
	}
	for _, key := range r.Damaged {
		a.printf("Left out, because it is damaged: the record %q.\n", line(key))
	}
	a.showItems("Not brought back, because they were taken away after the backup", r.Away)
	a.showItems("Lost, because they were made after the backup; their owners need new ones", r.Later)
	switch n := len(r.Unsure); {
	case n > 0 && suspended:
		a.printf("%d app passwords are suspended, because nothing tells which of them were deleted after the backup;\n\"keywicket app-password resume\" lets one work again.\n", n)
	case n > 0:
		a.printf("%d app passwords work, whether or not they were deleted after the backup.\n", n)
	}
	a.printf("Start the daemon now. \"keywicket status\" tells of this restore for %d days.\n", int(restoreNoted.Hours()/24))
}

func (a *app) showItems(title string, items []backup.Item) {
	if len(items) == 0 {
		return
	}
	a.printf("%s:\n", title)
	for _, i := range items[:min(len(items), maxShown)] {
		why := ""
		if i.Why != "" {
			why = fmt.Sprintf(" (%s, says the %s)", i.Why, i.From)
		}
		a.printf("  %s  %s  %q%s\n", line(i.Account), i.ID, line(i.Name), why)
	}
	if n := len(items) - maxShown; n > 0 {
		a.printf("  and %d more; --json lists all\n", n)
	}
}

// noteRestore lets status and the log tell of a restore that was not long ago. A
// store that comes later is asked again.
func (d *daemon) noteRestore(ctx context.Context) {
	at, from, ok, err := backup.Restored(ctx, d.store, d.keys)
	d.restoreUnknown = errors.Is(err, store.ErrUnavailable)
	switch {
	case d.restoreUnknown: // which status says anyway
		return
	case err != nil:
		d.restored = "whether the store was restored cannot be read: " + err.Error()
	case !ok || time.Since(at) > restoreNoted:
		return
	default:
		d.restored = fmt.Sprintf("the store was restored on %s from a backup of %s: app passwords that were made in between do not work; those that were deleted in between are known only as far as restore could see",
			shownTime(at), shownTime(from))
	}
	d.log.Warn(d.restored)
}
