package core

import "github.com/keywicket/keywicket/core/internal/record"

// SignInPrefixes returns what the keys begin with of all that a node reads to
// start and to let people in, so that a copy of it can be kept: accounts, those
// of the local directory, what was once seen, sessions, and what the store is.
func SignInPrefixes() []string {
	return []string{record.PrefixAccount, record.PrefixFact, record.PrefixLocal, record.PrefixSession, record.KeyMeta}
}
