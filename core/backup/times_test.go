package backup_test

import (
	"maps"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// meta returns the record of the store itself, changed before by change.
func (s *site) meta(change func(*record.Meta)) *record.Meta {
	s.t.Helper()
	e, err := s.store.Get(s.t.Context(), record.KeyMeta)
	must(s.t, err)
	plain, err := s.keys.Open(record.KindMeta, record.KeyMeta, e.Value)
	must(s.t, err)
	m := &record.Meta{}
	must(s.t, proto.Unmarshal(plain, m))
	if change == nil {
		return m
	}
	change(m)
	plain, err = proto.Marshal(m)
	must(s.t, err)
	_, err = s.store.Apply(s.t.Context(), store.Batch{{Action: store.Put, Key: record.KeyMeta, Value: s.keys.Seal(record.KindMeta, record.KeyMeta, plain)}})
	must(s.t, err)
	return m
}

// The latest time that was seen is that of the backup or of the store that it
// replaces, for each node: what has expired in either does not come back (C2).
func TestTimesStay(t *testing.T) {
	future := func(hours int) int64 { return time.Now().Add(time.Duration(hours) * time.Hour).UnixMilli() }
	early, late, latest := future(10), future(20), future(30)
	for name, tt := range map[string]struct {
		backup, replaced *record.Meta
	}{
		"of the replaced store":           {&record.Meta{LastSeen: early}, &record.Meta{LastSeen: late}},
		"of the backup":                   {&record.Meta{LastSeen: late}, &record.Meta{LastSeen: early}},
		"of nodes, each the later":        {&record.Meta{LastSeen: late, Seen: map[string]int64{"a": early, "b": latest, "c": late}}, &record.Meta{LastSeen: late, Seen: map[string]int64{"a": late, "b": early, "d": late}}},
		"of nodes that came afterwards":   {&record.Meta{LastSeen: late}, &record.Meta{LastSeen: late, Seen: map[string]int64{"a": late}}},
		"of nodes that the backup has":    {&record.Meta{LastSeen: late, Seen: map[string]int64{"a": late}}, &record.Meta{LastSeen: late}},
		"of a store that says less of it": {&record.Meta{LastSeen: late, Seen: map[string]int64{"a": late}}, &record.Meta{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			put := func(from *record.Meta) {
				s.meta(func(m *record.Meta) { m.LastSeen, m.Seen = from.LastSeen, from.Seen })
			}
			put(tt.backup)
			path := s.backup("backup", "")
			put(tt.replaced)
			s.restore(false, path)
			want := maps.Clone(tt.backup.Seen)
			for node, seen := range tt.replaced.Seen {
				if want == nil {
					want = map[string]int64{}
				}
				want[node] = max(want[node], seen)
			}
			if m := s.meta(nil); m.LastSeen != late || !maps.Equal(m.Seen, want) {
				t.Errorf("seen %d, by nodes %v; want %d, %v", m.LastSeen, m.Seen, late, want)
			}
		})
	}
}
