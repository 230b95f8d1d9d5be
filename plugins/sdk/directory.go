package sdk

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// directoryServer answers from a directory.
type directoryServer struct {
	pluginv1.UnimplementedDirectoryServer
	directory directory.Directory
}

func (s *directoryServer) Lookup(ctx context.Context, req *pluginv1.LookupRequest) (*pluginv1.LookupResponse, error) {
	a, err := s.directory.Lookup(ctx, req.Name)
	if err != nil {
		return nil, wire.DirectoryStatus(err)
	}
	return &pluginv1.LookupResponse{Name: req.Name, Account: &pluginv1.Account{
		Id: a.ID, Name: a.Name, Enabled: a.Enabled, Groups: a.Groups, Attributes: a.Attributes, TwoStep: twoStep(a.TwoStep),
	}}, nil
}

func twoStep(t directory.TwoStep) pluginv1.TwoStep {
	switch t {
	case directory.NotMine:
		return pluginv1.TwoStep_TWO_STEP_NOT_MINE
	case directory.Off:
		return pluginv1.TwoStep_TWO_STEP_OFF
	case directory.On:
		return pluginv1.TwoStep_TWO_STEP_ON
	}
	return pluginv1.TwoStep_TWO_STEP_UNSPECIFIED
}

func (s *directoryServer) VerifyPassword(ctx context.Context, req *pluginv1.VerifyPasswordRequest) (*pluginv1.VerifyPasswordResponse, error) {
	defer clear(req.Password)
	v, err := verdict(s.directory.VerifyPassword(ctx, req.Name, req.Password))
	if err != nil {
		return nil, err
	}
	return &pluginv1.VerifyPasswordResponse{Name: req.Name, Verdict: v}, nil
}

func (s *directoryServer) VerifyCode(ctx context.Context, req *pluginv1.VerifyCodeRequest) (*pluginv1.VerifyCodeResponse, error) {
	d, ok := s.directory.(directory.CodeVerifier)
	if !ok {
		return nil, wire.DirectoryStatus(fmt.Errorf("%w: this directory checks no codes", directory.ErrInvalid))
	}
	v, err := verdict(d.VerifyCode(ctx, req.Name, req.Code))
	if err != nil {
		return nil, err
	}
	return &pluginv1.VerifyCodeResponse{Name: req.Name, Verdict: v}, nil
}

// verdict turns the answer of a check into one, or into a status.
func verdict(err error) (pluginv1.Verdict, error) {
	switch {
	case err == nil:
		return pluginv1.Verdict_VERDICT_RIGHT, nil
	case errors.Is(err, directory.ErrUnavailable): // whoever says this besides something else is not sure
		return 0, wire.DirectoryStatus(err)
	case errors.Is(err, directory.ErrDenied):
		return pluginv1.Verdict_VERDICT_WRONG, nil
	}
	return 0, wire.DirectoryStatus(err)
}

func (s *directoryServer) Watch(_ *pluginv1.WatchAccountsRequest, stream grpc.ServerStreamingServer[pluginv1.WatchAccountsResponse]) error {
	d, ok := s.directory.(directory.Watcher)
	if !ok {
		return wire.DirectoryStatus(fmt.Errorf("%w: this directory has no watch", directory.ErrInvalid))
	}
	changes, err := d.Watch(stream.Context())
	if err != nil {
		return wire.DirectoryStatus(err)
	}
	if err := stream.Send(&pluginv1.WatchAccountsResponse{Started: true}); err != nil {
		return err
	}
	for c := range changes {
		if err := stream.Send(&pluginv1.WatchAccountsResponse{Name: c.Name, Reset_: c.Reset, Lost: c.Lost}); err != nil {
			return err
		}
	}
	return ended(stream.Context(), wire.DirectoryStatus, directory.ErrUnavailable)
}
