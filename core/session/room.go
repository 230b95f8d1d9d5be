package session

import (
	"cmp"
	"maps"
	"slices"
)

// add makes room for a session and adds it. t.mu is held.
func (t *Table) add(added *row) {
	var same []*row
	for other := range t.accounts[added.Account] {
		if other.of.is(added.of.Owner) {
			same = append(same, other)
		}
	}
	if len(same) >= MaxPerAppPassword {
		if old := giveWay(append(same, added)); old != nil {
			t.lost++
			t.remove(old)
		}
	}
	if len(t.all) >= maxSessions {
		t.thin()
	}
	t.all[added.key] = added
	t.over.forget(added.key, added.of)
	t.accounts.add(added.Account, added)
	t.clients.add(added.Client, added)
}

// giveWay returns which of the sessions of an app password is no longer to be known, as
// there are too many with the last one: the oldest of the client that has the most, so
// that none can push out what others have. What is being ended is not lost sight of.
func giveWay(same []*row) (oldest *row) {
	clients, most := make(map[string]int), 0
	for _, each := range same {
		clients[each.Client]++
		most = max(most, clients[each.Client])
	}
	for _, each := range same[:len(same)-1] {
		if each.request == nil && clients[each.Client] == most && (oldest == nil || each.seen.Before(oldest.seen)) {
			oldest = each
		}
	}
	return oldest
}

// thin takes the oldest sessions from the client that has the most, so that
// none can push out what others have. What is being ended goes last.
func (t *Table) thin() {
	var most map[*row]struct{}
	for _, of := range t.clients {
		if len(of) > len(most) {
			most = of
		}
	}
	late := func(r *row) int {
		if r.request != nil {
			return 1
		}
		return 0
	}
	order := func(a, b *row) int { return cmp.Or(late(a)-late(b), a.seen.Compare(b.seen)) }
	for _, old := range slices.SortedFunc(maps.Keys(most), order)[:max(1, len(most)/64)] {
		if old.request != nil {
			old.request.lost = true
		}
		t.lost++
		t.remove(old)
	}
}
