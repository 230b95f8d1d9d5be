package core_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

// rotate gives the fixture's keyring a newer key, and returns the old one's id.
func (f *fixture) rotate() keyring.KeyID {
	f.t.Helper()
	old := f.keys.Newest()
	rotated, err := f.keys.Rotate(time.Now())
	must(f.t, err)
	f.keys.Replace(rotated)
	return old
}

// TestS14Rotation: nothing that was issued stops working, before, during and
// after every record came under the newest key; then nothing needs the old one.
func TestS14Rotation(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.Profiles["chap"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCHAP}}
	})
	_, first := f.addAlain()
	uri, err := f.Enroll(f.ctx, alain)
	must(t, err)
	f.pass(time.Minute)
	c, err := f.Confirm(f.ctx, alain, codeOf(t, uri, f.clock()), core.NewAppPassword{})
	must(t, err)
	rotated, oldText := f.create("rotated", "")
	_, newText, err := f.Rotate(f.ctx, alain, rotated.ID, time.Hour)
	must(t, err)
	gone, goneText := f.create("gone", "")
	_, err = f.Delete(f.ctx, alain, gone.ID)
	must(t, err)
	_, chapText := f.create("switch", "chap")
	other, oldChap := f.create("other switch", "chap")
	_, newChap, err := f.Rotate(f.ctx, alain, other.ID, time.Hour)
	must(t, err)
	must(t, f.Remember(f.ctx, "radius/signs/vpn1"))
	must(t, f.Flush(f.ctx))

	works := func(when string) {
		t.Helper()
		for what, text := range map[string]string{"first": first, "old text": oldText, "new text": newText.Canonical()} {
			wantReason(t, when+": "+what, f.try(text), "")
		}
		wantReason(t, when+": deleted", f.try(goneText), core.ReasonDeleted)
		for what, text := range map[string]string{"chap": chapText, "old chap": oldChap, "new chap": newChap.Canonical()} {
			_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: trial{text: text}, Service: "radius/vpn1"})
			wantReason(t, when+": "+what, err, "")
		}
		wantReason(t, when+": main password", f.try(mainPassword), core.ReasonMainPasswordRefused)
	}
	old := f.rotate()
	works("rotated")
	use, err := f.KeyUse(f.ctx)
	must(t, err)
	if use[old] == 0 {
		t.Fatal("no record needs the old key before they were brought under the new one")
	}
	if _, err := f.Reseal(f.ctx); err != nil {
		t.Fatal(err)
	}
	works("resealed")
	must(t, f.Flush(f.ctx))
	if use, err = f.KeyUse(f.ctx); err != nil || use[old] != 0 {
		t.Fatalf("%d records need the old key still (%v)", use[old], err)
	}
	retired, err := f.keys.Retire(old)
	must(t, err)
	f.keys.Replace(retired)
	works("retired")
	f.reopen()
	works("retired and reopened")
	for _, code := range c.Recovery {
		must(t, f.CheckCode(f.ctx, alain, code))
	}
	if seen, err := f.Remembers(f.ctx, "radius/signs/vpn1"); err != nil || !seen {
		t.Errorf("the fact is lost: %v, %v", seen, err)
	}
}

// TestS14RotationInterrupted stops the work after each write, as a kill would,
// and goes on with another engine.
func TestS14RotationInterrupted(t *testing.T) {
	f := newFixture(t, nil)
	texts := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		_, err := f.AddAccount(f.ctx, name, nil, nil)
		must(t, err)
		uri, err := f.Enroll(f.ctx, name)
		must(t, err)
		c, err := f.Confirm(f.ctx, name, codeOf(t, uri, f.clock()), core.NewAppPassword{})
		must(t, err)
		texts[name] = c.FirstText.Canonical()
	}
	old := f.rotate()
	for round := range 100 {
		f.store.failAfter(1)
		_, err := f.Reseal(f.ctx)
		f.store.failAfter(-1)
		for name, text := range texts {
			_, err := f.Verify(f.ctx, core.Attempt{Account: name, Proof: proof.Cleartext(text), Service: "radius/vpn1"})
			must(t, err)
		}
		if err == nil {
			use, err := f.KeyUse(f.ctx)
			must(t, err)
			if use[old] != 0 {
				t.Fatalf("%d records need the old key after %d rounds", use[old], round)
			}
			return
		}
		wantKind(t, "an interrupted round", err, core.KindUnavailable)
	}
	t.Fatal("a hundred rounds of one write each did not get through a dozen records")
}

// TestS14WrittenMeanwhile: a record that was written since the rotation is sealed
// with the newest key, and needs the old one as before: for what is in it.
func TestS14WrittenMeanwhile(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	old := f.rotate()
	before, err := f.KeyUse(f.ctx)
	must(t, err)
	f.create("since", "")
	after, err := f.KeyUse(f.ctx)
	must(t, err)
	if after[old] != before[old] || after[f.keys.Newest()] != 1 {
		t.Errorf("%d records need the old key and %d the new one, want %d and 1", after[old], after[f.keys.Newest()], before[old])
	}
	must(t, f.try(text))
}

// TestS14DamagedRecordKeepsItsKey: a record that cannot be opened is named, and
// its key is still needed.
func TestS14DamagedRecordKeepsItsKey(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	f.damage("account/" + alain)
	old := f.rotate()
	_, err := f.Reseal(f.ctx)
	wantKind(t, "reseal", err, core.KindDamaged)
	use, err := f.KeyUse(f.ctx)
	must(t, err)
	if use[old] != 1 {
		t.Errorf("%d records need the old key, want the damaged one", use[old])
	}
}

// TestKeyRotatedInBackground: an engine that is told, or opened over two keys,
// does the work by itself.
func TestKeyRotatedInBackground(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	old := f.rotate()
	f.KeyRotated(f.ctx)
	f.waitUnused(old)
	old = f.rotate()
	f.reopen()
	f.waitUnused(old)
	must(t, f.try(text))
}

// waitUnused waits until no record needs the key.
func (f *fixture) waitUnused(id keyring.KeyID) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, 30*time.Second)
	defer cancel()
	for {
		use, err := f.KeyUse(ctx)
		must(f.t, err)
		if use[id] == 0 {
			return
		}
		time.Sleep(time.Millisecond) // there is nothing to wait on but the store
	}
}

// failAfter lets n more writes happen and fails those after them; -1 ends it.
func (s *faultyStore) failAfter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writesLeft, s.limited = n, n >= 0
}

// mayWrite counts one write.
func (s *faultyStore) mayWrite() error {
	if !s.limited {
		return nil
	}
	if s.writesLeft == 0 {
		return errors.Join(store.ErrUnavailable, errors.New("no more writes"))
	}
	s.writesLeft--
	return nil
}
