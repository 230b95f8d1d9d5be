package directorytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keywicket/keywicket/core/directory"
)

// standard is the fixture with codes, which the fake has.
func standard() Fixture {
	f, n := Standard(), 0
	f.Code = func() string { n++; return fmt.Sprintf("right %d", n) }
	return f
}

func TestSuiteTakesWhatIsRight(t *testing.T) {
	for _, c := range Cases() {
		d, err := newFake(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(t.Context(), d, standard()); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

// plain hides what a directory offers besides.
type plain struct{ directory.Directory }

func TestSuiteSaysWhatIsNotOffered(t *testing.T) {
	for _, c := range Cases() {
		d, err := newFake(t.Context(), "not mine and verifies")
		if err != nil {
			t.Fatal(err)
		}
		err = c.Check(t.Context(), plain{d}, Standard())
		kind, _, _ := strings.Cut(c.Name, "/")
		if required := kind == "lookup" || kind == "password"; required && err != nil || !required && !errors.Is(err, ErrNotOffered) {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

// TestSuiteFindsEveryFault plants one fault after the other. Each must be found
// by the case that is about it.
func TestSuiteFindsEveryFault(t *testing.T) {
	found := make(map[string]bool)
	for fault, want := range map[string]string{
		"another account":                  "lookup/known",
		"an old answer is at hand":         "at-hand/what-lookup-says",
		"the absent are at hand":           "at-hand/what-lookup-says",
		"groups are lost":                  "lookup/known",
		"no id":                            "lookup/known",
		"disabled is not found":            "lookup/disabled",
		"disabled looks enabled":           "lookup/disabled",
		"absent is unavailable":            "lookup/absent",
		"absent is found":                  "lookup/absent",
		"an account beside the error":      "lookup/absent",
		"an id for each answer":            "lookup/ids-stay-and-differ",
		"one id for all":                   "lookup/ids-stay-and-differ",
		"names are patterns":               "lookup/names-are-no-patterns",
		"names end at NUL":                 "lookup/names-are-no-patterns",
		"not mine and verifies":            "lookup/two-step",
		"answers are shared":               "lookup/not-shared",
		"an ended context is not found":    "lookup/context-ended",
		"an ended context is a fault":      "lookup/context-ended",
		"no password is right":             "password/right",
		"passwords are cut":                "password/wrong",
		"passwords are folded":             "password/wrong",
		"passwords are trimmed":            "password/wrong",
		"passwords end at NUL":             "password/wrong",
		"wrong is unavailable":             "password/wrong",
		"an empty password is right":       "password/empty",
		"disabled is right":                "password/disabled",
		"absent is denied":                 "password/absent",
		"absent is right":                  "password/absent",
		"absent is everything":             "password/absent",
		"no password takes any":            "password/none-set",
		"a long password is a fault":       "password/very-long",
		"passwords are wiped":              "password/argument-unchanged",
		"an ended context is denied":       "password/context-ended",
		"recognizes the enabled only":      "recognize/right",
		"recognizes anything":              "recognize/wrong",
		"tries lock":                       "recognize/does-not-count",
		"an empty code is right":           "code/wrong",
		"codes can be used again":          "code/right-once",
		"an add is disabled":               "edit/add",
		"an add that exists is fine":       "edit/add-existing",
		"an add that exists overwrites":    "edit/add-existing",
		"adds race":                        "edit/add-once-of-many",
		"empty is valid":                   "edit/invalid",
		"an empty password can be set":     "edit/invalid",
		"invalid leaves something":         "edit/invalid",
		"a first password is lost":         "edit/without-password",
		"disabled for good":                "edit/enable-and-disable",
		"the password stays":               "edit/set-password",
		"a password makes another account": "edit/set-password",
		"nothing is removed":               "edit/remove",
		"ids come back":                    "edit/remove",
		"a change of nobody is fine":       "edit/absent",
		"changes undo each other":          "edit/changes-at-the-same-time",
		"lists are not in order":           "edit/list",
		"lists are too long":               "edit/list",
		"a list ends early":                "edit/list",
		"pages overlap":                    "edit/list",
		"changes are not told":             "watch/changes",
		"changes name another":             "watch/changes",
		"the watch closes at once":         "watch/closes",
		"the watch stays open":             "watch/closes",
		"callers get each other's answers": "lookup/at-the-same-time",
	} {
		t.Run(fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // what waits in vain takes no time
				if err := checkWith(t.Context(), fault, want); err == nil || errors.Is(err, ErrNotOffered) {
					t.Errorf("%s says %v", want, err)
				}
			})
		})
		found[want] = true
	}
	for _, c := range Cases() {
		if !found[c.Name] {
			t.Errorf("%s: no fault is planted for it", c.Name)
		}
	}
}

func checkWith(ctx context.Context, fault, name string) error {
	d, err := newFake(ctx, fault)
	if err != nil {
		return nil // the fault was to be found by the case
	}
	i := slices.IndexFunc(Cases(), func(c Case) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return Cases()[i].Check(ctx, d, standard())
}

func TestRun(t *testing.T) {
	Run(t, func(tb testing.TB) directory.Directory {
		d, err := newFake(t.Context(), "")
		if err != nil {
			tb.Fatal(err)
		}
		return d
	})
}

// watchOnly hides what a directory offers beside its watch, as a plugin does.
type watchOnly struct {
	directory.Directory
	directory.Watcher
}

// TestSuiteWatchesFromOutside: a watch that cannot be made to tell something is not
// said to be right, and one that does not tell of a change from outside is found.
func TestSuiteWatchesFromOutside(t *testing.T) {
	for fault, right := range map[string]bool{"": true, "changes are not told": false, "changes name another": false} {
		synctest.Test(t, func(t *testing.T) { // what waits in vain takes no time
			d, err := newFake(t.Context(), fault)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			f := Standard()
			if err := watchChanges(ctx, watchOnly{d, d}, f); !errors.Is(err, ErrNotTried) {
				t.Errorf("%s: nothing changes anything: %v", fault, err)
			}
			f.Change = func(ctx context.Context) error { return d.SetEnabled(ctx, f.Enabled.Name, true) }
			if err := watchChanges(ctx, watchOnly{d, d}, f); (err == nil) != right {
				t.Errorf("%s: %v", fault, err)
			}
		})
	}
}
