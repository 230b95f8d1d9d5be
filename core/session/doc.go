// Package session keeps where app passwords are in use: the sessions that
// clients tell of. A Table knows and counts them, keeps them over a restart, follows
// what other nodes write of theirs, and has those ended whose app password does not
// hold any more.
//
// A session is tied to its app password by a token, which goes out with a grant
// and comes back with each report. The package knows no account and no rule:
// whether an app password holds is what Options.Standing says.
//
// It depends on core/store and core/keyring, and on the stored form of records.
package session
