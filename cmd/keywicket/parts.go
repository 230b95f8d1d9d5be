package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/keywicket/keywicket/bridges/pam"
	"github.com/keywicket/keywicket/bridges/radius"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/audit"
	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
	"github.com/keywicket/keywicket/core/store/replica"
)

// This file alone chooses implementations and turns the configuration into
// what each part wants to be told.

// An openedStore is a store with what the daemon needs beside its contract.
type openedStore struct {
	store    store.Store
	late     bool         // it may come later
	degraded func() error // what is wrong while it serves what it can
	close    func() error
	copy     func() replica.Status // of a shared store; nil: there is none
}

// openStore opens the store that f names: a plugin's, or the one in the data
// directory.
func openStore(f *config.File, p *plugins, log *slog.Logger) (openedStore, error) {
	if name := f.Store.Plugin(); name != "" {
		s, err := p.host.Store(name)
		if err == nil && f.Store.Replica {
			return openReplica(f, s, func() error { return p.degraded(name) }, log)
		}
		return openedStore{store: s, late: true, degraded: func() error { return p.degraded(name) }, close: func() error { return nil }}, err
	}
	s, err := openBadger(f, f.Store.Memory, log)
	if err != nil {
		return openedStore{}, err
	}
	return openedStore{store: s, degraded: s.Degraded, close: s.Close}, nil
}

// openBadger opens the store in the data directory, which must exist: one that
// does not may be a disk that is not mounted. It has so many octets of records in memory.
func openBadger(f *config.File, memory int64, log *slog.Logger) (*badgerstore.Store, error) {
	if err := checkDataDir(f); err != nil {
		return nil, err
	}
	held, known := core.AtHandPrefixes()
	return badgerstore.Open(storePath(f), badgerstore.Options{Logger: log, MinFree: f.Store.MinFree, Memory: memory, Held: held, Known: known})
}

func checkDataDir(f *config.File) error {
	info, err := os.Stat(f.DataDir)
	switch {
	case err != nil:
		return fmt.Errorf("data_dir: %w; is its disk mounted? \"keywicket init\" makes a new one", err)
	case !info.IsDir():
		return fmt.Errorf("data_dir: %s is no directory", f.DataDir)
	}
	return nil
}

// openReplica opens the copy of a store that others share, and both as one.
func openReplica(f *config.File, shared store.Store, degraded func() error, log *slog.Logger) (openedStore, error) {
	if err := checkDataDir(f); err != nil {
		return openedStore{}, err
	}
	local, err := badgerstore.Open(filepath.Join(f.DataDir, "copy"), badgerstore.Options{Logger: log, MinFree: f.Store.MinFree})
	if err != nil {
		return openedStore{}, fmt.Errorf("the copy of the shared store: %w", err)
	}
	s, err := replica.Open(context.Background(), shared, local, replica.Options{
		Prefixes: core.SignInPrefixes(), MaxAge: f.Store.ReplicaMaxAge, Logger: log,
	})
	if err != nil {
		return openedStore{}, errors.Join(err, local.Close())
	}
	return openedStore{
		store: s, late: true, copy: s.Status,
		degraded: func() error { return errors.Join(degraded(), describeCopy(s.Status()), local.Degraded()) },
		close:    func() error { return errors.Join(s.Close(), local.Close()) },
	}, nil
}

// describeCopy says what is wrong when the copy has to serve.
func describeCopy(s replica.Status) error {
	switch {
	case s.Joined:
		return nil
	case !s.Copied:
		return fmt.Errorf("it is out of reach, and there is no copy of it yet: %w", s.Trouble)
	case s.Age > s.MaxAge:
		return fmt.Errorf("it is out of reach, and its copy is too old to serve: %w", s.Trouble)
	}
	return fmt.Errorf("it is out of reach; sign-ins go on from its copy for %s more: %w", (s.MaxAge - s.Age).Round(time.Second), s.Trouble)
}

func storePath(f *config.File) string { return filepath.Join(f.DataDir, "store") }

// storeExists says whether there is something where the store would be.
func storeExists(f *config.File) bool {
	files, err := os.ReadDir(storePath(f))
	return err == nil && len(files) > 0
}

func openDirectory(f *config.File, p *plugins, s store.Store, keys *keyring.Keyring) (directory.Directory, error) {
	if name := f.Directory.Plugin(); name != "" {
		return p.host.Directory(name)
	}
	return local.New(s, keys, local.Options{}), nil
}

func openAudit(f *config.File, keys *keyring.Keyring, log *slog.Logger) (*audit.Log, error) {
	return audit.Open(audit.Options{Dir: f.Audit.Path, Key: keys.AuditKey(), OldKeys: keys.OldAuditKeys(), Log: log})
}

// engineOptions says what the engine works with.
func engineOptions(f *setup, p *plugins, s openedStore, keys *keyring.Keyring, events core.Recorder, log *slog.Logger) (core.Options, error) {
	policy := policyOf(f)
	d, err := openDirectory(f.File, p, s.store, keys)
	if err != nil {
		return core.Options{}, err
	}
	node := ""
	if f.Store.Plugin() != "" { // others may share it
		if node, err = os.Hostname(); err != nil {
			return core.Options{}, fmt.Errorf("the name of this host: %w", err)
		}
	}
	return core.Options{
		Store: s.store, LateStore: s.late, Node: node, Directory: d, Keyring: keys, Policy: &policy, Recorder: events, Guard: p, Log: log,
		MaxAge: max(f.Directory.MaxAge, 1), Stale: max(f.Directory.Stale, 1), // 0 is the engine's word for its defaults
	}, nil
}

// policyOf turns the configuration into the engine's policy.
func policyOf(f *setup) core.Policy {
	p := core.Policy{
		Limit:            f.Policy.Limit,
		RequireTwoStep:   f.Policy.RequireTwoStep,
		MainPassword:     core.MainPasswordRule(f.Policy.MainPassword),
		OnTwoStepOff:     core.Consequence(f.Policy.OnTwoStepOff),
		OnPasswordChange: core.Consequence(f.Policy.OnPasswordChange),
		FirstOnEnroll:    f.Policy.FirstOnEnroll,
		UnusedAfter:      f.Policy.UnusedAfter,
		FirstUseWithin:   f.Policy.FirstUseWithin,
		Deny:             !f.Policy.AllowAppPasswords,
		CheckReply:       replyChecker(f.radius.Dictionary),
		Profiles:         make(map[string]core.Profile, len(f.Profiles)),
	}
	for _, g := range f.Groups {
		if !g.AllowAppPasswords {
			p.DenyGroups = append(p.DenyGroups, g.Name)
		}
	}
	for _, c := range f.Profiles {
		profile := core.Profile{
			Letters: c.Letters, Services: c.Services, PinDevice: c.Pin == config.PinDevice, ExpiresAfter: c.ExpiresAfter,
			UnusedAfter: c.UnusedAfter, FirstUseWithin: c.FirstUseWithin, Deny: !c.AllowAppPasswords, Sessions: c.Sessions,
		}
		for _, m := range c.Methods {
			profile.Methods = append(profile.Methods, proof.Method(m))
		}
		p.Profiles[c.Name] = profile
	}
	if f.Radius != nil {
		p.FailuresPerSecond = make(map[string]int, len(f.Radius.Clients))
		for _, c := range f.Radius.Clients { // of those that share a service, the most of one
			service := cmp.Or(c.Service, c.Name)
			p.FailuresPerSecond["radius/"+service] = max(c.FailuresPerSecond, p.FailuresPerSecond["radius/"+service])
		}
	}
	return p
}

// pamRules turns the configuration into what the PAM bridge is told.
func pamRules(f *config.File) pam.Rules {
	return pam.Rules{Services: f.PAM.Services, Users: f.PAM.Users, MinUID: f.PAM.MinUID}
}

// radiusConfig turns the configuration into what the RADIUS bridge is told. Without
// [radius] nobody sends the replies yet, and they shall be right when somebody does.
func radiusConfig(f *config.File) (radius.Config, config.Faults) {
	var faults config.Faults
	c := radius.Config{Dictionary: dictionaryOf(f, &faults), Redact: core.Shown}
	c.Replies = replySets(f, c.Dictionary, &faults)
	r := f.Radius
	if r == nil {
		return c, faults
	}
	c.RejectDelay = max(r.RejectDelay, 1) // 0 is the bridge's word for its default
	c.Realm = radius.Realm(r.Realm)
	for _, a := range r.Listen {
		c.Listen = append(c.Listen, a.String())
	}
	for _, a := range r.Accounting {
		c.Accounting = append(c.Accounting, a.String())
	}
	for _, client := range r.Clients {
		c.Clients = append(c.Clients, radiusClient(f, c.Dictionary, &faults, client))
	}
	if len(faults) > 0 {
		return c, faults
	}
	return c, placed(f, c.Check())
}

// warnings returns what is allowed in f, which runs, and should be known.
func (d *daemon) warnings(f *config.File) config.Faults {
	all := config.Faults(f.Warnings())
	if d.radius != nil {
		all = append(all, placed(f, d.radius.Warnings())...)
	}
	return all
}

// placed says where in the file is what the bridge found.
func placed(f *config.File, found []radius.Fault) (all config.Faults) {
	for _, fault := range found {
		key := []string{"radius", fault.Field}
		if fault.Client != "" {
			key = []string{"radius", "client", fault.Client, fault.Field}
		}
		all = append(all, f.Fault(fault.Text, key...))
	}
	return all
}

func radiusClient(f *config.File, d *radius.Dictionary, faults *config.Faults, c config.Client) radius.Client {
	secret, err := f.ClientSecret(c)
	if err != nil {
		*faults = append(*faults, faultsOf(err)...)
	}
	secrets := [][]byte{secret}
	old, err := f.OldClientSecret(c, time.Now())
	if err != nil {
		*faults = append(*faults, faultsOf(err)...)
	}
	if old != nil {
		secrets = append(secrets, old)
	}
	client := radius.Client{
		Name: c.Name, Prefixes: c.Address, AllowAny: c.AllowAny, Secrets: secrets, OldUntil: c.OldSecretUntil, AllowWeakSecret: c.AllowWeakSecret,
		AllowUnsignedProxyState: !c.LimitProxyState, AllowReplayedAuthenticator: c.AllowRepeatedAuthenticator, FailuresPerSecond: c.FailuresPerSecond,
		ServiceName: c.Service, AllowInsecureMSCHAP: c.AllowInsecureMSCHAP, Reply: replies(f, d, faults, c.Reply, "radius", "client", c.Name),
	}
	client.DisconnectOff, client.DisconnectTo = c.Disconnect.Off, netip.AddrPortFrom(c.Disconnect.Addr, c.Disconnect.Port)
	for _, m := range c.Methods {
		client.Methods = append(client.Methods, proof.Method(m))
	}
	switch c.MessageAuthenticator {
	case config.MessageAuthenticatorAuto:
		client.RequireMessageAuthenticator = radius.RequireAuto
	case config.MessageAuthenticatorOptional:
		client.RequireMessageAuthenticator = radius.RequireNever
	}
	if c.MessageAuthenticator == config.MessageAuthenticatorRequired {
		client.AllowUnsignedProxyState = false
	}
	return client
}

func faultsOf(err error) config.Faults {
	if faults, ok := err.(config.Faults); ok {
		return faults
	}
	return config.Faults{{Line: 1, Text: err.Error()}}
}

// clientMemory keeps which RADIUS clients sign their requests.
type clientMemory struct{ engine *core.Engine }

const clientSigns = "radius/signs/"

func (m clientMemory) Seen(client string) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), memoryTimeout)
	defer cancel()
	return m.engine.Remembers(ctx, clientSigns+client)
}

func (m clientMemory) SetSeen(client string) error {
	ctx, cancel := context.WithTimeout(context.Background(), memoryTimeout)
	defer cancel()
	return m.engine.Remember(ctx, clientSigns+client)
}
