package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/keywicket/keywicket/plugins/etcd/etcdstore"
	"github.com/keywicket/keywicket/plugins/sdk"
)

func main() { sdk.ServeStore(&plugin{}) }

// A plugin is the store, from Configure on.
type plugin struct{ *etcdstore.Store }

// Configure implements sdk.Configurer.
func (p *plugin) Configure(_ context.Context, from sdk.Settings) error {
	var s struct {
		etcdstore.Config
		Timeout sdk.Duration `json:"timeout"`
	}
	err := from.Decode(&s)
	if err != nil {
		return err
	}
	s.Config.Timeout = time.Duration(s.Timeout)
	s.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	p.Store, err = etcdstore.Open(s.Config)
	return err
}
