package badgerstore

import (
	"context"
	"slices"
	"sync"

	"github.com/keywicket/keywicket/core/store"
)

// fillPage is how many entries are read into memory at a time.
const fillPage = 256

// A filling reads the database into the memory of a Store, in the background.
type filling struct {
	stop context.CancelFunc
	done sync.WaitGroup
}

func (f *filling) start(s *Store) {
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	if s.memory == nil {
		return
	}
	f.done.Go(func() {
		err := s.memory.fill(ctx, s.Scan)
		if ctx.Err() != nil {
			return
		}
		entries, octets, short := s.memory.holds()
		switch {
		case err != nil:
			s.log.Warn("records are not all held in memory", "dir", s.dir, "records", entries, "err", err)
		case short:
			s.log.Info("not all records have room in memory; the others are read from the disk", "dir", s.dir, "records", entries, "mib", octets>>20)
		default:
			s.log.Info("records are held in memory", "dir", s.dir, "records", entries, "mib", octets>>20)
		}
	})
}

// close ends it, and returns when it has ended.
func (f *filling) close() {
	f.stop()
	f.done.Wait()
}

// fill brings in all that scan finds, which is store.Store's, as far as there is
// room. It takes a page of each prefix in turn, so that what is held of
// one account under several is there together.
func (m *memory) fill(ctx context.Context, scan func(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error)) error {
	type part struct{ prefix, after string }
	var parts []*part
	for _, prefix := range slices.Concat(m.held, m.known) {
		parts = append(parts, &part{prefix: prefix})
	}
	for len(parts) > 0 {
		for _, p := range slices.Clone(parts) {
			page, err := scan(ctx, p.prefix, p.after, fillPage)
			if err != nil || !m.take(page) {
				m.filled(false)
				return err
			}
			if len(page) < fillPage {
				parts = slices.DeleteFunc(parts, func(q *part) bool { return p == q })
				continue
			}
			p.after = page[len(page)-1].Key
		}
	}
	m.filled(true)
	return nil
}

// take brings in what was not written since page was read, and says whether all had
// room.
func (m *memory) take(page []store.Entry) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range page {
		hash := m.hash(e.Key)
		if _, newer := m.written[hash]; newer {
			m.note(hash, e.Key) // it, or another key with this hash
		} else {
			m.add(hash, e)
		}
	}
	return !m.full
}

// filled ends the filling.
func (m *memory) filled(whole bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written, m.complete = nil, whole && !m.full
}

// holds returns how many entries are held, what room all takes, and whether some had none.
func (m *memory) holds() (entries int, octets int64, short bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.entries, int64(len(m.pages)*pageSize + m.n*placeCost), m.short
}
