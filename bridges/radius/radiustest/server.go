package radiustest

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/keywicket/keywicket/bridges/radius"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

const (
	Secret   = "correct horse battery staple" // shared with every client on loopback
	Password = "kfmwtbrqhjaxpdnesgcy"         // the one that is granted
)

// Serve serves on loopback until the test ends.
func Serve(t testing.TB) netip.AddrPort {
	t.Helper()
	s, err := radius.Listen(radius.Config{
		Listen: []string{"127.0.0.1:0"},
		Clients: []radius.Client{{
			Name: "here", Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Secrets: [][]byte{[]byte(Secret)},
			Methods: proof.Methods(), AllowInsecureMSCHAP: true,
		}},
		RejectDelay: 1,
	}, verifier{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background()) }()
	t.Cleanup(func() { _, _ = s.Close(), <-done })
	return s.Addrs()[0]
}

// A verifier grants Password to everybody, by every method.
type verifier struct{}

func (verifier) Verify(_ context.Context, a core.Attempt) (core.Grant, error) {
	granted := false
	switch p := a.Proof.(type) {
	case proof.Cleartext:
		granted = string(p) == Password
	case proof.Trial:
		material := proof.Material(p.Method(), Password)
		granted = p.Try(material)
		if d, ok := p.(proof.Deriver); ok && granted {
			d.Derive(material)
		}
	}
	if !granted {
		return core.Grant{}, &core.Error{Op: "verify", Kind: core.KindDenied, Reason: core.ReasonWrong}
	}
	return core.Grant{Account: a.Account}, nil
}

func (verifier) Ready(context.Context) error { return nil }
func (verifier) Jitter(string) uint64        { return 0 }
