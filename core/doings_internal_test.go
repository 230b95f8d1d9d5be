package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/proof"
)

func names(all []*doings) (names []string) {
	for _, d := range all {
		names = append(names, d.name)
	}
	return names
}

// devices returns the devices of what is pending of name, oldest first.
func (a *activity) devices(t *testing.T, name string) (devices []string) {
	t.Helper()
	rec, pending := &record.Activity{}, a.pending(name)
	if err := pending.mergeInto(rec); err != nil {
		t.Fatal(err)
	}
	for _, r := range rec.Attempts {
		devices = append(devices, r.Device)
	}
	return devices
}

func numbers(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// TestPending: what is collected, what is being written and what could not be
// written is pending, in its order, and the latest 32 of it are kept.
func TestPending(t *testing.T) {
	for _, of := range []*account{nil, new(account)} {
		a, n := newActivity(), 0
		sign := func(times int) {
			for range times {
				a.add(attemptAt{"alain", of, happened{device: fmt.Sprint(n), at: time.UnixMilli(int64(n) + 1), ref: Ref{ID: "id"}}})
				n++
			}
		}
		want := func(what string, from, uses int) {
			t.Helper()
			if got := a.devices(t, "alain"); !slices.Equal(got, numbers(from, n)) {
				t.Errorf("%s: pending are %q, want %d to %d", what, got, from, n-1)
			}
			if got := a.pending("alain").usages; uses > 0 && (len(got) != 1 || got[0].count != uint64(uses) || got[0].at != int64(n)) {
				t.Errorf("%s: %+v, want %d uses", what, got, uses)
			}
		}
		now := time.Now()
		sign(20)
		want("collected", 0, 20)
		taken := a.take(false, now)
		sign(1)
		want("being written", 0, 21)
		a.written(taken[0], now, writeFailed)
		want("not written", 0, 21)
		sign(80)
		want("too many", n-32, 101)
		taken = a.take(false, now)
		sign(3)
		a.written(taken[0], now, writeDone)
		want("written, and more since", n-3, 3)
		a.written(a.take(false, now)[0], now, writeDone)
		want("written", n, 0)
		sign(1)
		a.written(a.take(false, now)[0], now, writeFailed)
		sign(1)
		a.forget("alain") // both what is grouped and what just came
		want("forgotten", n, 0)
		sign(1)
		want("after that", n-1, 1)
		if got := len(a.byName); got > 1 {
			t.Errorf("%d accounts are counted", got)
		}
	}
}

// TestGroupedWhileWriting: what is grouped while an account is being written is not
// lost, however the writing ends, and is written next, after what came before it.
func TestGroupedWhileWriting(t *testing.T) {
	for name, tt := range map[string]struct {
		outcome writeOutcome
		want    []string
	}{
		"done":    {writeDone, []string{"2", "3"}},
		"failed":  {writeFailed, []string{"1", "2", "3"}},
		"nowhere": {writeNowhere, []string{"1", "2", "3"}},
	} {
		a, now, of := newActivity(), time.Now(), new(account)
		sign := func(device string) { a.add(attemptAt{"alain", of, happened{device: device, ref: Ref{ID: "1"}}}) }
		sign("1")
		d := a.take(true, now)[0]
		sign("2")
		a.group()
		if got := a.devices(t, "alain"); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("%s: while it is written, %q are pending", name, got)
		}
		a.written(d, now, tt.outcome)
		sign("3")
		if got := a.devices(t, "alain"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q are pending, want %q", name, got, tt.want)
		}
		taken := a.take(true, now)
		if len(taken) != 1 || taken[0].writing.n != len(tt.want) || taken[0].writing.usages[0].count != uint64(len(tt.want)) || taken[0].fresh.n != 0 {
			t.Fatalf("%s: %d are to be written: %+v", name, len(taken), taken)
		}
		a.written(taken[0], now, writeDone)
		if got := a.devices(t, "alain"); len(got) != 0 || len(a.byName) != 0 {
			t.Errorf("%s: at the end %q are pending, %d accounts", name, got, len(a.byName))
		}
	}
}

// TestDoingsOfTwoReadings: an account that was read again, while a sign-in still
// had it as it was before, has the same doings; and when these are gone neither
// leads to them any more.
func TestDoingsOfTwoReadings(t *testing.T) {
	a, now := newActivity(), time.Now()
	first, second := new(account), new(account)
	for i, of := range []*account{first, second, first} {
		a.add(attemptAt{"alain", of, happened{device: fmt.Sprint(i)}})
		if i == 0 {
			a.group()
		}
		if i == 1 {
			a.written(a.take(false, now)[0], now, writeDone)
		}
	}
	if got := names(a.take(false, now)); !slices.Equal(got, []string{"alain"}) || !slices.Equal(a.devices(t, "alain"), []string{"2"}) {
		t.Errorf("%q are to be written, pending is %q", got, a.devices(t, "alain"))
	}
}

// TestHappenedIsTheRecord: what append writes is what is read again, with texts
// of any length, and what is no UTF-8 mended.
func TestHappenedIsTheRecord(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 20_000} {
		text := strings.Repeat("x", n)
		h := &happened{at: time.UnixMilli(int64(n)), service: text, source: text, device: text + "\xFF\xFE", method: proof.Method(text), reason: Reason(text), ref: Ref{ID: text, Name: text}}
		got := &record.Attempt{}
		if err := proto.Unmarshal(h.append(nil), got); err != nil {
			t.Fatal(err)
		}
		want := &record.Attempt{Time: toMillis(h.at), Service: text, Source: text, Device: text + "\uFFFD", Method: text, Reason: text, AppPasswordId: text, AppPasswordName: text}
		if !proto.Equal(got, want) {
			t.Errorf("%d: %.200v", n, got)
		}
	}
}

// TestStrangers: what happened at a name without a record stays pending, is
// not tried again before more comes, and is written once there is a record.
func TestStrangers(t *testing.T) {
	a, now := newActivity(), time.Now()
	sign := func(name, device string) { a.add(attemptAt{name, nil, happened{device: device}}) }
	sign("nobody", "1")
	a.written(a.take(true, now)[0], now, writeNowhere)
	if got := a.take(true, now); len(got) != 0 || !slices.Equal(a.devices(t, "nobody"), []string{"1"}) {
		t.Fatalf("%q are to be written", names(got))
	}
	sign("nobody", "2")
	taken := a.take(true, now)
	if len(taken) != 1 || !slices.Equal(a.devices(t, "nobody"), []string{"1", "2"}) {
		t.Fatalf("%q are to be written", names(taken))
	}
	a.written(taken[0], now, writeDone)
	if len(a.strangers) != 0 || len(a.byName) != 0 {
		t.Errorf("%d strangers and %d accounts are left", len(a.strangers), len(a.byName))
	}
	for range busy { // one that is kept when it is written
		sign("nobody", "3")
	}
	for _, outcome := range []writeOutcome{writeNowhere, writeDone} {
		a.written(a.take(true, now)[0], now, outcome)
		sign("nobody", "4")
	}
	if len(a.strangers) != 0 || len(a.byName) != 1 {
		t.Errorf("%d strangers and %d accounts are left, want what is no stranger any more", len(a.strangers), len(a.byName))
	}
	a.forget("nobody")
	for i := range maxStrangers + 10 {
		sign(fmt.Sprint("nobody ", i), "1")
	}
	for _, d := range a.take(true, now) {
		a.written(d, now, writeNowhere)
	}
	if len(a.strangers) != maxStrangers || len(a.byName) != maxStrangers {
		t.Errorf("%d strangers and %d accounts are kept, want %d", len(a.strangers), len(a.byName), maxStrangers)
	}
}

// TestActivityIsBounded: attempts and accounts beyond their bounds are counted
// as lost, and a crowd of attempts calls for grouping.
func TestActivityIsBounded(t *testing.T) {
	a := newActivity()
	sign := func(from, to int) {
		for i := from; i < to; i++ {
			a.add(attemptAt{name: fmt.Sprint(i)})
		}
	}
	sign(0, crowd-1)
	if len(a.crowded) != 0 {
		t.Error("called for too early")
	}
	sign(crowd-1, maxFresh+7)
	if len(a.crowded) != 1 || a.lost.Load() != 7 {
		t.Errorf("called for %d times, %d lost, want 7", len(a.crowded), a.lost.Load())
	}
	if many, want := a.group(), uint64(7+maxFresh-maxDoings); !many || len(a.byName) != maxDoings || a.lost.Load() != want {
		t.Errorf("many %v: %d accounts are kept, %d attempts lost, want %d", many, len(a.byName), a.lost.Load(), want)
	}
}

// TestBusyAccountsAreWrittenSeldom: an account whose device hammers is written
// once a minute, and every other one with each flush (rule A12).
func TestBusyAccountsAreWrittenSeldom(t *testing.T) {
	a, now := newActivity(), time.Now()
	write := func(due bool) []string {
		t.Helper()
		all := a.take(due, now)
		got := names(all)
		for _, d := range all {
			a.written(d, now, writeDone)
		}
		return got
	}
	hammering := new(account)
	sign := func(n int, name string, of *account) {
		for i := range n {
			a.add(attemptAt{name, of, happened{device: fmt.Sprint(i), ref: Ref{ID: "id"}}})
		}
	}
	both, quiet := []string{"busy", "quiet"}, []string{"quiet"}
	var written time.Time
	for second := range 130 {
		sign(busy, "busy", hammering)
		sign(1, "quiet", nil)
		switch got := write(true); {
		case slices.Equal(got, both):
			if gone := now.Sub(written); second > 0 && (gone < seldomFrom || gone > seldomTo+time.Second) {
				t.Errorf("second %d: written again after %s", second, gone)
			}
			written = now
		case !slices.Equal(got, quiet):
			t.Fatalf("second %d: %q are written", second, got)
		}
		now = now.Add(time.Second)
	}
	if now.Sub(written) > time.Minute {
		t.Errorf("not written for %s", now.Sub(written))
	}
	if sign(1, "busy", hammering); !slices.Equal(write(false), []string{"busy"}) {
		t.Error("a Flush leaves something out")
	}
	sign(busy-1, "busy", hammering) // it has calmed down
	if got := write(true); !slices.Equal(got, []string{"busy"}) {
		t.Errorf("%q are written, want what is not busy any more", got)
	}
	idle := func(what string) {
		t.Helper()
		if now = now.Add(time.Minute); len(write(true)) != 0 || len(a.byName) != 0 || hammering.doings != nil {
			t.Errorf("%s: %d accounts are kept, %v by the account itself", what, len(a.byName), hammering.doings != nil)
		}
	}
	idle("calm")
	if sign(busy, "busy", hammering); !slices.Equal(write(true), []string{"busy"}) || len(a.byName) != 1 {
		t.Errorf("%d accounts are kept, want the one that may go on", len(a.byName))
	}
	idle("gone while it was busy")
	every := (Options{}).withDefaults().Flush
	if late := every + every/2; late >= 5*time.Second || seldomTo+late > time.Minute {
		t.Errorf("what happened is written after %s, and a last use may be behind by %s more", late, seldomTo)
	}
}
