package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/bridges/radius"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
	"github.com/keywicket/keywicket/plugins/sdk"
)

// plugins is the plugin host with what the engine says to hooks and notifiers.
type plugins struct {
	host    *pluginhost.Host
	log     *slog.Logger
	hooks   atomic.Pointer[[]*pluginhost.Hook]
	words   atomic.Pointer[radius.Dictionary] // what hooks may add
	notices *notices

	byName map[string]any // hooks and notifiers, of the one who starts and reloads
}

// startPlugins makes the host. Its sockets are beside the control socket.
func startPlugins(f *config.File, log *slog.Logger) (*plugins, error) {
	dir := filepath.Dir(f.Control.Socket)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir = os.TempDir() // whatever is wrong there, the control socket will tell
	}
	host, err := pluginhost.New(pluginhost.Options{Log: log, Version: version(), Dir: dir})
	if err != nil {
		return nil, err
	}
	p := &plugins{host: host, log: log, notices: newNotices(log), byName: map[string]any{}}
	p.hooks.Store(&[]*pluginhost.Hook{})
	p.words.Store(radius.BuiltinDictionary())
	return p, nil
}

// apply runs what f names. An error says which plugins could not be changed;
// those go on as they were.
func (p *plugins) apply(ctx context.Context, f *setup) error {
	var specs []pluginhost.Spec
	for _, c := range f.Plugins {
		specs = append(specs, pluginhost.Spec{
			Name: c.Name, Kind: pluginhost.Kind(c.Kind), Path: c.Path, SHA256: c.SHA256, User: c.User, Settings: c.Settings,
		})
	}
	if err := p.host.Set(ctx, specs); err != nil {
		return err
	}
	hooks, notifiers, now := []*pluginhost.Hook{}, []*pluginhost.Notifier{}, map[string]any{}
	for _, c := range f.Plugins {
		var err error
		before := p.byName[c.Name]
		switch c.Kind {
		case config.PluginHook:
			h, ok := before.(*pluginhost.Hook)
			if !ok {
				h, err = p.host.Hook(c.Name)
			}
			hooks, now[c.Name] = append(hooks, h), h
		case config.PluginNotifier:
			n, ok := before.(*pluginhost.Notifier)
			if !ok {
				n, err = p.host.Notifier(c.Name)
			}
			notifiers, now[c.Name] = append(notifiers, n), n
		}
		if err != nil {
			return err
		}
	}
	p.byName = now
	p.words.Store(f.radius.Dictionary)
	p.hooks.Store(&hooks)
	p.notices.to.Store(&notifiers)
	return nil
}

// close stops everything.
func (p *plugins) close() error {
	p.notices.close()
	return p.host.Close()
}

// Asks says whether there is a hook.
func (p *plugins) Asks() bool { return len(*p.hooks.Load()) > 0 }

// Check asks every hook, in the order of their names, until one refuses.
func (p *plugins) Check(ctx context.Context, a core.Attempt, g core.Grant) (core.Admission, error) {
	all := core.Admission{Allow: true}
	hooks := *p.hooks.Load()
	if len(hooks) == 0 {
		return all, nil
	}
	s := sdk.SignIn{
		Account: g.Account, Groups: g.Groups, AppPassword: sdk.AppPassword{ID: g.AppPassword.ID, Name: g.AppPassword.Name}, Profile: g.Profile,
		Service: a.Service, Device: a.Device, Method: string(a.Proof.Method()), Time: time.Now(),
	}
	if a.Source.IsValid() {
		s.Source = a.Source.String()
	}
	for _, h := range hooks {
		answer, err := h.Check(ctx, s)
		if err != nil {
			return core.Admission{}, err
		}
		if !answer.Allow {
			return core.Admission{Text: answer.Text}, nil
		}
		for _, r := range answer.Reply {
			if _, err := p.words.Load().ParseReply(r.Name, r.Value); err != nil {
				return core.Admission{}, fmt.Errorf("a hook adds an attribute that is none: %w", err)
			}
			all.Reply = append(all.Reply, core.Reply{Name: r.Name, Value: r.Value})
		}
	}
	return all, nil
}

// Record tells hooks and notifiers of an event. They hear of it later, or not
// at all: what they do delays nobody.
func (p *plugins) Record(e core.Event) error {
	for _, h := range *p.hooks.Load() {
		h.Send(sdk.Event{
			Time: e.Time, Kind: string(e.Kind), Actor: e.Actor, Account: e.Account, AppPassword: sdk.AppPassword{ID: e.AppPassword.ID, Name: e.AppPassword.Name},
			Service: e.Service, Source: e.Source, Device: e.Device, Method: string(e.Method), Result: e.Result(), Reason: string(e.Reason), Detail: e.Detail,
		})
	}
	p.notices.note(e)
	return nil
}

// degraded says what is wrong with a plugin that is a part of the daemon.
func (p *plugins) degraded(name string) error {
	for _, s := range p.host.Status() {
		switch {
		case s.Name != name || s.Up():
		case s.State != pluginhost.StateRunning:
			return fmt.Errorf("plugin %s is %s: %s", name, s.State, s.LastError)
		default:
			return errors.New("plugin " + name + ": " + s.Problem)
		}
	}
	return nil
}

// describe tells how every plugin is.
func (p *plugins) describe() []*controlv1.PluginStatus {
	var all []*controlv1.PluginStatus
	for _, s := range p.host.Status() {
		d := &controlv1.PluginStatus{
			Name: s.Name, Kind: string(s.Kind), State: string(s.State), Version: s.Version, Pid: uint32(s.PID),
			Since: timestamp(s.Since), Until: timestamp(s.Until), Restarts: uint32(s.Restarts), LastError: s.LastError, LastErrorAt: timestamp(s.LastErrorAt),
			Problem: s.Problem, ProblemSince: timestamp(s.ProblemSince), Faults: uint32(s.Faults), Capabilities: s.Capabilities, Path: s.Path, Sha256: s.Sum, Calls: map[string]*controlv1.PluginCalls{},
		}
		for method, c := range s.Calls {
			d.Calls[method] = &controlv1.PluginCalls{Calls: c.Calls, Failed: c.Failed, Mean: durationpb.New(c.Mean()), Longest: durationpb.New(c.Longest)}
		}
		all = append(all, d)
	}
	return all
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
