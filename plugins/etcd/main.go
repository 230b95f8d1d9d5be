package main

import (
	"context"
	"fmt"
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
		Timeout string `json:"timeout"`
	}
	err := from.Decode(&s)
	if err == nil && s.Timeout != "" {
		if s.Config.Timeout, err = time.ParseDuration(s.Timeout); err != nil {
			err = fmt.Errorf("timeout: %w", err)
		}
	}
	if err != nil {
		return err
	}
	s.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	p.Store, err = etcdstore.Open(s.Config)
	return err
}
