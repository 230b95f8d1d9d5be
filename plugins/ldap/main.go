package main

import (
	"context"
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
		Timeout sdk.Duration `json:"timeout"`
	}
	err := from.Decode(&s)
	if err != nil {
		return err
	}
	s.Config.Timeout = time.Duration(s.Timeout)
	p.Directory, err = ldapdirectory.Open(s.Config)
	return err
}
