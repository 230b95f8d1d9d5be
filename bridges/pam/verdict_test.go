package pam

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/keywicket/keywicket/core"
)

// Every kind of error has its answer, to an attempt and to a question about an
// account; every reason has a kind, and so an answer too.
func TestVerdicts(t *testing.T) {
	type row struct{ attempt, standing Verdict }
	want := map[core.Kind]row{
		core.KindInternal:    {Unavailable, Unavailable},
		core.KindDenied:      {Deny, Deny},
		core.KindInvalid:     {Deny, Unknown},
		core.KindNotFound:    {Deny, Unknown},
		core.KindConflict:    {Deny, Deny},
		core.KindLimited:     {Deny, Deny},
		core.KindUnavailable: {Unavailable, Unavailable},
		core.KindDamaged:     {Deny, Deny},
	}
	for _, k := range core.Kinds() {
		w, ok := want[k]
		if !ok {
			t.Errorf("kind %v: no row here; decide what the module shall answer", k)
			continue
		}
		err := fmt.Errorf("while testing: %w", &core.Error{Op: "test", Kind: k})
		if got := (row{verdictOf(err), standingOf(err)}); got != w {
			t.Errorf("%v is answered with %v, want %v", k, got, w)
		}
	}
	for _, r := range core.Reasons() {
		want := Deny
		if r == core.ReasonUnavailable {
			want = Unavailable
		}
		if got := verdictOf(&core.Error{Op: "verify", Kind: r.Kind(), Reason: r}); got != want {
			t.Errorf("%s is answered with %v, want %v", r, got, want)
		}
	}
	for name, tt := range map[string]struct {
		err  error
		want Verdict
	}{
		"no error":       {nil, Allow},
		"foreign error":  {errors.New("disk on fire"), Unavailable},
		"kind never set": {&core.Error{Op: "test"}, Unavailable},
		"too late":       {context.DeadlineExceeded, Unavailable},
	} {
		if verdictOf(tt.err) != tt.want || standingOf(tt.err) != tt.want {
			t.Errorf("%s: %v and %v, want %v", name, verdictOf(tt.err), standingOf(tt.err), tt.want)
		}
	}
}

// The numbers are the wire's.
func TestNumbers(t *testing.T) {
	for v, want := range map[Verdict]string{1: "allow", 2: "deny", 3: "unavailable", 4: "unknown", 5: "expired", 0: "none", 6: "none"} {
		if v.String() != want {
			t.Errorf("%d is %v, want %s", uint8(v), v, want)
		}
	}
	if Authenticate != 1 || Account != 2 || replySize != 19 {
		t.Error("a type or the size of a reply has changed")
	}
}
