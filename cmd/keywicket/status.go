package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the daemon, its store and its bridges; exit code 3 when it is not there",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) error {
				s, err := d.daemon.Status(ctx, &controlv1.StatusRequest{})
				if err != nil {
					return err
				}
				if asJSON {
					err = a.printJSON(toStatusJSON(s))
				} else {
					err = a.showStatus(s)
				}
				if err == nil && !s.Store.GetReady() {
					return unavailableError{fmt.Errorf("the store cannot decide attempts: %s", s.Store.GetProblem())}
				}
				return err
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

type (
	statusJSON struct {
		Version  string                `json:"version"`
		Started  time.Time             `json:"started"`
		Store    storeJSON             `json:"store"`
		Bridges  map[string]bridgeJSON `json:"bridges"`
		Plugins  []pluginJSON          `json:"plugins"`
		Warnings []string              `json:"warnings"`
		Cache    cacheJSON             `json:"cache"`
	}
	storeJSON struct {
		Kind    string `json:"kind"`
		Path    string `json:"path"`
		Ready   bool   `json:"ready"`
		Problem string `json:"problem,omitempty"`
		Free    uint64 `json:"free_octets"`
	}
	bridgeJSON struct {
		Addresses []string          `json:"addresses"`
		Counters  map[string]uint64 `json:"counters"`
	}
	cacheJSON struct {
		Accounts uint64 `json:"accounts"`
		Octets   uint64 `json:"octets"`
	}
)

func toStatusJSON(s *controlv1.StatusResponse) statusJSON {
	j := statusJSON{
		Version: s.Version, Started: s.Started.AsTime(), Bridges: map[string]bridgeJSON{}, Plugins: []pluginJSON{},
		Store: storeJSON{Kind: s.Store.GetKind(), Path: s.Store.GetPath(), Ready: s.Store.GetReady(), Problem: s.Store.GetProblem(), Free: s.Store.GetFreeOctets()},
		Cache: cacheJSON{Accounts: s.CachedAccounts, Octets: s.CachedOctets}, Warnings: notNil(s.Warnings),
	}
	for name, b := range s.Bridges {
		counters := b.Counters
		if counters == nil {
			counters = map[string]uint64{}
		}
		j.Bridges[name] = bridgeJSON{Addresses: notNil(b.Addresses), Counters: counters}
	}
	for _, p := range s.Plugins {
		j.Plugins = append(j.Plugins, toPluginJSON(p))
	}
	return j
}

func (a *app) showStatus(s *controlv1.StatusResponse) error {
	state := "ready"
	if !s.Store.GetReady() {
		state = "NOT READY: " + s.Store.GetProblem()
	}
	rows := [][]string{
		{"keywicket", fmt.Sprintf("%s, started %s", s.Version, ago(s.Started.AsTime(), time.Now()))},
		{"store", fmt.Sprintf("%s, %s, %d MiB free, %s", s.Store.GetKind(), s.Store.GetPath(), s.Store.GetFreeOctets()>>20, state)},
		{"cache", fmt.Sprintf("%d accounts, %d KiB", s.CachedAccounts, s.CachedOctets>>10)},
	}
	for _, name := range slices.Sorted(maps.Keys(s.Bridges)) {
		b := s.Bridges[name]
		rows = append(rows, []string{name, strings.Join(b.Addresses, ", ")})
		for _, counter := range slices.Sorted(maps.Keys(b.Counters)) {
			if n := b.Counters[counter]; n > 0 {
				rows = append(rows, []string{"", fmt.Sprintf("%s: %d", counter, n)})
			}
		}
	}
	for _, p := range s.Plugins {
		rows = append(rows, []string{"plugin " + p.Name, p.Kind + ", " + pluginState(p)})
	}
	for _, w := range s.Warnings {
		rows = append(rows, []string{"warning", w})
	}
	return table(a.out, rows)
}
