package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Blocks for logs are not taken from the room that Badger needs for the table
// of a log before; it would die of that.
func TestReserveLeavesRoomForTables(t *testing.T) {
	dir := t.TempDir()
	for id, size := range map[int]int64{1: 16 << 20, 2: 16 << 20} {
		f, err := os.Create(logPath(dir, id))
		if err := errors.Join(err, f.Truncate(size), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	room, taken := int64(0), int64(0)
	l, err := newLogFiles(dir, func() int64 { return room - taken })
	if err != nil {
		t.Fatal(err)
	}
	l.allocate = func(_ *os.File, size int64) error {
		if taken += size; taken > room {
			return unix.ENOSPC
		}
		return nil
	}
	forTable := tableRoom(logRoom)
	for _, tt := range []struct {
		room int64
		size int
		ok   bool
	}{
		{forTable, 1000, false},
		{forTable + 1<<20, 1000, false},
		{forTable + 3<<20, 1000, true}, // a part of the log
		{forTable + 3<<20, 2 << 20, false},
		{forTable + 13<<20, 2 << 20, true}, // all of it
		{forTable + 13<<20, memTable, false},
		{forTable + 25<<20, memTable, true}, // and the next
	} {
		if room = tt.room; (l.reserve(tt.size) == nil) != tt.ok {
			t.Errorf("%d octets in %d KiB beside the table: want %v", tt.size, (room-forTable)>>10, tt.ok)
		}
		if taken > room-forTable {
			t.Errorf("%d KiB of %d were taken, and a table needs %d", taken>>10, room>>10, forTable>>10)
		}
	}
}

// What is counted for a log and a memtable is never less than what Badger
// counts: else it would begin a log that has no blocks.
func TestRotationIsForeseen(t *testing.T) {
	c := newGroup(t)
	for _, size := range []int{0, 30, 1000, 100_000} {
		for rotated := false; !rotated; {
			var group []*request
			for octets := 0; octets < maxGroup/2; octets += group[0].octets() {
				group = append(group, ask(t.Context(), putOp(fmt.Sprint("a key of some length ", len(group)), string(make([]byte, size)))))
			}
			before, fits := c.s.logs.current, c.s.logs.fits(groupOctets(group))
			c.commit(group)
			if a := group[0].answered(t); a.err != nil {
				t.Fatal(a.err)
			}
			if rotated = c.s.logs.current != before; rotated && fits {
				t.Fatalf("values of %d octets: Badger began a new log, unforeseen", size)
			}
		}
	}
}
