package core

import "time"

// Stats are figures about a running engine.
type Stats struct {
	CachedAccounts int
	CachedOctets   int64

	// LostAttempts is how many attempts could not be kept for the history,
	// because too many were waiting to be written.
	LostAttempts uint64

	// ClockBehind is how far the wall clock is behind the latest time that was
	// ever seen; expiry goes by the later of the two.
	ClockBehind time.Duration

	// ClockApart is of the node whose clock is furthest ahead of this one's, where
	// nodes share the store. Nil: there is none.
	ClockApart *ClockApart

	Sessions     int    // that are known
	LostSessions uint64 // that found no room

	// Resealing: records are being brought under the newest key.
	Resealing bool
}

// Stats returns figures about e.
func (e *Engine) Stats() Stats {
	accounts, octets := e.cache.stats()
	sessions, lostSessions := e.sessions.Stats()
	return Stats{Sessions: sessions, LostSessions: lostSessions, CachedAccounts: accounts, CachedOctets: octets, LostAttempts: e.activity.lost.Load(), ClockBehind: e.clock.behind(), ClockApart: e.apart.Load(), Resealing: e.resealing.Load()}
}
