// Package backup writes all records of a store into a file, and makes a store
// of such files again.
//
// It owns the form of the file, the checks before a store is replaced, what of
// the replaced store and of the audit is carried over so that what was taken
// away stays away, and the exchange of the directories. It depends on
// core/store, core/keyring, core/audit and the stored form of records; which
// store is opened is told from outside.
//
// # The file
//
// Numbers are big-endian. A file is
//
//	16  the text "keywicket backup"
//	 1  format: 1
//	16  file id, random
//	then chunks, each
//	 4  length of what follows, at most 1 MiB
//	 n  an envelope of the keyring: kind "backup", key "FORMAT/ID/NUMBER/MARK"
//
// ID is the file id in hexadecimal, NUMBER counts the chunks from 0 in decimal,
// MARK is "last" for the last chunk and "more" for the others. Kind and key are
// additional data of the seal, so that a chunk opens in its place of its file
// alone, and a file that was cut ends without its last chunk. Nothing follows
// the last chunk. The first octet of an opened chunk says what it is:
//
//	'H', the first chunk:
//	 2  format of the records
//	 8  when the snapshot was taken, Unix milliseconds
//	 8  revision of the snapshot
//	 8  when the store was first made, Unix milliseconds
//	 8  when it was last restored, Unix milliseconds; 0: never
//	16  file id of the backup that this one goes on from; zeros: it is complete
//
//	'R', records in the order of their keys, over all chunks; each is
//	 1  'v': the value follows, or 'k': it is in a backup before, unchanged
//	 2  length of the key
//	 n  key
//	 8  revision of the record
//	16  the first octets of the SHA-256 of the value
//	 4  of 'v' alone: length of the value
//	 n  of 'v' alone: the value, sealed as it is in the store
//
//	'E', the last chunk:
//	 8  number of records
//	 8  number of values among them
//	 8  octets of these values
//
// An incremental backup names every record, so that what is not named is gone.
package backup
