package control

import (
	"context"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// endingsPatience is how long a caller waits at most for clients that were
// asked to end sessions.
const endingsPatience = 4 * time.Second

// sessions serves where app passwords are in use.
type sessions struct {
	controlv1.UnimplementedSessionsServer
	engine *core.Engine
}

func (s *sessions) List(r *controlv1.ListSessionsRequest, stream controlv1.Sessions_ListServer) error {
	all, err := s.engine.Sessions(r.Account)
	if err == nil && len(all) == 0 && r.Account != "" { // it has none, or there is nobody
		err = s.engine.Exists(stream.Context(), r.Account)
	}
	if err != nil {
		return statusOf(err)
	}
	for _, each := range all {
		if err := stream.Send(fromSession(each)); err != nil {
			return err
		}
	}
	return nil
}

func (s *sessions) ListEndings(ctx context.Context, r *controlv1.ListEndingsRequest) (*controlv1.ListEndingsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, endingsPatience)
	defer cancel()
	all, err := s.engine.SessionEndings(ctx, r.Account, fromTimestamp(r.Since))
	if err != nil {
		return nil, statusOf(err)
	}
	resp := &controlv1.ListEndingsResponse{}
	for _, n := range all {
		resp.Endings = append(resp.Endings, &controlv1.SessionEnding{Session: fromSession(n), Outcome: string(n.Outcome), Detail: n.Detail})
	}
	return resp, nil
}

// fromSession leaves out what the bridge alone can read.
func fromSession(s session.Session) *controlv1.Session {
	return &controlv1.Session{
		Account: s.Account, AppPassword: fromRef(core.Ref{ID: s.AppPassword, Name: s.AppPasswordName}), Client: s.Client, Device: s.Device, Address: s.Address,
		Since: timestamp(s.Since), OctetsIn: s.OctetsIn, OctetsOut: s.OctetsOut, Outcome: string(s.Outcome), Detail: s.Detail, Asked: timestamp(s.Asked),
	}
}
