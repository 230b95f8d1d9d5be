// Package record is the stored form of what the engine keeps: the protobuf
// messages that are sealed into the values of a store. Times are Unix
// milliseconds, durations are seconds.
//
// Fields are added at the end and never change their number or meaning; a
// change that an older version could not read raises Format.
package record

// Format is the version of the stored form. A store with a higher one is
// refused by this version.
const Format = 1

// The kinds of records. Each is part of the additional data of the seal, so
// that a record of one kind is never taken for another.
const (
	KindMeta     = "meta"
	KindAccount  = "account"
	KindActivity = "activity"
	KindLocal    = "local"
	KindFact     = "fact"
	KindSession  = "session"
)

// The keys of records: a prefix, then the normalised name of the account; of a
// session, a hash of the client and its id there.
const (
	KeyMeta        = "meta/store"
	PrefixAccount  = "account/"
	PrefixActivity = "activity/"
	PrefixLocal    = "local/"
	PrefixFact     = "fact/"
	PrefixSession  = "session/"
)
