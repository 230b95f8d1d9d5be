package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/keywicket/keywicket/core/store"
)

// A mode is how the database is open. On a full disk Badger must not write
// tables: it would die of it, and not come up again.
type mode uint8

const (
	normal   mode = iota
	calm          // tables are not merged; batches that take access away are written
	readOnly      // there is no room to begin a log, or no table of the last one
)

// admit answers the requests of group that there is no room for, and returns
// the others.
func (c *committer) admit(group []*request) []*request {
	free, low := c.s.space.low(groupOctets(group))
	if c.s.mode != normal && !low {
		if c.makeWritable(); c.failed != nil {
			return group
		}
	}
	if c.s.mode == normal && !low {
		err := c.s.logs.reserve(groupOctets(group))
		if err == nil {
			return group
		}
		free, _, _ = statfs(c.s.dir)
		c.s.log.Warn("no room for the next log", "dir", c.s.dir, "err", err)
	}
	var revoking []*request
	for _, r := range group {
		if r.revokes() {
			revoking = append(revoking, r)
			continue
		}
		r.reply(0, c.s.space.fullError(free))
	}
	if len(revoking) == 0 {
		return nil
	}
	if err := c.reserve(groupOctets(revoking)); err != nil {
		for _, r := range revoking {
			r.reply(0, c.s.space.usedUpError(err))
		}
		return nil
	}
	return revoking
}

// reserve makes sure that size octets can be written although the disk is
// full, at the expense of the ballast.
func (c *committer) reserve(size int) error {
	if c.s.mode == readOnly {
		return errors.New("it was full when the store was opened")
	}
	err := c.s.logs.reserve(size)
	if err == nil && c.s.logs.fits(size) {
		return nil
	}
	if need := c.s.logs.needs(size); !c.s.space.have(need) {
		return errors.Join(err, fmt.Errorf("this needs %d MiB", need>>20+1))
	}
	return c.s.logs.reserve(size)
}

func groupOctets(group []*request) int {
	size := 256 // of the link, and the end of the transaction
	for _, r := range group {
		size += r.octets()
	}
	return size
}

// openRoom is what opening the store in dir needs at most: tables of all logs,
// the beginning of a new log, and Badger's own small files.
func openRoom(dir string) (int64, error) {
	octets, err := logsEnd(dir)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return tableRoom(octets) + 3<<20, nil
}

// chooseMode finds how the database can be opened in the room that there is.
func (s *Store) chooseMode() (mode, error) {
	if s.space.floor == 0 {
		return normal, nil
	}
	room, err := openRoom(s.dir)
	if err != nil {
		return normal, err
	}
	free, _, err := statfs(s.dir)
	switch {
	case err != nil:
		return normal, err
	case free >= max(s.space.floor, room+3*logRoom):
		return normal, nil
	case s.space.have(room):
		return calm, nil
	}
	return readOnly, nil
}

// openIn opens the database as m says.
func (s *Store) openIn(m mode) (err error) {
	if m != readOnly {
		err = removeEmpty(s.dir)
	} else if _, err = os.Lstat(filepath.Join(s.dir, badger.ManifestFilename)); err != nil {
		err = s.space.usedUpError(fmt.Errorf("a new store needs some: %w", err))
	}
	if err != nil {
		return err
	}
	if s.db, err = openDB(s.dir, s.log, m, s.space.floor); err != nil {
		return err
	}
	s.mode = m
	if m == readOnly {
		s.logs = nil
		return nil
	}
	if s.logs, err = newLogFiles(s.dir, s.space.freeNow); err != nil {
		return errors.Join(err, s.db.Close())
	}
	// Now rather than at the first write: others want the room, too.
	if err := s.logs.reserve(0); err != nil {
		s.log.Warn("no room for the logs", "dir", s.dir, "err", err)
	}
	return nil
}

// makeWritable opens the database anew in a better mode, when there is room for
// that. Reads wait meanwhile.
func (c *committer) makeWritable() {
	s := c.s
	if s.mode == normal || c.failed != nil {
		return
	}
	m, err := s.chooseMode()
	if err != nil || m >= s.mode {
		return
	}
	s.inside.Lock()
	defer s.inside.Unlock()
	if err := s.reopen(m); err != nil {
		s.gone = fmt.Errorf("%w: the store in %s could not be opened again after the disk was full; restart Keywicket: %w", store.ErrUnavailable, s.dir, err)
		c.fail(s.gone)
		return
	}
	s.log.Info("there is room: the store was opened anew", "dir", s.dir, "merges", m == normal)
}

// reopen needs inside.
func (s *Store) reopen(m mode) (err error) {
	defer recovered(&err, "opening the store again")
	if err := errors.Join(s.db.Close(), s.logs.close()); err != nil {
		return err
	}
	if err := s.openIn(m); err != nil {
		return err
	}
	last, err := s.lastRevision()
	if err == nil && uint64(last) != s.readable.Load() {
		err = lostError(s.dir, last, store.Revision(s.readable.Load()))
	}
	if err != nil {
		return err
	}
	s.db.SetDiscardTs(s.snapshots.oldest(uint64(last)))
	return restrictFiles(s.dir)
}

// closeDB closes the database, for which Badger writes a table of the last log.
// Without room for it Badger would not return, or end the process; so it is left
// open then: the logs hold everything, and the next Open reads them.
func (s *Store) closeDB() error {
	if s.gone != nil {
		return nil
	}
	if s.mode != readOnly && s.space.floor != 0 {
		octets, err := logsEnd(s.dir)
		if err != nil || !s.space.have(tableRoom(octets)+1<<20) {
			s.log.Warn("the disk is full: the store is left as it is and is read from its log next time", "dir", s.dir)
			return nil
		}
	}
	return s.db.Close()
}
