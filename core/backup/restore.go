package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

// A Store is a store on disk.
type Store interface {
	store.Store
	store.Snapshotter
	io.Closer
}

// Options say what is restored, and where.
type Options struct {
	Paths    []string // a complete backup, then incremental ones
	LeaveOut bool     // records that are damaged, instead of an error
	DataDir  string   // the store is in DataDir/store
	AuditDir string
	Keys     *keyring.Keyring

	// Open opens the store in a directory, or makes one where there is none.
	// Lock keeps others from the store in a directory, whatever state it is
	// in, until it is closed. Both fail with store.ErrUnavailable if another
	// process has it.
	Open func(dir string) (Store, error)
	Lock func(dir string) (io.Closer, error)

	// Spare is how many octets of the disk the store wants to stay free; of a
	// small disk it is a quarter.
	Spare uint64

	// Record is called once, when all is ready and nothing is exchanged yet;
	// with its error nothing is.
	Record func(Report) error

	Now func() time.Time

	step func(name string) error // of tests: after each step
}

// A Report says what a restore does.
type Report struct {
	Backup       Header // the newest
	Files        int
	Records      int
	Accounts     int
	AppPasswords int
	Damaged      []string // keys of records that are left out

	// Of the store that is replaced: where it will be kept, empty if there is
	// none; and why it does not say what was taken away since, or why not for
	// all accounts.
	Kept   string
	Untold string

	// Where the audit was needed: why it was of no help, or when it ends. What
	// happened in the second before the daemon was killed can be missing in it.
	AuditSays  string
	AuditUntil time.Time

	Away   []Item // not brought back, because they were taken away since
	Later  []Item // made after the backup, so that they are lost
	Unsure []Item // could have been taken away since, and nothing tells
}

// A Restore is ready to run. Close it.
type Restore struct {
	opt    Options
	set    *Set
	old    Store     // nil: there is none, or it is damaged
	lock   io.Closer // on one that is damaged
	report Report
	plan   *merger
}

const (
	storeDir      = "store"
	restoringDir  = "store.restoring"
	unfinished    = "store.restoring.unfinished"
	replacedDir   = "store.replaced-"
	replacedStamp = "20060102-150405"

	// slack is for what a store needs beside its values.
	slack = 32 << 20
)

// ErrBusy: the store is in use.
var ErrBusy = errors.New("the store is in use; stop the daemon first")

// Prepare checks everything that can be checked, and changes nothing.
func Prepare(ctx context.Context, opt Options) (_ *Restore, err error) {
	r := &Restore{opt: opt}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.set, err = Check(ctx, opt.Paths, opt.Keys, opt.LeaveOut); err != nil {
		return nil, err
	}
	if info, err := os.Stat(opt.DataDir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("data_dir %s is no directory that can be used; is its disk mounted? %w", opt.DataDir, err)
	}
	if err := r.checkRoom(); err != nil {
		return nil, err
	}
	if err := r.openOld(); err != nil {
		return nil, err
	}
	return r, r.makePlan(ctx)
}

// Report says what Run will do.
func (r *Restore) Report() Report { return r.report }

// Close gives free what Prepare took.
func (r *Restore) Close() error {
	var err error
	if r.set != nil {
		err = r.set.Close()
	}
	err = errors.Join(err, r.closeOld())
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
		r.lock = nil
	}
	return err
}

func (r *Restore) closeOld() error {
	if r.old == nil {
		return nil
	}
	old := r.old
	r.old = nil
	return errors.Join(old.Close(), r.giveAway(r.path(storeDir))) // to open it may make files
}

func (r *Restore) path(name string) string { return filepath.Join(r.opt.DataDir, name) }

// checkRoom makes sure that the new store has room beside the old one: twice
// the values, for Badger writes them into a log first.
func (r *Restore) checkRoom() error {
	var s unix.Statfs_t
	if err := unix.Statfs(r.opt.DataDir, &s); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	free, total := s.Bavail*uint64(s.Bsize), s.Blocks*uint64(s.Bsize)
	need := 2*r.set.Octets + min(r.opt.Spare, total/4) + slack
	if free < need {
		return fmt.Errorf("the disk of %s has %d MiB free, and %d are needed; free some", r.opt.DataDir, free>>20, (need>>20)+1)
	}
	return nil
}

// openOld opens the store that will be replaced, which nobody may have open.
func (r *Restore) openOld() error {
	dir := r.path(storeDir)
	names, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		r.report.Untold = "there is no store to be replaced"
		return nil
	case err != nil:
		return err
	case len(names) == 0:
		r.report.Untold = "the store that is replaced is empty"
		return nil
	}
	r.report.Kept = r.path(replacedDir + r.opt.Now().UTC().Format(replacedStamp))
	if _, err := os.Lstat(r.report.Kept); err == nil {
		return fmt.Errorf("%s is there already; wait a second", r.report.Kept)
	}
	old, err := r.opt.Open(dir)
	if err == nil {
		r.old = old
		return nil
	}
	if !errors.Is(err, store.ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	r.report.Untold = "the store that is replaced is damaged"
	if r.lock, err = r.opt.Lock(dir); err != nil {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return r.giveAway(dir)
}

// makePlan goes through all accounts, and asks the audit where the replaced
// store does not tell.
func (r *Restore) makePlan(ctx context.Context) error {
	var later *replaced
	if r.old != nil {
		var why string
		var err error
		if later, why, err = laterState(ctx, r.old, r.opt.Keys, r.set.Newest()); err != nil {
			return err
		}
		if why != "" {
			r.report.Untold = "the store that is replaced does not help: " + why
		}
	}
	r.plan = r.merger(later, nil)
	if err := r.tryAccounts(ctx); err != nil {
		return err
	}
	if r.plan.silent > 0 {
		if r.report.Untold == "" {
			r.report.Untold = fmt.Sprintf("the store that is replaced lacks %d accounts", r.plan.silent)
		}
		told, until, why, err := readHistory(ctx, r.opt.AuditDir, r.opt.Keys, r.set.Newest().Time)
		if err != nil {
			return err
		}
		r.report.AuditSays, r.report.AuditUntil = why, until
		if told != nil {
			r.plan = r.merger(later, told)
			if err := r.tryAccounts(ctx); err != nil {
				return err
			}
		}
	}
	p := &r.report
	p.Backup, p.Files, p.Records, p.Damaged = r.set.Newest(), len(r.set.Headers), r.set.Records, r.set.Damaged
	p.Accounts, p.AppPasswords = r.plan.accounts, r.plan.active
	p.Away, p.Later, p.Unsure = r.plan.away, r.plan.later, r.plan.unsure
	return nil
}

func (r *Restore) merger(later *replaced, told history) *merger {
	return &merger{set: r.set, replaced: later, history: told, now: r.opt.Now(), gone: make(map[string]bool)}
}

// tryAccounts lets the plan see every account, and keeps nothing.
func (r *Restore) tryAccounts(ctx context.Context) error {
	return r.set.each(ctx, func(key string, sealed []byte) error {
		if !strings.HasPrefix(key, record.PrefixAccount) {
			return nil
		}
		_, err := r.plan.merge(ctx, key, sealed)
		return err
	})
}
