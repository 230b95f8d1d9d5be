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
	cmd := a.verb("status", "Show the daemon, its store and its bridges; exit code 3 when it is not there", func(ctx context.Context, d daemonClient, _ []string) error {
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

		Configuration string    `json:"configuration"`
		Cache         cacheJSON `json:"cache"`
	}
	storeJSON struct {
		Kind    string `json:"kind"`
		Path    string `json:"path"`
		Ready   bool   `json:"ready"`
		Problem string `json:"problem,omitempty"`
		Free    uint64 `json:"free_octets"`

		Replica *replicaJSON `json:"replica,omitempty"`
	}
	replicaJSON struct {
		Serving bool    `json:"serving"` // the shared store is out of reach
		Problem string  `json:"problem,omitempty"`
		Whole   bool    `json:"whole"`
		Age     float64 `json:"age"` // seconds
		MaxAge  float64 `json:"max_age"`
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
		Cache: cacheJSON{Accounts: s.CachedAccounts, Octets: s.CachedOctets}, Warnings: notNil(s.Warnings), Configuration: s.Configuration,
	}
	if r := s.Store.GetReplica(); r != nil {
		j.Store.Replica = &replicaJSON{
			Serving: r.Serving, Problem: r.Problem, Whole: r.Whole, Age: r.Age.AsDuration().Seconds(), MaxAge: r.MaxAge.AsDuration().Seconds(),
		}
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
	where := "" // of a plugin's only the plugin knows
	if path := s.Store.GetPath(); path != "" {
		where = fmt.Sprintf(", %s, %d MiB free", path, s.Store.GetFreeOctets()>>20)
	}
	rows := [][]string{
		{"keywicket", fmt.Sprintf("%s, started %s", s.Version, ago(s.Started.AsTime(), time.Now()))},
		{"store", s.Store.GetKind() + where + ", " + state},
		{"cache", fmt.Sprintf("%d accounts, %d KiB", s.CachedAccounts, s.CachedOctets>>10)},
	}
	if r := s.Store.GetReplica(); r != nil {
		rows = append(rows, []string{"its copy", describeReplica(r)})
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
		is := p.Kind + ", " + pluginState(p)
		if p.Until != nil {
			is += ": " + line(p.LastError)
		}
		rows = append(rows, []string{"plugin " + p.Name, is})
	}
	for _, w := range s.Warnings {
		rows = append(rows, []string{"warning", w})
	}
	return table(a.out, rows)
}

// describeReplica says how the copy of a shared store is.
func describeReplica(r *controlv1.ReplicaStatus) string {
	switch age := r.GetAge().AsDuration().Round(time.Second); {
	case !r.Whole:
		return "not made yet"
	case r.Serving && age > r.GetMaxAge().AsDuration():
		return fmt.Sprintf("%s old, which is too old to serve (replica_max_age is %s): %s", age, r.GetMaxAge().AsDuration(), r.Problem)
	case r.Serving:
		return fmt.Sprintf("%s old, SERVING for up to %s: %s", age, r.GetMaxAge().AsDuration(), r.Problem)
	default:
		return fmt.Sprintf("%s old", age)
	}
}
