package etcdstore

import "time"

// Patient returns c with so long a silence instead of the usual one.
func (c Config) Patient(silence time.Duration) Config {
	c.silence = silence
	return c
}

// Used looks how full the database is, as is done every few seconds, and
// returns the octets in use; 0 while no member answers.
func (s *Store) Used() int64 {
	l, _ := s.peek()
	if l == nil {
		return 0
	}
	s.inspect(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.space.used
}
