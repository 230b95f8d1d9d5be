package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const (
	// firstWait is how long a dead engine stays so before it is started again.
	// Each following wait is twice as long, up to mostWait. After a life of
	// mostWait it is firstWait again.
	firstWait = time.Second
	mostWait  = time.Minute

	// pingEvery is how often a launched engine is asked whether it lives, and
	// pingTimeout how long it may take: then it is killed.
	pingEvery   = time.Second
	pingTimeout = 5 * time.Second
)

// A keeper is a connection to a launched engine, whichever of its lives there is.
type keeper struct {
	opt  Options
	stop context.CancelFunc
	done chan struct{}

	mu   sync.Mutex
	conn *grpc.ClientConn // nil: there is none
	why  error            // then
}

// keep keeps the engine running, which lives now.
func keep(opt Options, l *life) *keeper {
	ctx, stop := context.WithCancel(context.Background())
	k := &keeper{opt: opt, stop: stop, done: make(chan struct{}), conn: l.conn}
	go k.run(ctx, l)
	return k
}

// close ends the engine, and waits for that.
func (k *keeper) close() error {
	k.stop()
	<-k.done
	return nil
}

func (k *keeper) run(ctx context.Context, l *life) {
	defer close(k.done)
	for wait := firstWait; l != nil; {
		began := time.Now()
		err := l.watch(ctx)
		if last := l.said.String(); last != "" {
			err = fmt.Errorf("%w; the last it said: %q", err, last)
		}
		k.set(nil, fmt.Errorf("the engine is started again: %w", err))
		if ctx.Err() == nil {
			l.kill() // it is asked for nothing any more
		}
		l.end()
		if time.Since(began) > mostWait {
			wait = firstWait
		}
		l, wait = k.again(ctx, wait)
	}
}

// again starts the engine as often as it takes, the first time after wait, and
// returns how long it would wait the next time. The life is nil when ctx ends.
func (k *keeper) again(ctx context.Context, wait time.Duration) (*life, time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return nil, wait
		case <-time.After(wait):
		}
		wait = min(2*wait, mostWait)
		l, err := begin(ctx, k.opt)
		if err == nil {
			k.set(l.conn, nil)
			return l, wait
		}
		k.set(nil, fmt.Errorf("the engine does not start: %w", err))
	}
}

func (k *keeper) set(conn *grpc.ClientConn, why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conn, k.why = conn, why
}

// current returns the connection to the engine that lives.
func (k *keeper) current() (*grpc.ClientConn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		return nil, status.Error(codes.Unavailable, k.why.Error())
	}
	return k.conn, nil
}

// Invoke implements grpc.ClientConnInterface.
func (k *keeper) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	conn, err := k.current()
	if err != nil {
		return err
	}
	return conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (k *keeper) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	conn, err := k.current()
	if err != nil {
		return nil, err
	}
	return conn.NewStream(ctx, desc, method, opts...)
}

// watch returns why the engine is to be started again: once it is dead, or does
// not answer. It returns when ctx ends, too.
func (l *life) watch(ctx context.Context) error {
	health := grpc_health_v1.NewHealthClient(l.conn)
	for {
		within, cancel := context.WithTimeout(ctx, pingEvery)
		l.conn.WaitForStateChange(within, connectivity.Ready) // it breaks, or nothing happens
		cancel()
		within, cancel = context.WithTimeout(ctx, pingTimeout)
		_, err := health.Check(within, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
		cancel()
		switch {
		case err != nil && status.Code(err) == codes.DeadlineExceeded:
			return fmt.Errorf("it did not answer for %s", pingTimeout)
		case err != nil:
			return errors.New("it has ended")
		}
	}
}
