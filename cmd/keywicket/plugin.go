package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) pluginCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "plugin", Short: "Pin, check and watch plugins, or be one"}
	cmd.AddCommand(a.pluginListCommand(), a.pluginPinCommand(), a.pluginCheckCommand(), a.pluginServeCommand())
	return cmd
}

func (a *app) pluginPinCommand() *cobra.Command {
	var kind, name string
	cmd := &cobra.Command{
		Use:   "pin PATH",
		Short: "Print the configuration of the plugin at PATH, with its SHA-256 sum",
		Long:  "Print the configuration of the plugin at PATH, with its SHA-256 sum. The program is\nread and not run.",
		Args:  exactArgs("PATH"),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if err := areFiles(path); err != nil {
				return err
			}
			sum, err := pluginhost.Sum(path)
			if err != nil {
				return err
			}
			if name == "" {
				name = pluginName(path)
			} else if !bareName(name) {
				return usageError{fmt.Errorf("--name: %q can't be a name; take up to 64 letters, digits, hyphens and underscores, and a letter or digit first", name)}
			}
			if kind == "" {
				kind = `""  # "store", "directory", "notifier" or "hook"`
			} else if !slices.Contains(config.PluginKinds(), kind) {
				return usageError{fmt.Errorf("--kind: %q is not known; take one of %s", kind, strings.Join(config.PluginKinds(), ", "))}
			} else {
				kind = fmt.Sprintf("%q", kind)
			}
			a.printf("[plugin.%s]\nkind   = %s\npath   = %q\nsha256 = %q\n", name, kind, path, hex.EncodeToString(sum[:]))
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "what it is: `KIND` is store, directory, notifier or hook")
	cmd.Flags().StringVar(&name, "name", "", "what it is called; else after its file")
	return cmd
}

// bareName says whether a plugin can have this name, and it needs no quotes in the
// configuration.
func bareName(name string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`).MatchString(name)
}

// pluginName makes a name of a path: of keywicket-store-pg it is store-pg.
func pluginName(path string) string {
	name := strings.TrimPrefix(filepath.Base(path), "keywicket-")
	name = strings.TrimSuffix(name, filepath.Ext(name))
	name = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '-'
	}, name)
	if name = strings.Trim(name, "-_"); name == "" {
		return "plugin"
	}
	return name[:min(len(name), 64)]
}

func (a *app) pluginListCommand() *cobra.Command {
	var asJSON bool
	cmd := a.verb("list", "List the plugins of the daemon: how they are, and how long their calls take", func(ctx context.Context, d daemonClient, _ []string) error {
		s, err := d.daemon.Status(ctx, &controlv1.StatusRequest{})
		if err != nil {
			return err
		}
		if asJSON {
			list := []pluginJSON{}
			for _, p := range s.Plugins {
				list = append(list, toPluginJSON(p))
			}
			return a.printJSON(list)
		}
		return a.showPlugins(s.Plugins)
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) showPlugins(all []*controlv1.PluginStatus) error {
	if len(all) == 0 {
		a.printf("There are no plugins. \"keywicket plugin pin PATH\" writes the configuration of one.\n")
		return nil
	}
	rows := [][]string{{"NAME", "KIND", "STATE", "VERSION", "PID", "RESTARTS"}}
	var more [][]string
	for _, p := range all {
		rows = append(rows, []string{p.Name, p.Kind, pluginState(p), p.Version, orDash(p.Pid), fmt.Sprint(p.Restarts)})
		if p.LastError != "" {
			more = append(more, []string{p.Name, "last error", ago(p.LastErrorAt.AsTime(), time.Now()) + ": " + line(p.LastError)})
		}
		if p.Faults > 0 {
			more = append(more, []string{p.Name, "faults", fmt.Sprintf("%d answers that were none", p.Faults)})
		}
		for _, method := range slices.Sorted(maps.Keys(p.Calls)) {
			c := p.Calls[method]
			more = append(more, []string{p.Name, method, fmt.Sprintf("%d calls, %d without an answer, %s each, %s the longest",
				c.Calls, c.Failed, c.Mean.AsDuration().Round(time.Microsecond), c.Longest.AsDuration().Round(time.Microsecond))})
		}
	}
	if err := table(a.out, rows); err != nil || len(more) == 0 {
		return err
	}
	a.printf("\n")
	return table(a.out, more)
}

func orDash(n uint32) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// pluginState says how a plugin is, in few words.
func pluginState(p *controlv1.PluginStatus) string {
	switch {
	case p.ProblemSince != nil:
		return fmt.Sprintf("%s, PROBLEM since %s: %s", p.State, shownTime(p.ProblemSince.AsTime()), line(p.Problem))
	case p.Problem != "":
		return p.State + ", PROBLEM: " + line(p.Problem)
	case p.Until != nil:
		return fmt.Sprintf("%s until %s", strings.ToUpper(p.State), shownTime(p.Until.AsTime()))
	}
	return p.State
}

type (
	pluginJSON struct {
		Name         string                     `json:"name"`
		Kind         string                     `json:"kind"`
		State        string                     `json:"state"`
		Path         string                     `json:"path"`
		SHA256       string                     `json:"sha256"`
		Version      string                     `json:"version"`
		Capabilities []string                   `json:"capabilities"`
		PID          uint32                     `json:"pid"`
		Since        *time.Time                 `json:"since"`
		Until        *time.Time                 `json:"until"`
		Restarts     uint32                     `json:"restarts"`
		LastError    string                     `json:"last_error"`
		LastErrorAt  *time.Time                 `json:"last_error_at"`
		Problem      string                     `json:"problem"`
		ProblemSince *time.Time                 `json:"problem_since"`
		Faults       uint32                     `json:"faults"`
		Calls        map[string]pluginCallsJSON `json:"calls"`
	}
	pluginCallsJSON struct {
		Calls   uint64  `json:"calls"`
		Failed  uint64  `json:"failed"`
		Mean    float64 `json:"mean_seconds"`
		Longest float64 `json:"longest_seconds"`
	}
)

func toPluginJSON(p *controlv1.PluginStatus) pluginJSON {
	j := pluginJSON{
		Name: p.Name, Kind: p.Kind, State: p.State, Path: p.Path, SHA256: p.Sha256, Version: p.Version, Capabilities: notNil(p.Capabilities),
		PID: p.Pid, Since: timeOrNil(p.Since), Until: timeOrNil(p.Until), Restarts: p.Restarts, LastError: p.LastError,
		LastErrorAt: timeOrNil(p.LastErrorAt), Problem: p.Problem, ProblemSince: timeOrNil(p.ProblemSince), Faults: p.Faults, Calls: map[string]pluginCallsJSON{},
	}
	for method, c := range p.Calls {
		j.Calls[method] = pluginCallsJSON{c.Calls, c.Failed, c.Mean.AsDuration().Seconds(), c.Longest.AsDuration().Seconds()}
	}
	return j
}
