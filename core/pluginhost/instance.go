package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

const (
	startWithin = 10 * time.Second       // from its start until a plugin listens
	pingEvery   = 500 * time.Millisecond // and killed when it does not answer for wire.Deadline
	stopWithin  = time.Second            // for a plugin that is asked to stop; then it is killed
)

// An instance is one life of a plugin.
type instance struct {
	spec   Spec
	log    *slog.Logger
	client *plugin.Client
	conn   *grpc.ClientConn

	kind         Kind
	version      string // as the plugin says
	capabilities []pluginv1.Capability
	breaker      breaker

	ended   chan struct{} // closed when it is dead and cleaned up
	retired chan struct{} // closed when another takes its place, or it is dead

	mu      sync.Mutex
	over    bool           // retired is closed
	calls   sync.WaitGroup // under way
	process *process       // nil until it is started
	why     error          // that it was killed for, or nil
	problem string         // behind it, as it says
	since   time.Time      // of the problem
}

// launch starts a plugin, and returns when it can be asked.
func (h *Host) launch(ctx context.Context, spec Spec, log *slog.Logger) (_ *instance, err error) {
	binary, err := loadBinary(spec.Path, spec.SHA256)
	if err != nil {
		return nil, err
	}
	defer func() { _ = binary.Close() }() // the process has it
	i := &instance{spec: spec, log: log, ended: make(chan struct{}), retired: make(chan struct{})}
	said := &output{log: log}
	var dir string
	i.client = plugin.NewClient(h.clientConfig(said, func(env []string, tmp string) (runner.Runner, error) {
		dir = tmp
		p, err := newProcess(spec, binary, env, tmp, h.launcher, said)
		if err != nil {
			return nil, err
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		i.process = p
		return p, nil
	}))
	defer func() {
		if err != nil {
			i.abort(dir)
		}
	}()
	if err := i.connect(ctx); err != nil {
		return nil, err
	}
	if err := i.introduce(ctx, h.opt.Version); err != nil {
		return nil, err
	}
	go i.watchdog(dir)
	return i, nil
}

// clientConfig is what go-plugin is told.
func (h *Host) clientConfig(said *output, start func(env []string, tmp string) (runner.Runner, error)) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: h.versions(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, tmp string) (runner.Runner, error) {
			env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent", "TMPDIR=" + tmp}
			return start(append(env, cmd.Env...), tmp)
		},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     startWithin,
		SyncStdout:       said,
		SyncStderr:       said,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: h.dir},
		GRPCDialOptions: append([]grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage)),
			grpc.WithMaxHeaderListSize(64 << 10),
			grpc.WithDisableServiceConfig(),
			grpc.WithDisableRetry(),
		}, h.dial...),
	}
}

// connect starts the process and the connection to it.
func (i *instance) connect(ctx context.Context) error {
	type result struct {
		protocol plugin.ClientProtocol
		err      error
	}
	done, gone := make(chan result, 1), make(chan struct{})
	go func() { // it ends with the process, if not before
		defer close(gone)
		protocol, err := i.client.Client()
		done <- result{protocol, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		i.giveUp(gone)
		return ctx.Err()
	case <-time.After(startWithin + wire.Deadline):
		i.giveUp(gone)
		return errors.New("it did not say where it listens, or takes no connection there")
	}
	if r.err != nil {
		return i.startError(r.err)
	}
	c, ok := r.protocol.(*plugin.GRPCClient)
	if !ok {
		return errors.New("it does not speak gRPC")
	}
	i.conn = c.Conn
	return nil
}

// giveUp kills the process, also one that is only now being started, until
// go-plugin has seen it: what it works with is ours to take away then.
func (i *instance) giveUp(seen <-chan struct{}) {
	for {
		if p := i.running(); p != nil {
			p.kill()
		}
		select {
		case <-seen:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startError says why a process could not be connected to. go-plugin's texts
// hold what the plugin printed: they are cut.
func (i *instance) startError(err error) error {
	text, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	silent := strings.Contains(err.Error(), "Failed to read any lines") || strings.Contains(err.Error(), "before we could connect")
	if p := i.running(); p != nil {
		select {
		case <-p.exited:
			if silent {
				return fmt.Errorf("it ended before it said where it listens: %w", p.ended())
			}
		case <-time.After(drainFor):
		}
	}
	if line, is := strings.CutPrefix(text, "Unrecognized remote plugin message: "); is {
		return fmt.Errorf("the first line that it printed to standard output is not the one of a plugin: %.300q; until it serves, a plugin prints nothing else there (standard error is free)", line)
	}
	return fmt.Errorf("%.300q", text)
}

// running returns the process, or nil where none was started.
func (i *instance) running() *process {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.process == nil || !i.process.started() {
		return nil
	}
	return i.process
}

// introduce asks what the plugin is, and hands it its settings.
func (i *instance) introduce(ctx context.Context, hostVersion string) error {
	settings, err := i.spec.settings()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	client := pluginv1.NewPluginClient(i.conn)
	d, err := client.Describe(ctx, &pluginv1.DescribeRequest{HostVersion: hostVersion})
	if err != nil {
		return fmt.Errorf("describe: %w", wire.StoreError(err))
	}
	i.kind, i.version, i.capabilities = kindOf(d.Kind), wire.Text(d.Version), d.Capabilities
	switch {
	case i.kind == "":
		return fmt.Errorf("it is of a kind that this version does not know (%d)", d.Kind)
	case i.spec.Kind != "" && i.kind != i.spec.Kind:
		return fmt.Errorf("it is a %s, and a %s is configured", i.kind, i.spec.Kind)
	case i.kind == KindHook && !i.can(pluginv1.Capability_CAPABILITY_CHECK) && !i.can(pluginv1.Capability_CAPABILITY_EVENTS):
		return errors.New("it is a hook, and says neither that it checks sign-ins nor that it takes events: it would never be asked")
	case len(d.Version) > 64 || len(d.Capabilities) > 64:
		return errors.New("it describes itself at too great a length")
	}
	if _, err := client.Configure(ctx, &pluginv1.ConfigureRequest{Settings: settings}); err != nil {
		return fmt.Errorf("configure: %w", wire.StoreError(err))
	}
	return nil
}

// enter counts a call, which ends with i.calls.Done, unless i is retired.
func (i *instance) enter() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.over {
		i.calls.Add(1)
	}
	return !i.over
}

// retire lets no further call in.
func (i *instance) retire() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.over {
		i.over = true
		close(i.retired)
	}
}

func (i *instance) can(c pluginv1.Capability) bool { return slices.Contains(i.capabilities, c) }

// watchdog asks the plugin how it is until it is dead, and kills it when it
// does not answer for wire.Deadline.
func (i *instance) watchdog(dir string) {
	client, process := pluginv1.NewPluginClient(i.conn), i.running()
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	var silent time.Time // since then
	for alive := true; alive; {
		select {
		case <-process.exited:
			alive = false
		case <-tick.C:
			asked := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), wire.Deadline)
			var sent answered
			r, err := client.Health(ctx, &pluginv1.HealthRequest{}, sent.options()...)
			cancel()
			if err == nil {
				i.setProblem(r.Problem)
			}
			switch {
			case err == nil, sent.byPlugin():
				silent = time.Time{}
			case silent.IsZero():
				silent = asked
			}
			if !silent.IsZero() && time.Since(silent) >= wire.Deadline { // a connection that breaks is made again before
				i.end(fmt.Errorf("it did not answer for %s: %w", wire.Deadline, wire.StoreError(err)))
			}
		}
	}
	i.retire()
	i.clean(dir)
	close(i.ended)
}

// setProblem keeps what the plugin says of what is behind it, and logs when a
// problem begins and ends.
func (i *instance) setProblem(text string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.problem
	i.problem = wire.Text(text)
	switch {
	case before == "" && i.problem != "":
		i.since = time.Now()
		i.log.Warn("the plugin has a problem", "problem", i.problem)
	case before != "" && i.problem == "":
		i.log.Info("the plugin has no problem any more", "after", time.Since(i.since).Round(time.Second).String())
		i.since = time.Time{}
	}
}

// end kills the plugin for a reason.
func (i *instance) end(why error) {
	i.mu.Lock()
	if i.why == nil {
		i.why = why
	}
	i.mu.Unlock()
	if p := i.running(); p != nil {
		p.kill()
	}
}

// stop asks the plugin to stop, once what it has under way is done, and kills
// it if that takes too long.
func (i *instance) stop(drain time.Duration) {
	i.retire()
	finished := make(chan struct{})
	go func() {
		i.calls.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-time.After(drain):
	case <-i.ended:
	}
	go i.client.Kill() // which can block, so that nobody waits for it
	select {
	case <-i.ended:
	case <-time.After(stopWithin):
		i.end(nil)
		<-i.ended
	}
}

// abort takes away what a start that failed has left.
func (i *instance) abort(dir string) {
	i.retire()
	if p := i.running(); p != nil {
		p.kill()
		<-p.exited
	}
	i.clean(dir)
	close(i.ended)
}

// clean lets go of what go-plugin holds of a process that is dead.
func (i *instance) clean(dir string) {
	if i.conn != nil {
		_ = i.conn.Close() // there is nobody at the other end
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.client.Kill()
	}()
	select {
	case <-done:
	case <-time.After(wire.Deadline): // it is go-plugin's to end
	}
	if dir != "" {
		_ = os.RemoveAll(dir) // what stays is taken away by the next start of the host
	}
}

// ending says why it is dead.
func (i *instance) ending() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.why != nil {
		return i.why
	}
	return i.process.ended()
}
