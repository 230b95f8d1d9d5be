package badgerstore

import (
	"log/slog"
	"testing"
)

// What Badger merges at one time stands on the disk twice. It begins with writes
// that came while the floor was free, and so must fit into that: the tables of
// memtables with the first level, and one table with those of the level below.
func TestMergesFitIntoTheFloor(t *testing.T) {
	for _, floor := range []int64{96 << 20, 128 << 20, defaultMinFree - 1, defaultMinFree, 1 << 40} {
		o := withLevels(badgerOptions("", slog.New(slog.DiscardHandler)), floor)
		first := int64(o.NumLevelZeroTables)*o.MemTableSize + o.BaseLevelSize
		below := int64(1+o.LevelSizeMultiplier) * o.BaseTableSize * int64(o.TableSizeMultiplier)
		if first+below > floor {
			t.Errorf("with a floor of %d MiB, %d MiB and %d MiB are merged beside each other", floor>>20, first>>20, below>>20)
		}
	}
}
