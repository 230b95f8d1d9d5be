package control

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// An ender ends what it is asked for, with words.
type ender struct{}

func (ender) EndSession(context.Context, session.Session) (session.Outcome, string) {
	return session.Refused, "because"
}

// Sessions and what came of ending them get to the caller, every field.
func TestSessions(t *testing.T) {
	f := newFixture(t, nil)
	first := f.enroll(alain)
	f.enroll("beate")
	c, ctx := f.dial(), t.Context()
	all := controlv1.NewSessionsClient(c.conn)
	list := func(account string) []*controlv1.Session {
		t.Helper()
		stream, err := all.List(ctx, &controlv1.ListSessionsRequest{Account: account})
		must(t, err)
		var found []*controlv1.Session
		for {
			s, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return found
			}
			must(t, err)
			found = append(found, s)
		}
	}
	f.engine.EndSessionsWith(ender{})
	g, err := f.engine.Verify(ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(first.Password), Service: "radius/vpn1", Client: "vpn1"})
	must(t, err)
	at := time.Now().Truncate(time.Millisecond)
	must(t, f.engine.ReportSession(ctx, session.Report{
		Event: session.Starts, Client: "vpn1", ID: "1", Tokens: [][]byte{g.Session}, Device: "tv", Address: "10.0.0.5", At: at,
		HasOctets: true, OctetsIn: 1 << 40, OctetsOut: 7, Handle: []byte("not for callers"),
	}))
	for account, want := range map[string]int{"": 1, alain: 1, "beate": 0} {
		if got := list(account); len(got) != want {
			t.Errorf("of %q: %v", account, got)
		}
	}
	s := list("")[0]
	if s.Account != alain || s.AppPassword.GetId() != first.AppPassword.Id || s.AppPassword.Name != first.AppPassword.Name || s.Client != "vpn1" ||
		s.Device != "tv" || s.Address != "10.0.0.5" || !s.Since.AsTime().Equal(at) || s.OctetsIn != 1<<40 || s.OctetsOut != 7 ||
		s.Outcome != "" || s.Detail != "" || s.Asked != nil {
		t.Errorf("session %v", s)
	}
	stream, err := all.List(ctx, &controlv1.ListSessionsRequest{Account: "nobody"})
	must(t, err)
	if _, err := stream.Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("of nobody: %v", err)
	}
	before := time.Now()
	_, err = c.DeleteAll(ctx, &controlv1.DeleteAllRequest{Account: alain})
	must(t, err)
	r, err := all.ListEndings(ctx, &controlv1.ListEndingsRequest{Account: alain, Since: timestamp(before)})
	must(t, err)
	if len(r.Endings) != 1 || r.Endings[0].Outcome != "refused" || r.Endings[0].Detail != "because" || r.Endings[0].Session.GetClient() != "vpn1" {
		t.Errorf("endings %v", r)
	}
	if s := list(alain)[0]; s.Outcome != "refused" || s.Detail != "because" || s.Asked.AsTime().Before(before.Add(-time.Millisecond)) {
		t.Errorf("session %v", s)
	}
}
