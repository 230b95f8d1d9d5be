package core

import "github.com/keywicket/keywicket/core/internal/record"

// SignInPrefixes returns what the keys begin with of all that a node reads to
// start and to let people in, so that a copy of it can be kept: accounts, those
// of the local directory, what was once seen, sessions, and what the store is.
func SignInPrefixes() []string {
	return []string{record.PrefixAccount, record.PrefixFact, record.PrefixLocal, record.PrefixSession, record.KeyMeta}
}

// AtHandPrefixes returns what the keys of the records begin with that a store
// should have in memory (store.Nearby): held are those that a sign-in reads at an
// account that is not in the engine's cache. Of those that begin with one of known, what
// is written for it needs to know only whether there are any.
func AtHandPrefixes() (held, known []string) {
	return []string{record.PrefixAccount, record.PrefixLocal}, []string{record.PrefixActivity}
}
