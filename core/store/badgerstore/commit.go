package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/keywicket/keywicket/core/store"
)

// A committer is the only writer. Apply hands it a request; it checks the
// demands against the current state, writes, syncs, publishes and answers.
//
// Its unit is a group: batches that become one synced transaction. Today take
// returns groups of one.
type committer struct {
	s        *Store
	requests chan *request
	stop     chan struct{}
	stopOnce sync.Once
	done     chan struct{} // closed when run has returned

	// Of run alone:
	last   store.Revision // given out last
	failed error          // of the first transaction that failed, see commit
	logs   *logFiles
}

// A request is a batch that waits for its answer.
type request struct {
	ctx    context.Context
	batch  store.Batch
	answer chan answer // has room for one, so that run never waits for the caller
}

type answer struct {
	revision store.Revision
	err      error
}

func newCommitter(s *Store, last store.Revision) (*committer, error) {
	logs, err := newLogFiles(s.dir)
	if err != nil {
		return nil, err
	}
	c := &committer{
		s: s, last: last, logs: logs,
		requests: make(chan *request),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	go c.run()
	return c, nil
}

// close refuses what waits and returns when run has.
func (c *committer) close() {
	c.stopOnce.Do(func() { close(c.stop) })
	<-c.done
}

// apply is Store.Apply for a valid batch. The committer keeps b until it has
// answered, and the caller may not wait for that: so it gets a copy.
func (c *committer) apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	r := &request{ctx: ctx, batch: cloneBatch(b), answer: make(chan answer, 1)}
	select {
	case c.requests <- r:
	case <-c.stop:
		return 0, errClosed()
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: waiting to write: %w", store.ErrUnavailable, ctx.Err())
	}
	select {
	case a := <-r.answer: // comes, for run answers what it has taken
		return a.revision, a.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: whether this was written is not known: %w", store.ErrUnavailable, ctx.Err())
	}
}

func (c *committer) run() {
	defer close(c.done)
	for {
		group, ok := c.take()
		if !ok {
			return
		}
		c.commit(group)
	}
}

// take waits for the next group.
func (c *committer) take() (group []*request, ok bool) {
	select {
	case r := <-c.requests:
		return []*request{r}, true
	case <-c.stop:
		return nil, false
	}
}

// commit answers every request of group.
//
// When a transaction fails, what is on disk is not known until the store is
// opened anew: the logs may hold it or not. Reads go on at the state before it
// and all writes are refused.
func (c *committer) commit(group []*request) {
	if c.failed == nil {
		if err := c.write(group); err != nil {
			c.failed = fmt.Errorf("%w: a write to %s failed; free some space or replace the disk, then restart: %w", store.ErrUnavailable, c.s.dir, err)
			c.s.log.Error("the store refuses writes", "dir", c.s.dir, "err", c.failed)
		}
	}
	if c.failed != nil {
		for _, r := range group {
			r.reply(0, c.failed)
		}
	}
}

func (r *request) reply(revision store.Revision, err error) {
	select {
	case r.answer <- answer{revision, err}:
	default: // was answered
	}
}

// write makes one transaction of those batches of group whose demands hold,
// and answers the others at once. After an error nothing is known.
func (c *committer) write(group []*request) (err error) {
	defer recovered(&err, "writing")
	txn := c.s.db.NewTransactionAt(c.s.readable.Load(), true)
	defer txn.Discard()
	before, revisions := c.last, make([]store.Revision, len(group))
	var events []store.Event
	for i, r := range group {
		changed, err := stage(txn, r, c.last+1)
		if err != nil {
			if errors.Is(err, errStaged) {
				return err
			}
			c.s.note(err)
			r.reply(0, err)
			continue
		}
		c.last++
		revisions[i] = c.last
		events = append(events, changed...)
	}
	if c.last == before {
		return nil
	}
	if err := txn.Set([]byte(lastKey), link(before, c.last)); err != nil {
		return err
	}
	if err := txn.CommitAt(uint64(c.last), nil); err != nil {
		return err
	}
	if err := c.rotate(); err != nil {
		return err
	}
	if err := c.s.ack.write(c.last); err != nil {
		return err
	}
	c.s.readable.Store(uint64(c.last))
	c.s.hub.Publish(events)
	for i, r := range group {
		if revisions[i] != 0 {
			r.reply(revisions[i], nil)
		}
	}
	return nil
}

// rotate takes note of Badger having begun a new log. Badger syncs the log but
// not the directory that names it, and obeys the umask.
func (c *committer) rotate() error {
	rotated, err := c.logs.rotated()
	if err != nil || !rotated {
		return err
	}
	if err := errors.Join(restrictFiles(c.s.dir), syncDir(c.s.dir), c.s.ack.sync()); err != nil {
		return err
	}
	// No read is under way while this is held, and later ones are at readable
	// or above, or of a snapshot: older versions are of no more use.
	c.s.inside.Lock()
	c.s.db.SetDiscardTs(c.s.snapshots.oldest(c.s.readable.Load()))
	c.s.inside.Unlock()
	return nil
}
