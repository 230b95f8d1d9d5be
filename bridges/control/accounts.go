package control

import (
	"context"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// accounts serves the accounts of the local directory and two-step
// verification.
type accounts struct {
	controlv1.UnimplementedAccountsServer
	engine *core.Engine
}

func (s *accounts) Add(ctx context.Context, r *controlv1.AddAccountRequest) (*controlv1.Account, error) {
	var password []byte
	if r.MainPassword != "" {
		password = []byte(r.MainPassword)
		defer clear(password)
	}
	a, err := s.engine.AddAccount(ctx, r.Account, r.Groups, password)
	if err != nil {
		return nil, statusOf(err)
	}
	return fromAccount(a), nil
}

func (s *accounts) Get(ctx context.Context, r *controlv1.AccountRequest) (*controlv1.Account, error) {
	return s.get(ctx, r.Account, nil)
}

// get returns the account after a change of it, unless that failed.
func (s *accounts) get(ctx context.Context, account string, err error) (*controlv1.Account, error) {
	if err != nil {
		return nil, statusOf(err)
	}
	a, err := s.engine.Account(ctx, account)
	if err != nil {
		return nil, statusOf(err)
	}
	return fromAccount(a), nil
}

// listPage is how many accounts are read at once.
const listPage = 256

func (s *accounts) List(_ *controlv1.ListAccountsRequest, stream controlv1.Accounts_ListServer) error {
	after := ""
	for {
		page, err := s.engine.Accounts(stream.Context(), after, listPage)
		if err != nil {
			return statusOf(err)
		}
		for _, a := range page {
			if err := stream.Send(fromAccount(a)); err != nil {
				return err
			}
			after = a.Name
		}
		if len(page) < listPage {
			return nil
		}
	}
}

func (s *accounts) SetEnabled(ctx context.Context, r *controlv1.SetEnabledRequest) (*controlv1.Account, error) {
	return s.get(ctx, r.Account, s.engine.SetEnabled(ctx, r.Account, r.Enabled))
}

func (s *accounts) SetMainPassword(ctx context.Context, r *controlv1.SetMainPasswordRequest) (*controlv1.Account, error) {
	password := []byte(r.MainPassword)
	defer clear(password)
	return s.get(ctx, r.Account, s.engine.SetMainPassword(ctx, r.Account, password))
}

func (s *accounts) Delete(ctx context.Context, r *controlv1.AccountRequest) (*controlv1.DeleteAccountResponse, error) {
	if err := s.engine.DeleteAccount(ctx, r.Account); err != nil {
		return nil, statusOf(err)
	}
	return &controlv1.DeleteAccountResponse{}, nil
}

func (s *accounts) EnrollTwoStep(ctx context.Context, r *controlv1.AccountRequest) (*controlv1.EnrollTwoStepResponse, error) {
	uri, err := s.engine.Enroll(ctx, r.Account)
	if err != nil {
		return nil, statusOf(err)
	}
	return &controlv1.EnrollTwoStepResponse{Otpauth: uri}, nil
}

func (s *accounts) ConfirmTwoStep(ctx context.Context, r *controlv1.ConfirmTwoStepRequest) (*controlv1.ConfirmTwoStepResponse, error) {
	c, err := s.engine.Confirm(ctx, r.Account, r.Code, core.NewAppPassword{Name: r.Name, Profile: r.Profile})
	if err != nil {
		return nil, statusOf(err)
	}
	resp := &controlv1.ConfirmTwoStepResponse{RecoveryCodes: c.Recovery}
	if c.First != nil {
		defer c.FirstText.Wipe()
		resp.AppPassword, resp.Password = fromAppPassword(*c.First), c.FirstText.Canonical()
	}
	return resp, nil
}

func (s *accounts) TurnOffTwoStep(ctx context.Context, r *controlv1.AccountRequest) (*controlv1.Account, error) {
	return s.get(ctx, r.Account, s.engine.TurnOffTwoStep(ctx, r.Account))
}

func (s *accounts) CheckCode(ctx context.Context, r *controlv1.CheckCodeRequest) (*controlv1.CheckCodeResponse, error) {
	if err := s.engine.CheckCode(ctx, r.Account, r.Code); err != nil {
		return nil, statusOf(err)
	}
	return &controlv1.CheckCodeResponse{}, nil
}

func fromAccount(a core.Account) *controlv1.Account {
	return &controlv1.Account{
		Name: a.Name, Enabled: a.Enabled, Groups: a.Groups, TwoStep: a.TwoStep, TwoStepSince: timestamp(a.TwoStepSince),
		RecoveryCodes: uint32(a.Recovery), AppPasswords: uint32(a.AppPasswords), AppPasswordsAllowed: a.Allowed,
	}
}
