//go:build unix

package audit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/keywicket/keywicket/core"
)

const (
	formatVersion = 1

	// outOctets is how much is written with one call.
	outOctets = 256 << 10

	// spareOctets is the most that is kept for the next batch, unless the last
	// one needed more.
	spareOctets = 1 << 20

	// keptOctets is how much of the end of a file stays in memory at least
	// until more is forced to the disk.
	keptOctets = 1 << 20

	// beginOctets is how much may wait for the next time that lines are forced
	// to the disk. Whoever records must not fill the buffer until that is done.
	beginOctets = 4 << 20
)

// A writer puts lines into files. What it could not write it keeps, to the
// octet, and goes on there at the next try. It is for one goroutine.
type writer struct {
	opt   Options
	dir   *os.File // locked
	chain chain

	file   file
	number uint64
	size   int64 // octets in the file
	begun  int64 // up to where the system was told to begin to write to the disk
	cached int64 // from where on they may be in memory
	opened time.Time
	events int // in the file, written or in out, without those of the log itself

	bodies []byte // taken, not yet made lines
	at     int    // how far in bodies
	out    []byte // lines, not yet written or not whole
	inOut  int    // events in out
	inSize int    // octets of their bodies

	doneEvents, doneOctets int // since the last progress

	noted    head   // what the head says
	synced   uint64 // seq
	lastSync time.Time
	doomed   []uint64 // files that an audit-deleted line in out or before it names
	next     bool     // the file is to be followed by another, whatever its size
}

// take takes bodies over and returns an empty slice in exchange.
func (w *writer) take(bodies []byte) []byte {
	if w.at < len(w.bodies) {
		w.bodies = append(w.bodies[:copy(w.bodies, w.bodies[w.at:])], bodies...)
		w.at = 0
		return bodies[:0]
	}
	free := w.bodies[:0]
	w.bodies, w.at = bodies, 0
	if cap(free) > max(spareOctets, 4*len(bodies)) {
		return nil
	}
	return free
}

// progress returns how many events, and octets of bodies, were written since
// the last call.
func (w *writer) progress() (events, octets int) {
	events, octets = w.doneEvents, w.doneOctets
	w.doneEvents, w.doneOctets = 0, 0
	return events, octets
}

// write writes everything that was taken, and the head.
func (w *writer) write() error {
	for {
		if err := w.drain(); err != nil {
			return err
		}
		if w.at == len(w.bodies) {
			break
		}
		old := w.opt.Now().Sub(w.opened) >= w.opt.MaxAge
		for w.at < len(w.bodies) && len(w.out) < outOctets {
			end := w.at + bytes.IndexByte(w.bodies[w.at:], '\n')
			body := w.bodies[w.at:end]
			if w.full(len(body), old) {
				if len(w.out) > 0 {
					break
				}
				if err := w.follow(""); err != nil {
					return err
				}
				old = false
			}
			w.event(body)
			w.at = end + 1
		}
	}
	if time.Since(w.lastSync) >= syncEvery && w.synced < w.chain.seq {
		if err := w.sync(); err != nil {
			return err
		}
	}
	return w.note(false)
}

// event makes a line of the body of a recorded event.
func (w *writer) event(body []byte) {
	start := len(w.out)
	w.out = appendEnd(append(w.out, body...), start, &w.chain)
	w.events++
	w.inOut++
	w.inSize += len(body) + 1
}

// own makes a line of an event of the log itself.
func (w *writer) own(e core.Event, m FileMark) {
	start := len(w.out)
	w.out = appendEnd(appendMark(appendBody(w.out, &e, w.opt.Now(), new(dates)), m), start, &w.chain)
}

// full says whether a line with that body goes to another file than this one,
// which may be old.
func (w *writer) full(body int, old bool) bool {
	line := int64(body + len(`,"seq":18446744073709551615`) + macTail + 1)
	return w.next || w.events > 0 &&
		(old || w.size+int64(len(w.out))+line > w.opt.MaxBytes)
}

// drain writes the lines in out, and then removes what they doom.
func (w *writer) drain() error {
	for len(w.out) > 0 {
		n, err := w.file.Write(w.out)
		w.size += int64(n)
		w.out = w.out[:copy(w.out, w.out[n:])]
		if err != nil {
			return err
		}
	}
	if w.size-w.begun >= beginOctets {
		beginWriting(w.file, w.begun, w.size-w.begun)
		w.begun = w.size
	}
	w.doneEvents += w.inOut
	w.doneOctets += w.inSize
	w.inOut, w.inSize = 0, 0
	return w.remove()
}

// sync forces the lines to the disk. out is empty.
func (w *writer) sync() error {
	if err := w.file.Sync(); err != nil {
		return err
	}
	w.synced, w.lastSync = w.chain.seq, time.Now()
	w.look()
	w.release()
	return nil
}

// release gives the memory back in which the system keeps what is on the disk
// by now. What is written next is put there: memory that was not used for long
// takes longer to write to than all else that is done for a line, and a log
// that is seldom read must not push the store out of memory.
func (w *writer) release() {
	if w.size-w.cached < keptOctets {
		return
	}
	dropCache(w.file, w.cached, w.size-w.cached)
	w.cached = w.size &^ (keptOctets - 1) // the last piece of memory is not full yet, and is kept
}

// untilSync returns when lines are to be forced to the disk, if there are any.
func (w *writer) untilSync() (time.Duration, bool) {
	return max(time.Millisecond, syncEvery-time.Since(w.lastSync)), w.synced < w.chain.seq
}

// look checks that the file is still the one in the directory. One that is not
// is left to Verify; what follows goes where it can be found.
func (w *writer) look() {
	mine, err := w.file.Stat()
	if err != nil {
		return
	}
	path := filepath.Join(w.opt.Dir, fileName(w.number))
	named, err := os.Lstat(path)
	if (err == nil || errors.Is(err, fs.ErrNotExist)) && !w.next &&
		(err != nil || !os.SameFile(mine, named) || mine.Size() != w.size) {
		w.opt.Log.Error("a file of the audit log was removed, replaced or changed", "file", path)
		w.next = true
	}
}

// note writes the head, if it does not say yet how far the log is. out is empty.
func (w *writer) note(force bool) error {
	if w.noted.Seq == w.chain.seq && w.noted.File == w.number && w.noted.Synced == w.synced && !force {
		return nil
	}
	h := head{Version: formatVersion, File: w.number, Seq: w.chain.seq, Last: w.chain.last.String(), Synced: w.synced}
	if err := writeHead(w.opt.open, w.opt.Dir, h.marshal(w.chain.key), force); err != nil {
		return err
	}
	w.noted = h
	return nil
}

// follow ends the file and begins the next one. broken says why its chain is
// not whole before that, and is empty if it is. out is empty.
func (w *writer) follow(broken string) error {
	if w.file != nil {
		if err := w.sync(); err != nil {
			return err
		}
		if err := w.note(true); err != nil {
			return err
		}
	}
	path := filepath.Join(w.opt.Dir, fileName(w.number+1))
	f, err := w.opt.open(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	if w.file != nil {
		w.tellEnd()
		if err := w.file.Close(); err != nil { // it was synced, so nothing is lost
			w.opt.Log.Warn("a file of the audit log could not be closed", "err", err)
		}
	}
	w.begin(f, broken)
	return w.dir.Sync()
}

// begin makes f, which is empty, the file that lines go to.
func (w *writer) begin(f file, broken string) {
	m := FileMark{Version: formatVersion, Number: w.number + 1, Key: w.chain.key.id, Broken: broken}
	if w.number > 0 {
		m.Previous = &Link{Number: w.number, MAC: hex.EncodeToString(w.chain.last[:])}
	}
	w.file, w.number, w.size, w.begun, w.cached, w.events, w.next = f, w.number+1, 0, 0, 0, 0, false
	w.opened = w.opt.Now()
	w.own(core.Event{Kind: EventOpened}, m)
	w.doom()
}

// tellEnd leaves a trace of the end of a file outside of the directory.
func (w *writer) tellEnd() {
	w.opt.Log.Info("a file of the audit log ends", "file", fileName(w.number), "seq", w.chain.seq, "mac", w.chain.last.String())
}

// doom records which files are too old to be kept. They are removed once the
// lines that say so are written.
func (w *writer) doom() {
	if w.opt.Keep == 0 {
		return
	}
	numbers, err := listFiles(w.opt.Dir)
	if err != nil {
		w.opt.Log.Warn("old files of the audit log could not be listed", "err", err)
		return
	}
	// Whoever puts in files of higher numbers does not make us remove ours.
	numbers = slices.DeleteFunc(numbers, func(n uint64) bool { return n > w.number })
	for len(numbers) > w.opt.Keep {
		w.own(core.Event{Kind: EventDeleted, Detail: fileName(numbers[0])}, FileMark{Number: numbers[0]})
		w.doomed = append(w.doomed, numbers[0])
		numbers = numbers[1:]
	}
}

// remove removes the files that are doomed. out is empty.
func (w *writer) remove() error {
	if len(w.doomed) == 0 {
		return nil
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	w.synced, w.lastSync = w.chain.seq, time.Now()
	if err := w.note(true); err != nil {
		return err
	}
	for _, number := range w.doomed {
		err := os.Remove(filepath.Join(w.opt.Dir, fileName(number)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.opt.Log.Warn("an old file of the audit log could not be removed", "err", err)
		}
	}
	w.doomed = nil
	return nil
}

// close ends the file, if everything was written.
func (w *writer) close() error {
	var errs []error
	if len(w.out) == 0 {
		errs = append(errs, w.sync(), w.note(true))
		w.tellEnd()
	}
	errs = append(errs, w.file.Close(), w.dir.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("end the audit log: %w", err)
	}
	return nil
}
