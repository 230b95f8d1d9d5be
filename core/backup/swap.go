package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Run makes the new store and puts it into its place. suspend suspends every
// app password of Report.Unsure. After an error, and after a kill at any
// moment, DataDir/store is the old store or the new one.
//
//  1. DataDir/store.restoring.unfinished says that what is in store.restoring
//     is of no use; it is there, and locked, while that is filled
//  2. the new store is filled, closed, and its mark removed
//  3. one rename exchanges store and store.restoring
//  4. store.restoring, which is the old one now, gets the name that it keeps
func (r *Restore) Run(ctx context.Context, suspend bool) (err error) {
	mark, err := r.begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mark.Close()) }()
	made := false
	defer func() {
		if !made { // the old store is in its place still
			err = errors.Join(err, os.RemoveAll(r.path(restoringDir)), os.RemoveAll(r.path(unfinished)))
		}
	}()
	if err := r.finishStep("marked"); err != nil {
		return err
	}
	if err := r.build(ctx, suspend); err != nil {
		return err
	}
	if r.opt.Record != nil {
		if err := r.opt.Record(r.report); err != nil {
			return fmt.Errorf("nothing was restored, because the audit cannot be written: %w", err)
		}
	}
	if err := r.finishStep("recorded"); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	made, err = r.exchange()
	return err
}

// begin clears what an interrupted restore left, and marks the beginning of
// this one. The mark is locked, so that there is one at a time.
func (r *Restore) begin() (*os.File, error) {
	path := r.path(unfinished)
	_, err := os.Lstat(path)
	marked := err == nil
	mark, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data_dir must be writable for the user who restores: %w", err)
	}
	if err := unix.Flock(int(mark.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(errors.New("another restore is running; wait for it"), mark.Close())
	}
	if err := r.clear(marked); err != nil {
		return nil, errors.Join(err, mark.Close())
	}
	if err := errors.Join(r.tryExchange(), syncDir(r.opt.DataDir)); err != nil {
		return nil, errors.Join(err, mark.Close(), os.Remove(path))
	}
	return mark, nil
}

// clear makes way for store.restoring. One that is not marked as unfinished is
// whole: the old store of a restore that was killed right after the exchange,
// or a new one from right before. It is not for us to remove that.
func (r *Restore) clear(marked bool) error {
	from := r.path(restoringDir)
	if marked {
		return os.RemoveAll(from)
	}
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	to := r.path(replacedDir + "interrupted-" + r.opt.Now().UTC().Format(replacedStamp))
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("what an interrupted restore left: %w", err)
	}
	return nil
}

// tryExchange finds out whether directories can be exchanged here.
func (r *Restore) tryExchange() (err error) {
	dir := r.path(restoringDir + ".try")
	if err := os.RemoveAll(dir); err != nil || r.report.Kept == "" { // of one that was killed
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(a, 0o700), os.Mkdir(b, 0o700)); err != nil {
		return err
	}
	if err := exchange(a, b); err != nil {
		return fmt.Errorf("the file system of %s cannot exchange two directories in one step (%w): use another for data_dir, or move %s away yourself and restore then", r.opt.DataDir, err, r.path(storeDir))
	}
	return r.finishStep("tried")
}

// build makes the new store.
func (r *Restore) build(ctx context.Context, suspend bool) error {
	dir := r.path(restoringDir)
	s, err := r.opt.Open(dir)
	if err != nil {
		return fmt.Errorf("make the new store: %w", err)
	}
	err = r.fill(ctx, s, suspend)
	if err = errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("make the new store: %w", err)
	}
	if err := r.giveAway(dir); err != nil {
		return err
	}
	if err := syncTree(dir); err != nil {
		return err
	}
	return r.finishStep("built")
}

// exchange puts the new store into its place. made says that it is there.
func (r *Restore) exchange() (made bool, err error) {
	if err := os.Remove(r.path(unfinished)); err != nil {
		return false, err
	}
	if err := errors.Join(syncDir(r.opt.DataDir), r.finishStep("unmarked")); err != nil {
		return false, err
	}
	current, fresh := r.path(storeDir), r.path(restoringDir)
	if r.report.Kept == "" {
		if err := os.Remove(current); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty one
			return false, fmt.Errorf("%w: %w", ErrBusy, err)
		}
		if err := unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, current, unix.RENAME_NOREPLACE); err != nil {
			return false, fmt.Errorf("%w: %s was made meanwhile: %w", ErrBusy, current, err)
		}
		return true, errors.Join(syncDir(r.opt.DataDir), r.finishStep("exchanged"))
	}
	if err := r.closeOld(); err != nil {
		return false, err
	}
	if r.lock == nil {
		if r.lock, err = r.opt.Lock(current); err != nil {
			return false, fmt.Errorf("%w: %w", ErrBusy, err)
		}
	}
	if err := exchange(current, fresh); err != nil {
		return false, fmt.Errorf("exchange %s: %w", current, err)
	}
	if err := errors.Join(syncDir(r.opt.DataDir), r.finishStep("exchanged")); err != nil {
		return true, err
	}
	if err := os.Rename(fresh, r.report.Kept); err != nil {
		return true, fmt.Errorf("the new store is in its place, and the old one in %s: %w", fresh, err)
	}
	return true, errors.Join(syncDir(r.opt.DataDir), r.finishStep("kept"))
}

func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

// giveAway lets a store belong to whom the data directory does, where root
// restores for the user of the service.
func (r *Restore) giveAway(dir string) error {
	var owner unix.Stat_t
	if err := unix.Stat(r.opt.DataDir, &owner); err != nil {
		return err
	}
	if os.Geteuid() != 0 || owner.Uid == 0 && owner.Gid == 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}

// syncTree makes a directory and the files in it durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncDir(path)
	})
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
