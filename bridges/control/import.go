package control

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// Import checks or makes accounts, a request at a time.
func (s *accounts) Import(stream controlv1.Accounts_ImportServer) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp, err := s.importSome(stream.Context(), r)
		if err != nil {
			return statusOf(err)
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

func (s *accounts) importSome(ctx context.Context, r *controlv1.ImportRequest) (*controlv1.ImportResponse, error) {
	if n := len(r.Accounts); n > core.MaxImport {
		return nil, &core.Error{Op: "import", Kind: core.KindInvalid, Err: fmt.Errorf("%d accounts in one request; %d are allowed", n, core.MaxImport)}
	}
	if r.Write {
		all := make([]core.ImportAccount, len(r.Accounts))
		for i, a := range r.Accounts {
			all[i] = toImport(a)
		}
		made, err := s.engine.Import(ctx, all, r.Resume)
		return &controlv1.ImportResponse{Made: uint32(made), Equal: uint32(len(all) - made)}, err
	}
	resp := &controlv1.ImportResponse{}
	for _, a := range r.Accounts {
		c, err := s.engine.CheckImport(ctx, toImport(a), r.Resume)
		if err != nil {
			return nil, err
		}
		for _, text := range c.Faults {
			resp.Faults = append(resp.Faults, &controlv1.ImportFault{Line: a.Line, Text: text, Exists: c.Exists})
		}
		switch {
		case c.Equal:
			resp.Equal++
		case len(c.Faults) == 0:
			resp.Made++
		}
	}
	return resp, nil
}

// exportPage is how many accounts are sent at once: as many as one request of
// an import has.
const exportPage = core.MaxImport

// Export sends every account as Import takes it.
func (s *accounts) Export(r *controlv1.ExportRequest, stream controlv1.Accounts_ExportServer) error {
	after := ""
	for {
		page, err := s.engine.Export(stream.Context(), after, exportPage, r.Hashes)
		if err != nil {
			return statusOf(err)
		}
		if len(page) > 0 {
			resp := &controlv1.ExportResponse{}
			for _, a := range page {
				resp.Accounts = append(resp.Accounts, fromImport(a))
			}
			if err := stream.Send(resp); err != nil {
				return err
			}
			after = page[len(page)-1].Name
		}
		if len(page) < exportPage {
			return nil
		}
	}
}

func toImport(a *controlv1.ImportAccount) core.ImportAccount {
	return core.ImportAccount{Name: a.GetName(), Groups: a.GetGroups(), Enabled: a.GetEnabled(), PasswordHash: a.GetPasswordHash()}
}

func fromImport(a core.ImportAccount) *controlv1.ImportAccount {
	return &controlv1.ImportAccount{Name: a.Name, Groups: a.Groups, Enabled: a.Enabled, PasswordHash: a.PasswordHash}
}
