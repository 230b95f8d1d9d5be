package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	plugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// Options say how a host works.
type Options struct {
	Log     *slog.Logger // nil: discarded
	Version string       // of the host, for the plugins
	Dir     string       // where sockets of plugins go, in a folder of the host's own; empty: os.TempDir
	Restart Restart
}

// A Restart says how a plugin that ended is started again. The zero value of a
// field is the default.
type Restart struct {
	First      time.Duration // wait before the first restart; 1 s. Each following wait is twice as long
	Most       time.Duration // the longest wait; 60 s. A plugin that ran as long begins with First again
	Crashes    int           // as many within Within make a quarantine; 5
	Within     time.Duration // 5 min
	Quarantine time.Duration // until a quarantined plugin is tried once more; 10 min
}

func (r Restart) withDefaults() Restart {
	d := Restart{First: time.Second, Most: time.Minute, Crashes: 5, Within: 5 * time.Minute, Quarantine: 10 * time.Minute}
	for _, f := range []struct{ have, def *time.Duration }{{&r.First, &d.First}, {&r.Most, &d.Most}, {&r.Within, &d.Within}, {&r.Quarantine, &d.Quarantine}} {
		if *f.have == 0 {
			*f.have = *f.def
		}
	}
	if r.Crashes == 0 {
		r.Crashes = d.Crashes
	}
	return r
}

// A Host runs plugins. Its methods may be called from many goroutines.
type Host struct {
	opt      Options
	dir      string
	lock     *os.File // held while dir is ours
	launcher *launcher
	stop     context.CancelFunc
	ctx      context.Context
	done     sync.WaitGroup

	setting sync.Mutex // held while Set works
	mu      sync.Mutex
	plugins map[string]*plugged
	more    []int             // versions besides the first, for tests
	dial    []grpc.DialOption // besides ours, for tests
}

// dirPrefix begins the name of a host's folder.
const dirPrefix = "keywicket-plugins-"

// New makes a host without plugins.
func New(opt Options) (*Host, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Dir == "" {
		opt.Dir = os.TempDir()
	}
	opt.Restart = opt.Restart.withDefaults()
	h := &Host{opt: opt, plugins: map[string]*plugged{}}
	if err := h.makeDir(); err != nil {
		return nil, fmt.Errorf("plugins: %w", err)
	}
	h.launcher = newLauncher()
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h, nil
}

// makeDir makes the host's folder, and takes away those of hosts that are dead:
// who lives holds a lock.
func (h *Host) makeDir() (err error) {
	stale, err := filepath.Glob(filepath.Join(h.opt.Dir, dirPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range stale {
		if lock, err := lockDir(dir); err == nil {
			_ = os.RemoveAll(dir) // that of another user stays, and is in nobody's way
			_ = lock.Close()
		}
	}
	for range 10 {
		if h.dir, err = os.MkdirTemp(h.opt.Dir, dirPrefix); err != nil {
			return err
		}
		// A host that begins now too may have taken the folder for a dead one's.
		if h.lock, err = lockDir(h.dir); err == nil && isAt(h.lock, h.dir) {
			return os.Chmod(h.dir, 0o711) // a plugin that is another user must get through
		}
		if err == nil {
			err = errors.Join(errors.New("another host takes its folders away"), h.lock.Close())
		}
		_ = os.Remove(h.dir) // it is empty, or gone
	}
	return err
}

// isAt says whether f is still what is at path.
func isAt(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(ours, there)
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close stops every plugin and waits for it.
func (h *Host) Close() error {
	h.setting.Lock()
	defer h.setting.Unlock()
	h.stop()
	h.done.Wait()
	h.launcher.close()
	return errors.Join(os.RemoveAll(h.dir), h.lock.Close())
}

// versions are those of the contract that this host speaks.
func (h *Host) versions() map[int]plugin.PluginSet {
	all := map[int]plugin.PluginSet{}
	for _, v := range append([]int{wire.V1}, h.more...) {
		all[v] = plugin.PluginSet{wire.Name: dialed{}}
	}
	return all
}

// dialed is the plugin in go-plugin's words; the connection is all we want of it.
type dialed struct{ plugin.NetRPCUnsupportedPlugin }

func (dialed) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("this is the side of the host")
}

func (dialed) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

// Set runs the plugins that specs name, and no others. One that is new is
// started in the background, and kept running; a spec that changed is started
// beside the old one, takes over once it answers, and is an error, with the old
// one going on, where it does not. A plugin that waits or is quarantined is tried
// at once. Of one that runs, and whose program is not the pinned one any more, it
// is said that it will not start again.
func (h *Host) Set(ctx context.Context, specs []Spec) error {
	h.setting.Lock()
	defer h.setting.Unlock()
	if h.ctx.Err() != nil {
		return errStopped
	}
	var errs []error
	named := map[string]bool{}
	for _, spec := range specs {
		named[spec.Name] = true
		if err := h.setOne(ctx, spec); err != nil {
			errs = append(errs, fmt.Errorf("plugin %s: %w", spec.Name, err))
		}
	}
	for _, p := range h.all() {
		if !named[p.name] {
			h.drop(p)
		}
	}
	return errors.Join(errs...)
}

func (h *Host) setOne(ctx context.Context, spec Spec) error {
	p := h.find(spec.Name)
	if p != nil && p.kind != spec.Kind {
		h.drop(p)
		p = nil
	}
	if p == nil {
		h.start(spec)
		return nil
	}
	p.mu.Lock()
	same := p.spec.equal(spec)
	p.mu.Unlock()
	if same {
		p.retry()
		p.lookAt(spec)
		return nil
	}
	return p.swap(ctx, spec)
}

func (h *Host) start(spec Spec) {
	p := h.newPlugged(spec)
	ctx, stop := context.WithCancel(h.ctx)
	p.stop = stop
	h.mu.Lock()
	h.plugins[spec.Name] = p
	h.mu.Unlock()
	h.done.Go(func() { p.run(ctx) })
}

func (h *Host) drop(p *plugged) {
	h.mu.Lock()
	delete(h.plugins, p.name)
	h.mu.Unlock()
	p.stop()
	<-p.done
}

func (h *Host) find(name string) *plugged {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.plugins[name]
}

// all returns the plugins in the order of their names.
func (h *Host) all() []*plugged {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*plugged, 0, len(h.plugins))
	for _, p := range h.plugins {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *plugged) int { return strings.Compare(a.name, b.name) })
	return all
}

// pick returns the plugin of that name and kind.
func (h *Host) pick(name string, kind Kind) (*plugged, error) {
	p := h.find(name)
	switch {
	case p == nil:
		return nil, fmt.Errorf("plugin %s: %w", name, fs.ErrNotExist)
	case p.kind != "" && p.kind != kind:
		return nil, fmt.Errorf("plugin %s is a %s, no %s", name, p.kind, kind)
	}
	return p, nil
}

// Wait waits until the plugin answers, and returns why it does not when ctx
// ends before.
func (h *Host) Wait(ctx context.Context, name string) error { return h.wait(ctx, name, false) }

// WaitFirst does so too, and returns at once when the first start fails.
func (h *Host) WaitFirst(ctx context.Context, name string) error { return h.wait(ctx, name, true) }

func (h *Host) wait(ctx context.Context, name string, first bool) error {
	p := h.find(name)
	if p == nil {
		return fmt.Errorf("plugin %s: %w", name, fs.ErrNotExist)
	}
	for {
		p.mu.Lock()
		state, last, changed := p.state, p.lastError, p.changed
		p.mu.Unlock()
		switch {
		case state == StateRunning:
			return nil
		case first && state != StateStarting:
			return fmt.Errorf("plugin %s does not run: %s", name, last)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("plugin %s is %s: %s", name, state, last)
		case <-h.ctx.Done():
			return errStopped
		}
	}
}
