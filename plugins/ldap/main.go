package main

import (
	"context"
	"fmt"
	"time"

	"github.com/keywicket/keywicket/plugins/ldap/ldapdirectory"
	"github.com/keywicket/keywicket/plugins/sdk"
)

func main() { sdk.ServeDirectory(&plugin{}) }

// A plugin is the directory, from Configure on.
type plugin struct{ *ldapdirectory.Directory }

// Configure implements sdk.Configurer.
func (p *plugin) Configure(_ context.Context, from sdk.Settings) error {
	var s struct {
		ldapdirectory.Config
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
	p.Directory, err = ldapdirectory.Open(s.Config)
	return err
}
