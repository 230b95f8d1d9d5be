package etcdstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/keywicket/keywicket/core/store"
)

// Where etcd is over its quota it lets no Put through, and none of what takes
// access away either, until an operator disarms the alarm. So where the quota is
// known a part of it is kept for that: the database, which never shrinks by
// itself, may grow to grown of the quota; then what is in use of it counts, and
// that grows to inUse: below, pages are scattered that a large value does not find.
const (
	grown = 0.9
	inUse = 0.75
)

// inspectEvery is how many heartbeats are between two looks at the database.
const inspectEvery = 10

// remedy is what helps where there is no more room.
const remedy = "compact its history, defragment each member, then disarm the alarm (etcdctl compaction, defrag, alarm disarm), and see to --auto-compaction-retention"

// inspect looks how full the database of l's member is. An etcd that does not
// tell is none that is full.
func (s *Store) inspect(l *link) {
	ctx, cancel := context.WithTimeout(s.ctx, heartbeat)
	defer cancel()
	r, err := etcdserverpb.NewMaintenanceClient(l.client.ActiveConnection()).Status(ctx, &etcdserverpb.StatusRequest{})
	if err != nil {
		return
	}
	quota := s.cfg.Quota
	if r.DbSizeQuota > 0 { // from 3.6 on it says so itself
		quota = r.DbSizeQuota
	}
	alarm := slices.ContainsFunc(r.Errors, func(text string) bool { return strings.Contains(text, etcdserverpb.AlarmType_NOSPACE.String()) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.space = space{alarm: alarm, size: r.DbSize, used: r.DbSizeInUse, quota: quota}
}

// A space is how much room etcd has.
type space struct {
	alarm      bool  // it takes no writes
	size, used int64 // octets of the database, and of what is in use of it
	quota      int64 // 0: not known
}

// err says what is wrong, if something is.
func (s space) err() error {
	switch {
	case s.alarm:
		return fmt.Errorf("etcd is over its quota and takes no writes, not even deletions of app passwords: %s", remedy)
	case s.quota > 0 && float64(s.size) >= grown*float64(s.quota) && float64(s.used) >= inUse*float64(s.quota):
		return fmt.Errorf("etcd's database has %d MiB, of which %d are in use, and a quota of %d MiB; the rest is kept for what takes access away: %s",
			s.size>>20, s.used>>20, s.quota>>20, remedy)
	}
	return nil
}

// room says why b is not to be written, although etcd may take it.
func (s *Store) room(b store.Batch) error {
	s.mu.Lock()
	full := s.space.err()
	s.mu.Unlock()
	takes := slices.ContainsFunc(b, func(op store.Op) bool { return op.Action == store.Put })
	if full == nil || !takes || slices.ContainsFunc(b, func(op store.Op) bool { return op.Revokes }) {
		return nil
	}
	return fmt.Errorf("%w: %w", store.ErrFull, full)
}
