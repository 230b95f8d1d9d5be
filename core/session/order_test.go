package session_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/session"
)

// TestLateReportSaysLess: what a report that comes late says of a session does not
// take the place of what is known from a later one, and fills in what is not.
func TestLateReportSaysLess(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		token, began := f.grant("vpn1", tv), time.Now()
		time.Sleep(time.Minute)
		must(t, f.tell(session.GoesOn, "1", token, session.Report{Device: "new", Handle: []byte("new"), HasOctets: true, OctetsIn: 1<<64 - 1, OctetsOut: 5}))
		for _, event := range []session.Event{session.Starts, session.GoesOn} {
			must(t, f.tell(event, "1", token, session.Report{At: began, Device: "old", Port: "7", Address: "10.0.0.5", Handle: []byte("old"), HasOctets: true, OctetsIn: 5, OctetsOut: 1 << 40}))
		}
		s := f.want(1, f.Table)[0]
		if s.Device != "new" || string(s.Handle) != "new" || s.Address != "10.0.0.5" || s.OctetsIn != 1<<64-1 || s.OctetsOut != 5 {
			t.Errorf("known as %+v", s)
		}
		if n := f.Count(tv, session.Place{Client: "vpn1", Device: "new", Port: "7"}); n != 0 {
			t.Error("its port is not known")
		}
		must(t, f.tell(session.GoesOn, "1", token, session.Report{Device: "newer", Handle: []byte("newer"), HasOctets: true, OctetsIn: 7}))
		if s := f.want(1, f.Table)[0]; s.Device != "newer" || string(s.Handle) != "newer" || s.Address != "10.0.0.5" || s.OctetsIn != 7 {
			t.Errorf("then as %+v", s)
		}
		must(t, f.tell(session.GoesOn, "1", token, session.Report{}))
		if s := f.want(1, f.Table)[0]; string(s.Handle) != "newer" {
			t.Errorf("the handle is lost: %+v", s)
		}
		must(t, f.tell(session.GoesOn, "2", token, session.Report{}))
		must(t, f.tell(session.GoesOn, "2", token, session.Report{At: began, Handle: []byte("old")}))
		for _, s := range f.want(2, f.Table) {
			if s.Client == "vpn1" && len(s.Handle) == 0 {
				t.Errorf("the handle of a late report is not taken: %+v", s)
			}
		}
	})
}

// A told is a report of a session at the place of the test's device, so many
// minutes after the beginning.
type told struct {
	event  session.Event
	id     string
	at     int // when it was so
	lasted int // that the session had lasted by then
}

// TestOneAtAPlace: in whatever order reports of two sessions of one device at one
// port come, and whichever comes twice, one of the two counts: the one that began
// later; both where both are reported after that. So it is after a restart.
func TestOneAtAPlace(t *testing.T) {
	const starts, goesOn = session.Starts, session.GoesOn
	for name, tt := range map[string]struct {
		reports []told
		want    string // that count
	}{
		"in order":                              {[]told{{starts, "a", 0, 0}, {starts, "b", 10, 0}}, "b"},
		"the other way round":                   {[]told{{starts, "b", 10, 0}, {starts, "a", 0, 0}}, "b"},
		"the first start comes twice":           {[]told{{starts, "a", 0, 0}, {starts, "b", 10, 0}, {starts, "a", 0, 0}}, "b"},
		"both starts come twice":                {[]told{{starts, "a", 0, 0}, {starts, "b", 10, 0}, {starts, "a", 0, 0}, {starts, "b", 10, 0}}, "b"},
		"the second start was lost":             {[]told{{starts, "a", 0, 0}, {goesOn, "b", 20, 10}}, "b"},
		"both starts were lost":                 {[]told{{goesOn, "a", 5, 5}, {goesOn, "b", 20, 10}}, "b"},
		"an interim of the first comes late":    {[]told{{starts, "a", 0, 0}, {starts, "b", 10, 0}, {goesOn, "a", 9, 9}}, "b"},
		"both are there":                        {[]told{{starts, "a", 0, 0}, {starts, "b", 10, 0}, {goesOn, "a", 12, 12}}, "a b"},
		"both are, and a start comes late":      {[]told{{starts, "a", 0, 0}, {goesOn, "a", 12, 12}, {starts, "b", 10, 0}}, "a b"},
		"both are, and a start comes twice":     {[]told{{starts, "a", 0, 0}, {starts, "b", 10, 0}, {goesOn, "a", 12, 12}, {starts, "b", 10, 0}}, "a b"},
		"the second is over, and nothing since": {[]told{{starts, "a", 0, 0}, {starts, "b", 10, 0}, {session.Stopped, "b", 11, 1}}, ""},
	} {
		for _, restart := range []bool{false, true} {
			if restart {
				name += ", after a restart"
			}
			try(t, func(t *testing.T, f *fixture) {
				token, began := f.grant("vpn1", tv), time.Now()
				time.Sleep(time.Hour)
				for i, r := range tt.reports {
					if restart && i == len(tt.reports)-1 {
						f.close()
						f.open()
					}
					must(t, f.tell(r.event, r.id, token, session.Report{
						Device: "xbox", Port: "7", Handle: []byte(r.id), At: began.Add(time.Duration(r.at) * time.Minute), For: time.Duration(r.lasted) * time.Minute,
					}))
				}
				got, count := "", 0
				for _, s := range f.List(alain) {
					if got += string(s.Handle); len(got) == 1 && len(tt.want) > 1 {
						got += " "
					}
					count++
				}
				if n := f.Count(tv, session.Place{}); got != tt.want || n != count {
					t.Errorf("%s: %q are listed and %d count, want %q", name, got, n, tt.want)
				}
			})
		}
	}
}

// TestIDsOfOneClientAndAnother: an id is of the client that gave it, also where
// another gave the same, and no report of one touches the session of the other.
func TestIDsOfOneClientAndAnother(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		for _, client := range []string{"vpn1", "vpn2"} {
			must(t, f.tell(session.Starts, "1", f.grant(client, tv), session.Report{Client: client, Device: client}))
		}
		f.want(2, f.Table)
		must(t, f.tell(session.Stopped, "1", f.grant("vpn2", tv), session.Report{Client: "vpn2"}))
		if s := f.want(1, f.Table)[0]; s.Client != "vpn1" {
			t.Errorf("left is %+v", s)
		}
		must(t, f.Forget(f.ctx, "vpn2", func(session.Session) bool { return true }))
		f.want(1, f.Table)
	})
}

// TestStopWithAnotherToken: an end with a token of before, of another client, or of
// none, ends what the client calls so, but no session that began after it; what is
// over stays over for whatever of it comes later.
func TestStopWithAnotherToken(t *testing.T) {
	for name, tt := range map[string]struct {
		stop func(f *fixture, first, second []byte) []byte
		left int
	}{
		"its own":              {func(_ *fixture, _, second []byte) []byte { return second }, 0},
		"none":                 {func(*fixture, []byte, []byte) []byte { return nil }, 0},
		"another client's":     {func(f *fixture, _, _ []byte) []byte { return f.grant("vpn2", laptop) }, 0},
		"of the id before":     {func(_ *fixture, first, _ []byte) []byte { return first }, 1},
		"of a later grant":     {func(f *fixture, _, _ []byte) []byte { return f.grant("vpn1", laptop) }, 0},
		"of a later one of it": {func(f *fixture, _, _ []byte) []byte { return f.grant("vpn1", tv) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			try(t, func(t *testing.T, f *fixture) {
				first := f.grant("vpn1", laptop)
				time.Sleep(time.Minute)
				second := f.grant("vpn1", tv)
				must(t, f.tell(session.Starts, "1", second, session.Report{}))
				time.Sleep(time.Minute)
				stop := tt.stop(f, first, second)
				must(t, f.tell(session.Stopped, "1", stop, session.Report{}))
				f.want(tt.left, f.Table)
				f.want(tt.left, f.load())
				for _, event := range []session.Event{session.Starts, session.GoesOn} {
					for _, token := range [][]byte{first, second, stop, nil} {
						must(t, f.tell(event, "1", token, session.Report{}))
					}
				}
				f.want(tt.left, f.Table)
			})
		})
	}
}

// TestComesAgain: an end is remembered for a quarter of an hour, whatever else ends
// meanwhile.
func TestComesAgain(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		token := f.grant("vpn1", tv)
		must(t, f.tell(session.Starts, "1", token, session.Report{}))
		must(t, f.tell(session.Stopped, "1", token, session.Report{}))
		for n := range 28 {
			time.Sleep(31 * time.Second) // longer than the bridge remembers a request
			must(t, f.tell(session.Starts, "1", token, session.Report{}))
			must(t, f.tell(session.Starts, fmt.Sprint("other", n), token, session.Report{}))
			must(t, f.tell(session.Stopped, fmt.Sprint("other", n), token, session.Report{}))
			f.want(0, f.Table)
		}
	})
}

// TestGoesOnAfterItsEnd: a session that is held to be over, and that its client did
// not tell the end of, is known again with a report that it goes on; nothing else
// brings it back, and nothing one that its client said was over.
func TestGoesOnAfterItsEnd(t *testing.T) {
	const late = -5 * time.Minute
	ends := map[string]func(f *fixture, token []byte){
		"its client began anew": func(f *fixture, _ []byte) {
			must(f.t, f.Forget(f.ctx, "vpn1", func(session.Session) bool { return true }))
		},
		"it was asked to end it": func(f *fixture, _ []byte) {
			f.EndWith(newEnder())
			f.take(tv)
			synctest.Wait()
			f.EndWith(nil)
			f.note(func() { clear(f.gone) })
		},
		"its client told": func(f *fixture, token []byte) { must(f.t, f.tell(session.Stopped, "1", token, session.Report{})) },
	}
	for how, end := range ends {
		for name, tt := range map[string]struct {
			event  session.Event
			ago    time.Duration
			untied bool
			wait   time.Duration
			told   bool // its client told of the end meanwhile
			want   int
		}{
			"it goes on":                    {session.GoesOn, 0, false, time.Minute, false, 1},
			"it went on before":             {session.GoesOn, late, false, time.Minute, false, 0},
			"a report was overtaken":        {session.GoesOn, 0, false, 5 * time.Second, false, 0},
			"its start comes once more":     {session.Starts, 0, false, time.Minute, false, 0},
			"nothing says whose it is":      {session.GoesOn, 0, true, time.Minute, false, 0},
			"its end comes after the other": {session.Stopped, 0, false, time.Minute, false, 0},
			"it went on, and its end came":  {session.GoesOn, 0, false, time.Minute, true, 0},
		} {
			t.Run(how+", "+name, func(t *testing.T) {
				try(t, func(t *testing.T, f *fixture) {
					token := f.grant("vpn1", tv)
					must(t, f.tell(session.Starts, "1", token, session.Report{}))
					time.Sleep(10 * time.Minute)
					end(f, token)
					f.want(0, f.Table)
					if tt.told {
						must(t, f.tell(session.Stopped, "1", token, session.Report{}))
					}
					time.Sleep(tt.wait)
					want := tt.want
					if how == "its client told" {
						want = 0
					}
					if tt.untied {
						token = nil
					}
					must(t, f.tell(tt.event, "1", token, session.Report{At: time.Now().Add(tt.ago)}))
					f.want(want, f.Table)
					if want > 0 {
						must(t, f.tell(session.GoesOn, "1", nil, session.Report{HasOctets: true, OctetsIn: 5}))
						if s := f.want(1, f.Table)[0]; s.OctetsIn != 5 {
							t.Errorf("then it is %+v", s)
						}
						must(t, f.tell(session.Stopped, "1", token, session.Report{}))
						f.want(0, f.Table)
					}
				})
			})
		}
	}
}

// TestIDOfBeforeWithoutAToken: what a client says of a session without a token is of
// the one that has the id now, also soon after another one had it.
func TestIDOfBeforeWithoutAToken(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		for range 3 {
			must(t, f.tell(session.Starts, "1", f.grant("vpn1", tv), session.Report{}))
			must(t, f.tell(session.GoesOn, "1", nil, session.Report{HasOctets: true, OctetsIn: 5}))
			if s := f.want(1, f.Table)[0]; s.OctetsIn != 5 {
				t.Errorf("it is %+v", s)
			}
			must(t, f.tell(session.Stopped, "1", nil, session.Report{}))
			f.want(0, f.Table)
			f.want(0, f.load())
			time.Sleep(time.Second)
		}
	})
}

// TestLateOfTheIDBefore: what comes late of a session whose id another one of the
// same app password has now, is not of that one.
func TestLateOfTheIDBefore(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		first := f.grant("vpn1", tv)
		must(t, f.tell(session.Starts, "1", first, session.Report{}))
		must(t, f.tell(session.Stopped, "1", first, session.Report{}))
		time.Sleep(time.Minute)
		must(t, f.tell(session.Starts, "1", f.grant("vpn1", tv), session.Report{}))
		for _, event := range []session.Event{session.Starts, session.GoesOn, session.Stopped} {
			must(t, f.tell(event, "1", first, session.Report{HasOctets: true, OctetsIn: 9}))
		}
		if s := f.want(1, f.Table)[0]; s.OctetsIn != 0 {
			t.Errorf("it is %+v", s)
		}
	})
}
