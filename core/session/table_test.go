package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
)

// TestKnown: what was reported is listed with the app password whose token came
// back, and until it is over.
func TestKnown(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		began := time.Now()
		token := f.grant("vpn1", tv)
		must(t, f.tell(session.Starts, "1", token, session.Report{Device: "xbox", Handle: []byte("h")}))
		time.Sleep(10 * time.Minute)
		must(t, f.tell(session.GoesOn, "1", token, session.Report{Address: "10.0.0.5", Handle: []byte("h2"), HasOctets: true, OctetsIn: 1 << 40, OctetsOut: 7}))
		s := f.want(1, f.Table)[0]
		if s.Account != alain || s.AppPassword != "1000000000000000" || s.AppPasswordName != "called \x10" || s.Client != "vpn1" || s.Device != "xbox" ||
			s.Address != "10.0.0.5" || !s.Since.Equal(began) || s.OctetsIn != 1<<40 || s.OctetsOut != 7 || string(s.Handle) != "h2" {
			t.Errorf("listed as %+v", s)
		}
		if all := f.List("somebody"); len(all) != 0 {
			t.Errorf("another account has %v", all)
		}
		must(t, f.tell(session.Stopped, "1", token, session.Report{}))
		f.want(0, f.Table)
	})
}

// TestR26ForgedToken: a token that somebody made up, changed, or was given at
// another client ties nothing, and nothing is kept.
func TestR26ForgedToken(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		token := f.grant("vpn1", tv)
		changed := append([]byte(nil), token...)
		changed[len(changed)-1] ^= 1
		for name, forged := range map[string][]byte{
			"changed": changed, "another client's": f.grant("vpn2", tv), "cut off": token[:40], "no client's": f.grant("", tv),
			"made up": []byte(strings.Repeat("x", 90)), "another seal": f.keys.Seal("session", "vpn1", make([]byte, 60)), "none": nil,
			"too short": f.keys.Seal("session-token", "vpn1", make([]byte, 31)),
		} {
			for _, event := range []session.Event{session.Starts, session.GoesOn, session.Stopped} {
				if err := f.tell(event, "1", forged, session.Report{Account: alain}); !errors.Is(err, session.ErrUntied) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		f.want(0, f.Table)
		must(t, f.tell(session.Starts, "1", token, session.Report{}))
		must(t, f.tell(session.GoesOn, "1", changed, session.Report{HasOctets: true, OctetsIn: 9})) // known by its id
		if s := f.want(1, f.Table)[0]; s.OctetsIn != 9 {
			t.Errorf("%d octets", s.OctetsIn)
		}
		if err := f.tell(session.Stopped, "1", nil, session.Report{Client: "vpn2"}); !errors.Is(err, session.ErrUntied) {
			t.Errorf("another client ends it: %v", err)
		}
		f.want(1, f.Table)
	})
}

// TestTokenOfALongName: a token fits into a Class. A name that has no room in it
// is taken from the report, and no other is.
func TestTokenOfALongName(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		for _, n := range []int{1, 171, 172, 173, 256} {
			of, reported := tv, "somebody@contoso.com"
			of.Account = strings.Repeat("l", n)
			token := f.grant("vpn1", of)
			if len(token) > 253 {
				t.Errorf("a name of %d: a token of %d octets fits in no Class", n, len(token))
			}
			want := of.Account
			if n > 172 {
				want = reported
				if err := f.tell(session.Starts, fmt.Sprint("no name", n), token, session.Report{}); !errors.Is(err, session.ErrUntied) {
					t.Errorf("a name of %d, and none in the report: %v", n, err)
				}
			}
			must(t, f.tell(session.Starts, fmt.Sprint(n), token, session.Report{Account: reported}))
			if all := f.List(want); len(all) != 1 {
				t.Errorf("a name of %d: %v", n, all)
			}
			must(t, f.tell(session.Stopped, fmt.Sprint(n), token, session.Report{Account: reported}))
		}
	})
}

// TestOutOfOrder: what comes late neither brings a session back nor takes octets
// away; the same id in another life of the client is another session.
func TestOutOfOrder(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		token, began := f.grant("vpn1", tv), time.Now()
		must(t, f.tell(session.GoesOn, "1", token, session.Report{For: time.Minute, HasOctets: true, OctetsIn: 50})) // its start was lost
		time.Sleep(time.Minute)
		must(t, f.tell(session.GoesOn, "1", token, session.Report{HasOctets: true, OctetsIn: 100}))
		must(t, f.tell(session.GoesOn, "1", token, session.Report{At: began, HasOctets: true, OctetsIn: 50}))
		if s := f.want(1, f.Table)[0]; s.OctetsIn != 100 || !s.Since.Equal(began.Add(-time.Minute)) {
			t.Errorf("%d octets since %v", s.OctetsIn, s.Since)
		}
		must(t, f.tell(session.Stopped, "1", token, session.Report{}))
		for _, event := range []session.Event{session.GoesOn, session.Starts, session.Stopped} {
			must(t, f.tell(event, "1", token, session.Report{}))
			must(t, f.tell(event, "1", nil, session.Report{}))
		}
		f.want(0, f.Table)
		must(t, f.tell(session.Stopped, "2", token, session.Report{})) // before its start
		must(t, f.tell(session.Starts, "2", token, session.Report{}))
		f.want(0, f.Table)
		time.Sleep(time.Second)
		must(t, f.tell(session.Starts, "1", f.grant("vpn1", tv), session.Report{}))
		f.want(1, f.Table)
	})
}

// TestIDOfAnother: a client that was switched off uses its ids again.
func TestIDOfAnother(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		first := f.grant("vpn1", tv)
		time.Sleep(time.Minute)
		must(t, f.tell(session.Starts, "1", first, session.Report{}))
		must(t, f.tell(session.Starts, "1", f.grant("vpn1", laptop), session.Report{}))
		must(t, f.tell(session.GoesOn, "1", first, session.Report{})) // of before
		if s := f.want(1, f.Table)[0]; s.AppPassword != "2000000000000000" {
			t.Errorf("it is of %v", s.AppPassword)
		}
	})
}

// TestExpires: a session whose end was lost is over after three of its client's
// intervals, and where nobody knows those, after a day.
func TestExpires(t *testing.T) {
	for name, tt := range map[string]struct {
		every   time.Duration   // said
		gaps    []time.Duration // between reports
		within  time.Duration
		outside time.Duration
	}{
		"nothing is known":          {0, nil, 24 * time.Hour, 24*time.Hour + 2*time.Minute},
		"one report says nothing":   {0, []time.Duration{time.Second}, 24 * time.Hour, 24*time.Hour + 2*time.Minute},
		"it was said":               {10 * time.Minute, nil, 31 * time.Minute, 33 * time.Minute},
		"it was watched":            {0, []time.Duration{time.Second, 5 * time.Minute}, 16 * time.Minute, 18 * time.Minute},
		"the longer one counts":     {time.Minute, []time.Duration{time.Second, 3 * time.Minute, time.Minute}, 10 * time.Minute, 12 * time.Minute},
		"what is said is bounded":   {90 * 24 * time.Hour, nil, 24 * time.Hour, 25 * time.Hour},
		"a report that came twice":  {0, []time.Duration{time.Minute, time.Millisecond}, 24 * time.Hour, 24*time.Hour + 3*time.Minute},
		"two addresses, one by one": {0, []time.Duration{time.Second, 30 * time.Second, time.Second}, 24 * time.Hour, 24*time.Hour + 2*time.Minute},
		"what was watched as well":  {0, slices.Repeat([]time.Duration{20 * time.Second}, 6), 4 * time.Minute, 6 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			try(t, func(t *testing.T, f *fixture) {
				token := f.grant("vpn1", tv)
				must(t, f.tell(session.Starts, "1", token, session.Report{Every: tt.every}))
				for _, gap := range tt.gaps {
					time.Sleep(gap)
					must(t, f.tell(session.GoesOn, "1", token, session.Report{Every: tt.every}))
				}
				time.Sleep(tt.within)
				f.want(1, f.Table)
				time.Sleep(tt.outside - tt.within)
				f.want(0, f.Table)
				must(t, f.tell(session.GoesOn, "1", token, session.Report{})) // it is there after all
				f.want(1, f.Table)
			})
		})
	}
}

// TestForget: what began anew has no sessions, and others keep theirs.
func TestForget(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		for _, client := range []string{"vpn1", "vpn2"} {
			for _, id := range []string{"a1", "a2", "b1"} {
				must(t, f.tell(session.Starts, id, f.grant(client, tv), session.Report{Client: client, Handle: []byte(id)}))
			}
		}
		must(t, f.Forget(f.ctx, "vpn1", func(s session.Session) bool { return s.Handle[0] == 'a' }))
		for _, table := range []*session.Table{f.Table, f.load()} {
			for _, s := range f.want(4, table) {
				if s.Client == "vpn1" && string(s.Handle) != "b1" {
					t.Errorf("%+v is still there", s)
				}
			}
		}
		f.store.refuse(store.ErrUnavailable)
		for range 2 {
			if err := f.Forget(f.ctx, "vpn1", func(session.Session) bool { return true }); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("store down: %v", err)
			}
		}
		f.store.refuse(nil)
		must(t, f.Forget(f.ctx, "vpn1", func(session.Session) bool { return true }))
		f.want(3, f.load())
	})
}

// TestCount: an app password has the sessions that are its own, but for what the
// device in question had at the same port.
func TestCount(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		must(t, f.tell(session.Starts, "1", f.grant("vpn1", tv), session.Report{Device: "xbox", Port: "7"}))
		must(t, f.tell(session.Starts, "2", f.grant("vpn1", tv), session.Report{}))
		must(t, f.tell(session.Starts, "3", f.grant("vpn1", laptop), session.Report{Device: "xbox", Port: "7"}))
		for place, want := range map[session.Place]int{
			{}: 2, {Client: "vpn1"}: 2, {Client: "vpn1", Device: "xbox"}: 2, {Client: "vpn1", Port: "7"}: 2, {Client: "vpn1", Device: "xbox", Port: "8"}: 2,
			{Client: "vpn2", Device: "xbox", Port: "7"}: 2, {Client: "vpn1", Device: "xbox", Port: "7"}: 1,
		} {
			if n := f.Count(tv, place); n != want {
				t.Errorf("%+v: %d, want %d", place, n, want)
			}
		}
		must(t, f.tell(session.Starts, "4", f.grant("vpn1", tv), session.Report{Device: "xbox", Port: "7"}))
		if n := f.Count(tv, session.Place{}); n != 2 {
			t.Errorf("%d once the device is back, want 2", n)
		}
		f.want(3, f.Table)
		must(t, f.tell(session.GoesOn, "1", nil, session.Report{})) // it was there after all
		if n := f.Count(tv, session.Place{}); n != 3 {
			t.Errorf("%d, want 3", n)
		}
	})
}

// TestOfOneAreBounded: whoever has one token makes up no more sessions than an
// app password may have, and the oldest go first.
func TestOfOneAreBounded(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		token := f.grant("vpn1", tv)
		for n := range session.MaxPerAppPassword + 6 {
			time.Sleep(time.Second)
			must(t, f.tell(session.GoesOn, fmt.Sprint(n), token, session.Report{Device: fmt.Sprint(n)}))
		}
		if all := f.want(session.MaxPerAppPassword, f.Table); all[0].Device != "6" {
			t.Errorf("the oldest is %s, want 6", all[0].Device)
		}
		if known, lost := f.Stats(); known != session.MaxPerAppPassword || lost != 6 {
			t.Errorf("%d known, %d lost", known, lost)
		}
	})
}

// TestAllAreBounded: the client that has the most sessions gives way, the oldest
// first, and last what is being ended.
func TestAllAreBounded(t *testing.T) {
	const most, few = 100_000, 500
	try(t, func(t *testing.T, f *fixture) {
		f.Table = f.load() // which nobody runs: nothing is written, and nobody is asked
		n, device := 0, "old"
		report := func(client string) {
			of := tv
			of.Account = fmt.Sprint(n / session.MaxPerAppPassword)
			must(t, f.tell(session.GoesOn, fmt.Sprint(n), f.grant(client, of), session.Report{Client: client, Device: device}))
			n++
		}
		for range few {
			report("small")
		}
		time.Sleep(time.Second)
		for range 2000 {
			report("large")
		}
		time.Sleep(time.Second)
		device = "new"
		for n < most {
			report("large")
		}
		if known, lost := f.Stats(); known != most || lost != 0 {
			t.Fatalf("%d known, %d lost", known, lost)
		}
		report("small")
		left := map[string]int{}
		for _, s := range f.List("") {
			left[s.Client]++
			left[s.Device]++
		}
		known, lost := f.Stats()
		if lost == 0 || known+int(lost) != most+1 || left["small"] != few+1 || left["large"]+int(lost) != most-few || left["old"]+int(lost) != few+2000 {
			t.Errorf("%d known, %d lost, left are %v", known, lost, left)
		}

		for n < int(most+lost) {
			report("large")
		}
		f.take(tv)
		f.EndWith(newEnder())
		gone, leave := context.WithCancel(f.ctx)
		leave()
		for account := range n/session.MaxPerAppPassword + 1 {
			_, err := f.Endings(gone, fmt.Sprint(account), time.Now())
			must(t, err)
		}
		device = "newest"
		report("small")
		known, now := f.Stats()
		if now -= lost; now == 0 || known+int(now) != most+1 || !slices.ContainsFunc(f.List(""), func(s session.Session) bool { return s.Device == device }) {
			t.Errorf("%d known, %d lost, of which all were being ended", known, now)
		}
		for device = "fresh"; known < most; known++ {
			report("large")
		}
		report("small")
		fresh := 0
		for _, s := range f.List("") {
			if s.Device == "fresh" && s.Client == "large" {
				fresh++
			}
		}
		if fresh != 0 {
			t.Errorf("%d are left that are not being ended, and gave way last", fresh)
		}

		x := newEnder()
		x.wait = make(chan struct{})
		f.EndWith(x)
		ctx, stop := context.WithCancel(f.ctx)
		defer stop()
		go f.Table.Run(ctx)
		synctest.Wait()
		told := f.told()
		for _, n := range told {
			if n.Outcome != session.Unanswered {
				t.Fatalf("%+v is what came of a session that is lost", n)
			}
		}
		if len(told) == 0 {
			t.Error("nobody is told of what was lost")
		}
	})
}

// TestUnavailable: while nobody can tell whose a session is, nothing is said to be
// recorded.
func TestUnavailable(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		token, down := f.grant("vpn1", tv), errors.New("down")
		f.note(func() { f.away = down })
		if err := f.tell(session.Starts, "1", token, session.Report{}); !errors.Is(err, down) {
			t.Errorf("nobody can tell: %v", err)
		}
		f.want(0, f.Table)
		f.note(func() { f.away = nil })
		must(t, f.tell(session.Starts, "1", token, session.Report{}))
		f.store.mu.Lock()
		f.store.hold = make(chan struct{})
		f.store.mu.Unlock()
		left, leave := context.WithTimeout(f.ctx, time.Second)
		defer leave()
		if err := f.Report(left, session.Report{Event: session.Stopped, Client: "vpn1", ID: "1", At: time.Now()}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller left: %v", err)
		}
		close(f.store.hold)
	})
}
