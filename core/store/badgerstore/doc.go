// Package badgerstore is the store of a single host: a Badger database in a
// directory of its own.
//
// It owns the directory: its lock, its file modes, the stored form of a value
// and the numbering of revisions. It depends on core/store, Badger and
// x/sys/unix.
//
// Badger would sync each transaction by itself, and two files for it. So one
// committer makes one of all batches that wait, and syncs the one log that has
// them (commit.go).
//
// Badger writes through mapped files, where a full disk ends the process, and a
// store left so does not open again. So below a floor of free space no batch is
// written but such as take access away (admit.go), logs get their blocks before
// they are written to (logfiles.go), a ballast is given up for what must be
// written nevertheless (space.go), and a store on a full disk is opened without
// merging, or read-only, until there is room (keeper.go).
//
// Badger is not trusted with damage. It answers "not found" for a key in a
// block that it cannot read, forgets all that follows a flipped octet in its
// write-ahead log, removes tables that a cut manifest no longer names, and ends
// the process over a damaged footer. So Open reads every file first, without
// changing any, and refuses what is damaged (verify.go, wal.go); every value
// carries a checksum of ours (frame.go); and the revision last acknowledged is
// kept beside the database (ack.go). Once a day every table is read again.
package badgerstore
