package control

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// appPasswords serves the app passwords of any account.
type appPasswords struct {
	controlv1.UnimplementedAppPasswordsServer
	engine *core.Engine
}

func (s *appPasswords) Create(ctx context.Context, r *controlv1.CreateRequest) (*controlv1.CreateResponse, error) {
	n := core.NewAppPassword{Name: r.Name, Profile: r.Profile, Expires: fromTimestamp(r.Expires)}
	for _, a := range r.Reply {
		n.Reply = append(n.Reply, core.Reply{Name: a.GetName(), Value: a.GetValue()})
	}
	made, text, err := s.engine.Create(ctx, r.Account, n)
	if err != nil {
		return nil, statusOf(err)
	}
	defer text.Wipe()
	return &controlv1.CreateResponse{AppPassword: fromAppPassword(made), Password: text.Canonical()}, nil
}

func (s *appPasswords) List(ctx context.Context, r *controlv1.ListRequest) (*controlv1.ListResponse, error) {
	all, err := s.engine.List(ctx, r.Account)
	if err != nil {
		return nil, statusOf(err)
	}
	resp := &controlv1.ListResponse{}
	for _, p := range all {
		resp.AppPasswords = append(resp.AppPasswords, fromAppPassword(p))
	}
	return resp, nil
}

func (s *appPasswords) Delete(ctx context.Context, r *controlv1.AppPasswordRequest) (*controlv1.ChangedResponse, error) {
	return changed(s.engine.Delete(ctx, r.Account, r.AppPassword))
}

func (s *appPasswords) Suspend(ctx context.Context, r *controlv1.AppPasswordRequest) (*controlv1.ChangedResponse, error) {
	return changed(s.engine.Suspend(ctx, r.Account, r.AppPassword))
}

func (s *appPasswords) Resume(ctx context.Context, r *controlv1.AppPasswordRequest) (*controlv1.ChangedResponse, error) {
	return changed(s.engine.Resume(ctx, r.Account, r.AppPassword))
}

func (s *appPasswords) Repin(ctx context.Context, r *controlv1.AppPasswordRequest) (*controlv1.ChangedResponse, error) {
	return changed(s.engine.Repin(ctx, r.Account, r.AppPassword))
}

func changed(ref core.Ref, err error) (*controlv1.ChangedResponse, error) {
	if err != nil {
		return nil, statusOf(err)
	}
	return &controlv1.ChangedResponse{AppPasswords: []*controlv1.AppPasswordRef{fromRef(ref)}}, nil
}

func (s *appPasswords) DeleteAll(ctx context.Context, r *controlv1.DeleteAllRequest) (*controlv1.ChangedResponse, error) {
	refs, err := s.engine.DeleteAll(ctx, r.Account)
	if err != nil {
		return nil, statusOf(err)
	}
	resp := &controlv1.ChangedResponse{}
	for _, ref := range refs {
		resp.AppPasswords = append(resp.AppPasswords, fromRef(ref))
	}
	return resp, nil
}

func (s *appPasswords) Rotate(ctx context.Context, r *controlv1.RotateRequest) (*controlv1.CreateResponse, error) {
	// Beyond what a Duration can hold is beyond what the engine allows.
	overlap := time.Duration(min(max(r.OverlapSeconds, -1), int64(core.MaxOverlap/time.Second)+1)) * time.Second
	made, text, err := s.engine.Rotate(ctx, r.Account, r.AppPassword, overlap)
	if err != nil {
		return nil, statusOf(err)
	}
	defer text.Wipe()
	return &controlv1.CreateResponse{AppPassword: fromAppPassword(made), Password: text.Canonical()}, nil
}

func (s *appPasswords) Verify(ctx context.Context, r *controlv1.VerifyRequest) (*controlv1.VerifyResponse, error) {
	if r.Service == "" { // "*" would cover it
		return nil, statusOf(&core.Error{Op: "verify", Kind: core.KindInvalid, Err: errors.New("the attempt names no service")})
	}
	a := core.Attempt{Account: r.Account, Proof: proof.Cleartext(r.Password), Service: r.Service, Device: r.Device}
	if r.Source != "" {
		var err error
		if a.Source, err = netip.ParseAddr(r.Source); err != nil {
			return nil, statusOf(&core.Error{Op: "verify", Kind: core.KindInvalid, Err: err})
		}
	}
	grant, err := s.engine.Verify(ctx, a)
	if err == nil {
		return &controlv1.VerifyResponse{Granted: true, AppPassword: fromRef(grant.AppPassword)}, nil
	}
	if core.KindOf(err) == core.KindUnavailable {
		return nil, statusOf(err)
	}
	reason := core.ReasonOf(err)
	return &controlv1.VerifyResponse{Reason: string(reason), Sentence: reason.SentenceOf(a.Proof.Method(), r.Device)}, nil
}

func (s *appPasswords) ListAttempts(ctx context.Context, r *controlv1.ListAttemptsRequest) (*controlv1.ListAttemptsResponse, error) {
	all, err := s.engine.Attempts(ctx, r.Account)
	if err != nil {
		return nil, statusOf(err)
	}
	if len(all) == 0 { // nothing happened, or there is nobody
		if err := s.engine.Exists(ctx, r.Account); err != nil {
			return nil, statusOf(err)
		}
	}
	resp := &controlv1.ListAttemptsResponse{}
	for _, a := range all {
		resp.Attempts = append(resp.Attempts, fromAttempt(a))
	}
	return resp, nil
}

func fromAppPassword(p core.AppPassword) *controlv1.AppPassword {
	m := &controlv1.AppPassword{
		Id: p.ID, Name: p.Name, Profile: p.Profile, Letters: uint32(p.Letters), Services: p.Services,
		PinDevice: p.Pinned, Pin: p.Pin, Created: timestamp(p.Created), Rotated: timestamp(p.Rotated),
		Expires: timestamp(p.Expires), Status: string(p.Status), Uses: p.Uses,
	}
	for _, method := range p.Methods {
		m.Methods = append(m.Methods, string(method))
	}
	for _, a := range p.Reply {
		m.Reply = append(m.Reply, &controlv1.RadiusAttribute{Name: a.Name, Value: a.Value})
	}
	if u := p.LastUse; u != nil {
		m.LastUse = &controlv1.Use{Time: timestamp(u.Time), Service: u.Service, Source: u.Source, Device: u.Device, Method: string(u.Method)}
	}
	return m
}

func fromAttempt(a core.AttemptEntry) *controlv1.Attempt {
	return &controlv1.Attempt{
		Time: timestamp(a.Time), Service: a.Service, Source: a.Source, Device: a.Device, Method: string(a.Method),
		Reason: string(a.Reason), Sentence: a.Sentence(), AppPassword: fromRef(a.AppPassword),
	}
}

// fromRef returns nil for no app password.
func fromRef(r core.Ref) *controlv1.AppPasswordRef {
	if r.ID == "" {
		return nil
	}
	return &controlv1.AppPasswordRef{Id: r.ID, Name: r.Name}
}

// timestamp and fromTimestamp map times; the zero time is absent.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func fromTimestamp(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
