package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/keywicket/keywicket/core/store"
)

// A committer is the only writer. Apply hands it a request; it checks the
// demands against the current state, writes, syncs, publishes and answers.
//
// Its unit is a group: the batches that wait when the one before is on disk
// become one synced transaction. So under load many share a sync, and a writer
// that is alone waits for nobody.
type committer struct {
	s        *Store
	requests chan *request // senders wait in it in the order of their coming
	roomy    chan struct{} // the keeper saw room again
	stop     chan struct{}
	stopOnce sync.Once
	done     chan struct{} // closed when run has returned

	// Of run alone:
	last   store.Revision  // given out last
	staged map[string]bool // keys that the transaction at hand writes
	failed error           // of the first transaction that failed, see commit
	held   *request        // taken, and too large for the group before; the next begins with it
}

// maxGroup is how many octets a group may add to the log and the memtable,
// counted as by request.octets. Badger refuses a transaction of 15 % of
// memTable, which is a little more.
const maxGroup = 1200 << 10

// A request is a batch that waits for its answer.
type request struct {
	ctx    context.Context
	batch  store.Batch // of framedBatch
	answer chan answer // has room for one, so that run never waits for the caller
}

// octets is at least what the batch adds to a log, and to a memtable beside
// the nodes of its skip list.
func (r *request) octets() int {
	size := 0
	for _, op := range r.batch {
		size += len(op.Key) + len(op.Value) + 96
	}
	return size
}

// revokes says whether the batch takes access away.
func (r *request) revokes() bool {
	return slices.ContainsFunc(r.batch, func(op store.Op) bool { return op.Revokes })
}

type answer struct {
	revision store.Revision
	err      error
}

func newCommitter(s *Store, last store.Revision) *committer {
	c := &committer{
		s: s, last: last, staged: make(map[string]bool),
		requests: make(chan *request),
		roomy:    make(chan struct{}, 1),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	go c.run()
	return c
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
	r := &request{ctx: ctx, batch: framedBatch(b), answer: make(chan answer, 1)}
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

// take waits for the next group: a first request, and whatever waits behind it
// and fits. Nobody is overtaken. Also what it held back gets into a group before
// take gives up.
func (c *committer) take() (group []*request, ok bool) {
	first := c.held
	c.held = nil
	for first == nil {
		select {
		case first = <-c.requests:
		case <-c.roomy:
			c.makeWritable()
		case <-c.stop:
			return nil, false
		}
	}
	group, size := []*request{first}, first.octets()
	for {
		select {
		case r := <-c.requests:
			if size += r.octets(); size > maxGroup {
				c.held = r
				return group, true
			}
			group = append(group, r)
		default:
			return group, true
		}
	}
}

// commit answers every request of group.
//
// When a transaction fails, what is on disk is not known until the store is
// opened anew: the logs may hold it or not. Reads go on at the state before it
// and all writes are refused.
func (c *committer) commit(group []*request) {
	if c.failed == nil {
		group = c.admit(group)
	}
	if c.failed == nil {
		if err := c.writeEach(group); err != nil {
			c.fail(fmt.Errorf("%w: a write to %s failed; free some space or replace the disk, then restart: %w", store.ErrUnavailable, c.s.dir, err))
		}
	}
	if c.failed != nil {
		for _, r := range group {
			r.reply(0, c.failed)
		}
	}
}

// fail makes err the answer to every write from now on.
func (c *committer) fail(err error) {
	c.failed = err
	c.s.refusing.Store(&err)
	c.s.log.Error("the store refuses writes", "dir", c.s.dir, "err", err)
}

// writeEach is write, and where Badger does not take one of the batches into
// its transaction, write for each of them alone: the others shall not suffer.
func (c *committer) writeEach(group []*request) error {
	err := c.write(group)
	if !errors.Is(err, errStaged) {
		return err
	}
	for _, r := range group {
		err := c.write([]*request{r})
		if errors.Is(err, errStaged) { // the transaction was dropped, nothing was written
			r.reply(0, fmt.Errorf("%w: the database does not take this batch: %w", store.ErrUnavailable, err))
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (r *request) reply(revision store.Revision, err error) {
	select {
	case r.answer <- answer{revision, err}:
	default: // was answered
	}
}

// write makes one transaction of those batches of group whose demands hold,
// and answers the others at once. After errStaged nothing has happened, but
// that some may have been answered; after another error nothing is known.
//
// A batch sees those before it in the group. If one of those is not written in
// the end, neither is this one: nobody was told of either.
func (c *committer) write(group []*request) (err error) {
	defer recovered(&err, "writing")
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // tables are mapped files
	txn := c.s.db.NewTransactionAt(c.s.readable.Load(), true)
	defer txn.Discard()
	clear(c.staged)
	last, revisions := c.last, make([]store.Revision, len(group))
	refused := make([]error, len(group))
	var events []store.Event
	for i, r := range group {
		changed, err := c.stage(txn, r, last+1)
		if errors.Is(err, errStaged) {
			return err
		}
		if err != nil {
			refused[i] = err
			continue
		}
		last++
		revisions[i] = last
		events = append(events, changed...)
	}
	if last > c.last {
		if err := c.persist(txn, last, groupOctets(group), events); err != nil {
			return err
		}
		c.s.hub.Publish(events)
	}
	for i, r := range group {
		c.s.note(refused[i])
		r.reply(revisions[i], refused[i])
	}
	return nil
}

// persist commits txn, whose newest revision is last and which has size octets
// at most, and makes it readable.
func (c *committer) persist(txn *badger.Txn, last store.Revision, size int, events []store.Event) error {
	if err := txn.Set([]byte(lastKey), link(c.last, last)); err != nil {
		return fmt.Errorf("%w: %w", errStaged, err)
	}
	c.last = last // given out, whatever becomes of it
	if err := txn.CommitAt(uint64(last), nil); err != nil {
		return err
	}
	if err := c.sync(size); err != nil {
		return err
	}
	if err := c.s.ack.write(last); err != nil {
		return err
	}
	c.s.memory.write(events, func() { c.s.readable.Store(uint64(last)) })
	return nil
}

// sync returns once size octets that Badger wrote to its log are on the disk.
// When Badger has begun a new log for them it does not sync the directory that
// names it, and obeys the umask.
func (c *committer) sync(size int) error {
	begun, err := c.s.logs.wrote(size)
	if err == nil {
		err = c.s.logs.sync()
	}
	if err != nil || !begun {
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
