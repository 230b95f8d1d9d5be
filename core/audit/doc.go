// Package audit is the audit log: one JSON object a line for every event, each
// chained to the one before with a key, so that Verify finds an edited,
// missing, moved or inserted line. It owns the directory of the log. It depends
// on package core for the events, and on nothing else of ours.
//
// # Files
//
// The directory (mode 0700) holds audit-000001.jsonl and so on (mode 0600) and
// a file named head. A line is printable ASCII whatever its texts hold: control
// characters, bidirectional controls and everything else outside of ASCII are
// escaped, an octet that is not UTF-8 stands as U+FFFD, and a text longer than
// 512 octets is cut, with its true length behind it. Its last two fields are
// seq, which counts the lines of the whole log from 1, and mac:
//
//	HMAC-SHA-256(key, mac of the line before ‖ the line up to and without ,"mac":)
//
// in hexadecimal. Before the first line of a log stand 32 zero octets. A file
// begins with an audit-opened line, which names the file, the key, and the last
// mac and the number of the file before. Key and file can therefore change
// without a break of the chain.
//
// # The head, and what it proves
//
// A chain alone does not tell where it ends. So head says how far the log was
// written: file, seq, mac, and the seq up to which it was forced to the disk,
// under a mac of its own. It is written after the lines that it speaks of. A
// crash of the process can thus leave the log ahead of its head, which is no
// fault, and never behind it. A log that ends before its head was cut, with one
// exception: a loss of power may take lines that were not yet forced to the
// disk (at most a second's worth). Verify reports both, and says which of the
// two it can be.
//
// Without the key nobody can write a line or a head. Who can write to the
// directory can nevertheless put back an older state of all of it, the head
// included, or remove the directory: only a copy elsewhere shows that. For this
// the end of every file is told to Options.Log as well, with seq and mac.
//
// Retention removes whole files, the oldest first. An audit-deleted line says
// so before the file goes, and names it; it stands for all files before it too.
//
// # After a crash
//
// Open cuts off an unfinished last line and records audit-torn with its length.
// Nothing else is ever rewritten. When the end of the log does not hold what
// chain and head promise, Open starts another file whose first line says that
// the chain is broken and why: the daemon runs, and Verify reports it from then
// on. An event that found no room while nothing could be written is counted in
// an audit-dropped line.
package audit
