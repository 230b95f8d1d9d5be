package pluginhost

import (
	"maps"
	"slices"
	"time"

	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
)

// A Status is how a plugin is.
type Status struct {
	Name         string
	Kind         Kind
	State        State
	Path         string
	Sum          string // of the binary, as it is pinned
	Version      string // as the plugin says; of one that runs
	Capabilities []string
	PID          int       // of one that runs, else 0
	Since        time.Time // when it was started
	Until        time.Time // when one that waits is tried again
	Restarts     int       // how often it ended or did not start
	LastError    string
	LastErrorAt  time.Time
	Problem      string    // behind it, as it says, or that it answers no calls
	ProblemSince time.Time // of one behind it
	Faults       int       // answers that break the contract
	Calls        map[string]CallStats
}

// Up says whether the plugin can be asked, and nothing is wrong that it knows of.
func (s Status) Up() bool { return s.State == StateRunning && s.Problem == "" }

// A CallStats counts the calls of one method.
type CallStats struct {
	Calls   uint64
	Failed  uint64        // without an answer
	Total   time.Duration // of all of them
	Longest time.Duration
}

// Mean is how long a call took.
func (c CallStats) Mean() time.Duration {
	if c.Calls == 0 {
		return 0
	}
	return c.Total / time.Duration(c.Calls)
}

// Status tells how every plugin is, in the order of their names.
func (h *Host) Status() []Status {
	var all []Status
	for _, p := range h.all() {
		all = append(all, p.status())
	}
	return all
}

func (p *plugged) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{
		Name: p.name, Kind: p.kind, State: p.state, Path: p.spec.Path, Sum: p.spec.Sum(), Until: p.until,
		Restarts: p.restarts, LastError: p.lastError, LastErrorAt: p.lastAt, Faults: p.faults, Calls: map[string]CallStats{},
	}
	for method, stats := range p.stats {
		s.Calls[method] = *stats
	}
	i := p.current
	if i == nil {
		return s
	}
	s.Kind, s.Version, s.Since, s.PID = i.kind, i.version, p.since, i.running().cmd.Process.Pid
	s.Capabilities = i.capabilityNames()
	i.mu.Lock()
	s.Problem, s.ProblemSince = i.problem, i.since
	i.mu.Unlock()
	if i.breaker.open() {
		s.Problem, s.ProblemSince = errBroken.Error(), time.Time{}
	}
	return s
}

func (i *instance) capabilityNames() []string {
	names := map[pluginv1.Capability]string{
		pluginv1.Capability_CAPABILITY_SNAPSHOT: "snapshot", pluginv1.Capability_CAPABILITY_WATCH: "watch",
		pluginv1.Capability_CAPABILITY_VERIFY_CODE: "verify-code", pluginv1.Capability_CAPABILITY_EVENTS: "events",
		pluginv1.Capability_CAPABILITY_CHECK: "check",
	}
	known := map[string]bool{}
	for _, c := range i.capabilities {
		if name := names[c]; name != "" {
			known[name] = true
		}
	}
	return slices.Sorted(maps.Keys(known))
}
