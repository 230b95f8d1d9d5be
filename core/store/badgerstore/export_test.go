package badgerstore

// Merged says whether Badger has merged tables yet. It must before there are
// fifteen, for then it holds up writes.
func (s *Store) Merged() bool {
	for _, level := range s.db.Levels() {
		if level.Level > 0 && level.NumTables > 0 {
			return true
		}
	}
	return false
}

// Flatten merges all tables, if some were merged before, so that a test need
// not wait for it.
func (s *Store) Flatten() error { return s.db.Flatten(1) }

// Filled returns when the memory is filled.
func (s *Store) Filled() { s.filling.done.Wait() }
