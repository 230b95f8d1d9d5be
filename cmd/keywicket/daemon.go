package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/bridges/control"
	"github.com/keywicket/keywicket/bridges/pam"
	"github.com/keywicket/keywicket/bridges/radius"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/replica"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

const (
	memoryTimeout = 5 * time.Second
	stopGrace     = 5 * time.Second
)

// A daemon is the running program: its parts, built bottom up and stopped top
// down.
type daemon struct {
	log     *slog.Logger
	started time.Time
	metrics *metrics
	hup     <-chan os.Signal // asks to read the configuration again; nil: nobody does
	child   bool             // it serves the program that launched it, and no bridge

	keys   *keyring.Keyring
	store  store.Store
	engine *core.Engine
	events core.Recorder
	radius *radius.Server // nil: off
	pam    *pam.Server    // nil: off

	metricsAt string // the address of the metrics; empty: off

	plugins *plugins

	degraded func() error          // what is wrong with a store that serves what it can
	copy     func() replica.Status // of a store that others share; nil: there is none

	backups sync.Mutex // held while one is made

	mu   sync.Mutex // held while the configuration is read again, or the keyring is changed
	file *config.File

	restored       string // a warning, for some time after a restore
	restoreUnknown bool   // the store could not tell yet
}

// serve runs what f says until ctx ends or a part fails. ready is called when
// everything answers; extra recorders are told of every event.
func serve(ctx context.Context, f *setup, log *slog.Logger, ready func(*daemon), extra ...core.Recorder) error {
	return withEngine(ctx, f, log, func(d *daemon) error { return d.serveBridges(ctx, f.radius, ready) }, extra...)
}

// withEngine runs what f says but its bridges, and run over it.
func withEngine(ctx context.Context, f *setup, log *slog.Logger, run func(*daemon) error, extra ...core.Recorder) (err error) {
	keys, err := keyring.ReadFile(f.Keyring)
	if err != nil {
		return usageError{keyringError(f.File, err)}
	}
	p, err := startPlugins(f.File, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.apply(ctx, f); err != nil {
		return err
	}
	s, err := openStore(f.File, p, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	d := &daemon{log: log, started: time.Now(), metrics: newMetrics(), keys: keys, file: f.File, degraded: s.degraded, copy: s.copy, plugins: p}
	told := &recorders{}
	options, err := engineOptions(f, p, s, keys, told, log)
	if err != nil {
		return err
	}
	d.engine, err = core.Open(ctx, options)
	if core.KindOf(err) == core.KindInvalid {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	events, err := openAudit(f.File, keys, log)
	if err != nil {
		return errors.Join(err, d.engine.Close())
	}
	told.set(events, append([]core.Recorder{d.metrics, p}, extra...)...)
	d.metrics.plugins(p.host)
	defer func() { err = errors.Join(err, d.engine.Close(), events.Close()) }()
	p.notices.begin(d.engine, options.Directory)
	defer p.notices.close()
	d.store, d.events = s.store, told
	d.noteRestore(ctx)
	return run(d)
}

// keyringError says what to do where the keyring is not there.
func keyringError(f *config.File, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f.Store.Plugin() == "" && storeExists(f) {
		return fmt.Errorf("the keyring %s is not there, but the store %s is: restore the keyring from its backup; without it the store cannot be read", f.Keyring, storePath(f))
	}
	return fmt.Errorf("the keyring %s is not there; \"keywicket init --dir DIR\" makes one", f.Keyring)
}

// serveBridges starts the bridges over the engine, and stops them again.
func (d *daemon) serveBridges(ctx context.Context, c radius.Config, ready func(*daemon)) (err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var parts sync.WaitGroup
	defer parts.Wait()
	start := func(name string, run func() error) {
		parts.Go(func() {
			if err := run(); err != nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	f := d.file
	given, err := givenSocket("pam")
	if err != nil {
		return err
	}
	if given != nil && f.PAM == nil {
		d.log.Warn("the service manager listens for PAM, and the configuration has no [pam]: nobody is answered there")
	}
	if f.Radius != nil {
		d.radius, err = radius.Listen(c, d.metrics.timed(d.engine), clientMemory{d.engine}, d.log)
		if err != nil {
			return err
		}
		defer d.radius.Close()
		d.radius.UseSessions(d.engine)
		d.engine.EndSessionsWith(d.radius)
		d.metrics.register(radiusCounters{d.radius})
		start("radius", func() error { return d.radius.Serve(ctx) })
	}
	if f.PAM != nil {
		d.pam, err = pam.Listen(pam.Options{Path: f.PAM.Socket, Listener: given, Engine: d.metrics.timedPAM(d.engine), Rules: pamRules(f), Log: d.log})
		if err != nil {
			return err
		}
		defer d.pam.Close()
		d.metrics.register(pamCounters{d.pam})
		start("pam", func() error { return d.pam.Serve(ctx) })
	}
	if f.Metrics != nil {
		at, stop, err := d.metrics.listen(f.Metrics.Listen, d.engine, d.degraded, d.log, start)
		if err != nil {
			return err
		}
		defer stop()
		d.metricsAt = at.String()
	}
	admin, err := control.Listen(control.Options{Path: f.Control.Socket, Group: d.controlGroup(), Engine: d.engine, Host: d, Log: d.log})
	if err != nil {
		return err
	}
	defer admin.Close(stopGrace)
	start("control", admin.Serve)
	if f.Control.SelfService != "" {
		own, err := control.ListenSelf(control.SelfOptions{Path: f.Control.SelfService, Engine: d.engine, Log: d.log})
		if err != nil {
			return err
		}
		defer own.Close(stopGrace)
		start("self-service", own.Serve)
	}
	ready(d)
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// controlGroup returns the id of the group that may administer beside root, or
// 0 where there is none.
func (d *daemon) controlGroup() int {
	name := d.file.Control.Group
	if name == "" {
		return 0
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		d.log.Warn("the group of the control socket does not exist, so that root alone may administer", "group", name)
		return 0
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return 0
	}
	return id
}

// Status tells how the daemon is.
func (d *daemon) Status(ctx context.Context) *controlv1.StatusResponse {
	d.mu.Lock()
	f := d.file
	if d.restoreUnknown {
		d.noteRestore(ctx)
	}
	restored := d.restored
	d.mu.Unlock()
	stats := d.engine.Stats()
	path, err := filepath.Abs(f.Path)
	if err != nil {
		path = f.Path
	}
	s := &controlv1.StatusResponse{
		Configuration: path,
		Version:       version(), Started: timestamppb.New(d.started),
		Store:          &controlv1.StoreStatus{Kind: f.Store.Kind, Path: storePath(f), Ready: true, FreeOctets: freeOctets(f.DataDir)},
		Bridges:        map[string]*controlv1.BridgeStatus{},
		CachedAccounts: uint64(stats.CachedAccounts), CachedOctets: uint64(stats.CachedOctets),
	}
	if err := d.engine.Ready(ctx); err != nil {
		s.Store.Ready, s.Store.Problem = false, err.Error()
	}
	if d.radius != nil {
		s.Bridges["radius"] = radiusStatus(d.radius)
		if all := addressTexts(d.radius.AccountingAddrs()); len(all) > 0 {
			s.Bridges["radius-accounting"] = &controlv1.BridgeStatus{Addresses: all}
		}
	}
	if d.pam != nil {
		s.Bridges["pam"] = pamStatus(d.pam)
	}
	if !d.child {
		s.Bridges["control"] = &controlv1.BridgeStatus{Addresses: []string{f.Control.Socket}}
	}
	if f.Control.SelfService != "" && !d.child {
		s.Bridges["self-service"] = &controlv1.BridgeStatus{Addresses: []string{f.Control.SelfService}}
	}
	if d.metricsAt != "" {
		s.Bridges["metrics"] = &controlv1.BridgeStatus{Addresses: []string{d.metricsAt}}
	}
	s.Plugins = d.plugins.describe()
	if name := f.Store.Plugin(); name != "" {
		s.Store.Path, s.Store.FreeOctets = "", 0
	}
	if d.copy != nil {
		s.Store.Replica = replicaStatus(d.copy())
	}
	if err := d.degraded(); err != nil {
		s.Warnings = append(s.Warnings, "the store: "+err.Error())
	}
	for _, w := range d.warnings(f) {
		s.Warnings = append(s.Warnings, w.Error())
	}
	s.Warnings = append(s.Warnings, d.oldSecrets(f, time.Now())...)
	if restored != "" {
		s.Warnings = append(s.Warnings, restored)
	}
	if stats.Resealing {
		s.Warnings = append(s.Warnings, "records are being brought under the newest key; keywicket keyring check says how many are left")
	}
	if stats.ClockBehind > time.Minute {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the clock is %s behind the latest time that was seen, which expiry goes by", stats.ClockBehind.Round(time.Second)))
	}
	if c := stats.ClockApart; c != nil {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the clock of node %q is %s ahead of this one's; expiry and security codes go by the clock of the node that is asked", c.Node, c.Ahead.Round(time.Second)))
	}
	if stats.LostSessions > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d sessions found no room and are not listed: too many are known", stats.LostSessions))
	}
	if stats.LostAttempts > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d attempts are missing in the history: too many came at once", stats.LostAttempts))
	}
	return s
}

func replicaStatus(c replica.Status) *controlv1.ReplicaStatus {
	s := &controlv1.ReplicaStatus{Serving: !c.Joined, Whole: c.Copied, Age: durationpb.New(c.Age), MaxAge: durationpb.New(c.MaxAge)}
	if c.Trouble != nil {
		s.Problem = c.Trouble.Error()
	}
	return s
}

func radiusStatus(r *radius.Server) *controlv1.BridgeStatus {
	b := &controlv1.BridgeStatus{Addresses: addressTexts(r.Addrs()), Counters: map[string]uint64{}}
	c := r.Counters()
	for code, n := range c.Packets {
		b.Counters[code] = n
	}
	for reason, n := range c.Dropped {
		b.Counters["dropped, "+reason] = n
	}
	return b
}

func addressTexts(all []netip.AddrPort) []string {
	var texts []string
	for _, a := range all {
		texts = append(texts, net.JoinHostPort(a.Addr().String(), strconv.Itoa(int(a.Port()))))
	}
	return texts
}

// freeOctets returns the room that is left where dir is, or 0.
func freeOctets(dir string) uint64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0
	}
	return s.Bavail * uint64(s.Bsize)
}

// Reload reads the configuration again. With a fault nothing is changed.
func (d *daemon) Reload(ctx context.Context) (warnings []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := loadWhole(d.file.Path)
	if err != nil {
		return nil, err
	}
	if err := fixed(d.file, f.File); err != nil {
		return nil, err
	}
	policy := policyOf(f)
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	if err := d.plugins.apply(ctx, f); err != nil {
		return nil, err
	}
	if d.radius != nil {
		if err := d.radius.Reload(f.radius); err != nil {
			return nil, err
		}
	}
	if err := d.engine.SetPolicy(policy); err != nil {
		return nil, err
	}
	if d.pam != nil {
		d.pam.Reload(pamRules(f.File))
	}
	d.file = f.File
	for _, w := range d.warnings(d.file) {
		warnings = append(warnings, w.Error())
	}
	return warnings, nil
}
