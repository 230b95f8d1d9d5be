//go:build unix

package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keywicket/keywicket/core"
)

// resume returns a writer that goes on where the log in opt.Dir ends. It has
// written what it has to say about what it found.
func resume(opt Options) (*writer, error) {
	keys, err := newSigners(append([][]byte{opt.Key}, opt.OldKeys...))
	if err != nil {
		return nil, err
	}
	dir, err := lockDir(opt.Dir)
	if err != nil {
		return nil, err
	}
	w := &writer{opt: opt, dir: dir, chain: chain{key: keys[0]}}
	if err := w.resume(keys); err != nil {
		if w.file != nil {
			err = errors.Join(err, w.file.Close())
		}
		return nil, errors.Join(err, dir.Close())
	}
	return w, nil
}

func (w *writer) resume(keys []*signer) error {
	numbers, err := listFiles(w.opt.Dir)
	if err != nil {
		return err
	}
	v := newVerifier(w.opt.Dir, keys, 0)
	v.resuming = true
	if len(numbers) == 0 && w.isNew(v) {
		// The head comes before the first file, so that no log is without one.
		if err := w.note(true); err != nil {
			return err
		}
		return w.start(w.follow(""))
	}
	if err := v.run(firstToCheck(numbers, v.head)); err != nil {
		return err
	}
	w.chain.last, w.chain.seq, w.number = v.chain.last, v.chain.seq, v.number
	w.synced, w.noted = v.head.Synced, v.head
	switch {
	case len(v.report.Faults) > 0:
		return w.breakOff(v)
	case v.line == 0: // the crash came before the first line was whole
		return w.restart(v)
	}
	if err := w.reopen(v); err != nil {
		return err
	}
	if v.chain.key != w.chain.key {
		err = w.follow("")
	} else {
		w.doom()
	}
	w.tellTorn(v.number, v.torn)
	return w.start(err)
}

// isNew says that there never was a log: the head is missing, or was begun and
// nothing after it.
func (w *writer) isNew(v *verifier) bool {
	if errors.Is(v.headErr, errNoHead) || v.headErr == nil && v.head.File == 0 {
		return true
	}
	info, err := os.Lstat(filepath.Join(w.opt.Dir, headName))
	return err == nil && info.Mode().IsRegular() && info.Size() == 0
}

// firstToCheck returns the file from which the end of the log is checked: the
// one that the head names, or the newest one before the end that is left.
func firstToCheck(numbers []uint64, h head) uint64 {
	if len(numbers) == 0 {
		return 1
	}
	first := numbers[0]
	for _, number := range numbers {
		if number <= h.File || h.File == 0 {
			first = number
		}
	}
	return first
}

// start writes what was put down so far.
func (w *writer) start(err error) error {
	if err == nil {
		err = w.drain()
	}
	if err == nil {
		err = w.sync()
	}
	if err == nil {
		err = w.note(true)
	}
	return err
}

// breakOff begins another file after an end that is not what it should be.
func (w *writer) breakOff(v *verifier) error {
	why := faultsOf(v.report.Faults)
	w.opt.Log.Error("the audit log was damaged or changed; another file is begun", "dir", w.opt.Dir, "faults", why)
	if v.headErr == nil && v.head.Seq > w.chain.seq {
		// Lines are gone; their numbers are not given a second time.
		w.chain.seq = v.head.Seq
	}
	w.number = max(w.number, v.head.File)
	return w.start(w.follow("chain broken: " + why))
}

// reopen goes on in the file that was read last.
func (w *writer) reopen(v *verifier) error {
	path := filepath.Join(w.opt.Dir, fileName(v.number))
	if v.torn > 0 {
		if err := os.Truncate(path, v.size); err != nil {
			return err
		}
	}
	f, err := w.opt.open(path, os.O_WRONLY|os.O_APPEND, fileMode)
	if err != nil {
		return err
	}
	w.file, w.size, w.begun, w.cached, w.opened, w.events = f, v.size, v.size, v.size, v.opened, v.events
	return nil
}

// restart writes the first line of a file that a crash left without a whole one.
func (w *writer) restart(v *verifier) error {
	if err := w.reopen(v); err != nil {
		return err
	}
	f := w.file
	w.number-- // begin counts it again
	w.begin(f, "")
	w.tellTorn(v.number, v.torn)
	return w.start(nil)
}

// tellTorn records that an unfinished line was cut off.
func (w *writer) tellTorn(number uint64, octets int64) {
	if octets == 0 {
		return
	}
	w.opt.Log.Warn("an unfinished line was cut off the audit log", "file", fileName(number), "octets", octets)
	w.own(core.Event{Kind: EventTorn, Detail: fmt.Sprintf("%d octets of an unfinished line", octets)}, FileMark{Number: number, Torn: octets})
}
