package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/backup"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// stalledAfter is how long the daemon may send nothing of a backup.
const stalledAfter = time.Minute

func (a *app) backupCommand() *cobra.Command {
	var since string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write all records, sealed under the keyring, into a file while the daemon serves",
		Long:  "Write all records as of one moment into FILE, which must not be there. The\nkeyring is not in it: keep a copy of that apart from FILE, which is of no use\nwithout it. With --since the file has what changed since an older backup, and\nis restored together with that.",
		Args:  exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.backup(cmd.Context(), args[0], since, asJSON)
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "only what changed since this older `backup`")
	jsonFlag(cmd, &asJSON)
	cmd.AddCommand(a.backupVerify())
	return cmd
}

func (a *app) backupVerify() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Check a backup, and the incremental ones that follow it, as restore does",
		Args:  someArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := areFiles(args...); err != nil {
				return err
			}
			f, err := a.loadFile(cmd.Context())
			if err != nil {
				return err
			}
			keys, err := keyring.ReadFile(f.Keyring)
			if err != nil {
				return usageError{err}
			}
			set, err := backup.Check(cmd.Context(), args, keys, false)
			if err != nil {
				return err
			}
			defer set.Close()
			h := set.Newest()
			if asJSON {
				return a.printJSON(verifyJSON{ID: h.ID.String(), Time: h.Time, Revision: uint64(h.Revision), Files: len(args), Records: set.Records, Octets: set.Octets})
			}
			a.printf("%d records, %d octets, as of %s (revision %d): whole, and the keyring opens all of it.\n", set.Records, set.Octets, shownTime(h.Time), h.Revision)
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

type (
	verifyJSON struct {
		ID       string    `json:"id"`
		Time     time.Time `json:"time"`
		Revision uint64    `json:"revision"`
		Files    int       `json:"files"`
		Records  int       `json:"records"`
		Octets   uint64    `json:"octets"`
	}
	backupJSON struct {
		File     string    `json:"file"`
		ID       string    `json:"id"`
		Base     *string   `json:"base"`
		Time     time.Time `json:"time"`
		Revision uint64    `json:"revision"`
		Records  uint64    `json:"records"`
		Values   uint64    `json:"values"`
		Octets   uint64    `json:"octets"`
		Damaged  []string  `json:"damaged"`
		Keyring  string    `json:"keyring"`
	}
)

// backup asks the daemon for a backup, and writes it.
func (a *app) backup(ctx context.Context, path, since string, asJSON bool) error {
	request := &controlv1.BackupRequest{}
	if since != "" {
		if err := areFiles(since); err != nil {
			return err
		}
		if err := markOf(since, request); err != nil {
			return err
		}
	}
	if err := absent(path); err != nil {
		return err
	}
	return a.ask(ctx, func(_ context.Context, d daemonClient) error { // not its deadline: a backup takes as long as it takes
		file, err := createPartial(path)
		if err != nil {
			return err
		}
		s, err := receive(ctx, d, request, file)
		if err == nil {
			err = publish(file, path)
		}
		if err = errors.Join(err, file.Close()); err != nil {
			return errors.Join(err, removePartial(file.Name()))
		}
		return a.showBackup(path, s, asJSON)
	})
}

func markOf(path string, r *controlv1.BackupRequest) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := backup.Ends(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r.SinceId, r.SinceFirst, r.SinceLast, r.SinceChunks = m.ID[:], m.First, m.Last, m.Chunks
	return nil
}

// receive writes what the daemon sends. Without a summary at the end it is not
// whole.
func receive(ctx context.Context, d daemonClient, r *controlv1.BackupRequest, w io.Writer) (*controlv1.BackupSummary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(stalledAfter, func() {
		cancel(fmt.Errorf("the daemon sent nothing for %s; try again", stalledAfter))
	})
	defer watchdog.Stop()
	stream, err := d.daemon.Backup(ctx, r)
	for err == nil {
		var m *controlv1.BackupResponse
		if m, err = stream.Recv(); err != nil {
			break
		}
		watchdog.Reset(stalledAfter)
		if m.Summary != nil {
			return m.Summary, nil
		}
		_, err = w.Write(m.Data)
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the daemon ended the backup before it was whole; look into its log")
	}
	return nil, err
}

func (a *app) showBackup(path string, s *controlv1.BackupSummary, asJSON bool) error {
	if asJSON {
		j := backupJSON{
			File: path, ID: s.Id, Time: s.Time.AsTime(), Revision: s.Revision, Records: s.Records, Values: s.Values, Octets: s.Octets,
			Damaged: notNil(s.Damaged), Keyring: s.Keyring,
		}
		if s.Base != "" {
			j.Base = &s.Base
		}
		return a.printJSON(j)
	}
	a.printf("%s: %d records, as of revision %d; %d values in this file, %d octets.\n", line(path), s.Records, s.Revision, s.Values, s.Octets)
	for _, key := range s.Damaged {
		a.printf("warning: the record %q is damaged, and restore will not take it\n", line(key))
	}
	a.printf("The keyring is not in it, and without the keyring it is of no use: keep a copy of\n%s, on another medium than the backup.\n", line(s.Keyring))
	return nil
}

// absent returns an error if there is anything at path.
func absent(path string) error {
	_, err := os.Lstat(path)
	switch {
	case err == nil:
		return fmt.Errorf("%s is there already, and a backup overwrites nothing; choose another name", path)
	case errors.Is(err, os.ErrNotExist):
		return nil
	}
	return err
}

// createPartial makes and locks the file that becomes path. One that a backup
// which was killed left behind is removed first.
func createPartial(path string) (*os.File, error) {
	partial := path + ".partial"
	f, err := os.OpenFile(partial, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err == nil {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			err = os.Remove(partial)
		} else {
			err = fmt.Errorf("another backup writes %s; wait for it", partial)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	f, err = os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the backup cannot be written: %w", err)
	}
	err = errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), f.Chmod(0o600))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the backup cannot be written: %w", err), f.Close(), removePartial(partial))
	}
	return f, nil
}

// publish makes f durable and gives it its name, which nobody may have.
func publish(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("the backup cannot be written: %w", err)
	}
	err := unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not on this file system
		if err = absent(path); err == nil {
			err = os.Rename(f.Name(), path)
		}
	}
	if errors.Is(err, unix.EEXIST) {
		return absent(path)
	}
	if err != nil {
		return fmt.Errorf("the backup cannot be given its name: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func removePartial(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Backup writes a backup of the store to w.
func (d *daemon) Backup(ctx context.Context, r *controlv1.BackupRequest, w io.Writer) (*controlv1.BackupSummary, error) {
	if !d.backups.TryLock() {
		return nil, &core.Error{Op: "backup", Kind: core.KindConflict, Err: errors.New("another backup is being made; wait for it")}
	}
	defer d.backups.Unlock()
	var since *backup.Mark
	if len(r.SinceId) > 0 {
		since = &backup.Mark{First: r.SinceFirst, Last: r.SinceLast, Chunks: r.SinceChunks}
		if copy(since.ID[:], r.SinceId) != len(r.SinceId) {
			return nil, &core.Error{Op: "backup", Kind: core.KindInvalid, Err: errors.New("the id of the older backup is malformed")}
		}
	}
	if err := d.engine.Flush(ctx); err != nil {
		d.log.Warn("the backup lacks the last uses of some seconds", "err", err)
	}
	s, err := backup.Write(ctx, w, backup.Source{Store: d.store, Keys: d.keys, Now: time.Now, Begun: func(h backup.Header) error {
		return d.recordBackup(ctx, h)
	}}, since)
	if err != nil {
		return nil, backupError(err)
	}
	d.log.Info("a backup was made", "id", s.ID.String(), "revision", s.Revision, "records", s.Records)
	summary := &controlv1.BackupSummary{
		Id: s.ID.String(), Time: timestamppb.New(s.Time), Revision: uint64(s.Revision), Records: s.Records, Values: s.Values,
		Octets: s.Octets, Damaged: s.Damaged, Keyring: d.keyringPath(),
	}
	if !s.Complete() {
		summary.Base = s.Base.String()
	}
	return summary, nil
}

// recordBackup writes into the audit that somebody gets a backup.
func (d *daemon) recordBackup(ctx context.Context, h backup.Header) error {
	detail := "complete, " + h.ID.String()
	if !h.Complete() {
		detail = fmt.Sprintf("%s since %s", h.ID, h.Base)
	}
	return d.events.Record(core.Event{Kind: core.EventBackup, Actor: core.ActorOf(ctx), Detail: detail})
}

func (d *daemon) keyringPath() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.file.Keyring
}

// backupError gives an error of a backup its kind.
func backupError(err error) error {
	kind := core.KindUnavailable
	for _, fault := range []error{backup.ErrStore, backup.ErrNoBackup, backup.ErrNewer, backup.ErrDamaged, backup.ErrKeyring} {
		if errors.Is(err, fault) {
			kind = core.KindInvalid
		}
	}
	return &core.Error{Op: "backup", Kind: kind, Err: err}
}
