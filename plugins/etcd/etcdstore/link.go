package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/keywicket/keywicket/core/store"
)

// One member is asked at a time, over one connection. It is asked every
// heartbeat for a read that a majority must confirm; when the answer fails to
// come for heartbeatTimeout, the next member takes its place. So a member that
// hangs, or is cut off from the others, holds up calls for that long and no
// longer, where a client that spreads its calls would give it every third one
// until TCP notices.
const (
	heartbeat        = 500 * time.Millisecond
	heartbeatTimeout = time.Second
	connectTimeout   = 2 * time.Second
	betweenRounds    = 300 * time.Millisecond // of tries at all members
)

// A link is the connection to one member.
type link struct {
	endpoint string
	client   *clientv3.Client
	gone     chan struct{} // closed when it is given up

	// confirmed is when the last heartbeat began that was answered, since the
	// store was opened: what was committed until then has reached the member.
	confirmed atomic.Int64
}

// since is the clock of confirmed.
func (s *Store) since() time.Duration { return time.Since(s.opened) }

// keep holds a link until the store is closed.
func (s *Store) keep() {
	fruitless := 0
	for next := 0; ; next++ {
		endpoint := s.cfg.Endpoints[next%len(s.cfg.Endpoints)]
		l, err := s.connect(endpoint)
		if err == nil {
			fruitless = 0
			s.cfg.Logger.Info("etcd answers", "endpoint", endpoint)
			s.setLink(l, nil)
			err = s.watchOver(l)
			s.setLink(nil, fmt.Errorf("%s: %w", endpoint, err))
			close(l.gone)
			_ = l.client.Close() // ends what is under way; the link is of no more use
		}
		if s.ctx.Err() != nil {
			return
		}
		s.cfg.Logger.Warn("etcd does not answer; trying the next member", "endpoint", endpoint, "err", err)
		if fruitless++; fruitless >= len(s.cfg.Endpoints) {
			fruitless = 0
			s.setDown(fmt.Errorf("%s: %w", endpoint, err))
			select {
			case <-time.After(betweenRounds):
			case <-s.ctx.Done():
				return
			}
		}
	}
}

// connect makes a link on which one heartbeat was answered.
func (s *Store) connect(endpoint string) (*link, error) {
	cfg := clientv3.Config{
		Endpoints: []string{endpoint}, DialTimeout: connectTimeout, Context: s.ctx, Logger: zap.NewNop(),
		// A connection that breaks is repeated by keep; the client's own tries
		// are for a token that has expired.
		MaxUnaryRetries: 3,
		DialOptions:     []grpc.DialOption{grpc.WithChainUnaryInterceptor(failFast)},
	}
	var err error
	if strings.HasPrefix(endpoint, "https:") {
		if cfg.TLS, err = s.cfg.tls(); err != nil {
			return nil, err
		}
	}
	if cfg.Password, err = s.cfg.password(); err != nil {
		return nil, err
	}
	cfg.Username = s.cfg.Username
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, err
	}
	l := &link{endpoint: endpoint, client: client, gone: make(chan struct{})}
	if err := s.beat(l, connectTimeout); err != nil {
		_ = client.Close()
		return nil, err
	}
	return l, nil
}

// failFast makes a call on a broken connection fail, where etcd's client would
// let it wait until the connection is back: here there is another member.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

// watchOver returns why l is of no more use.
func (s *Store) watchOver(l *link) error {
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for n := 0; ; n++ {
		if n%inspectEvery == 0 {
			s.inspect(l)
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-t.C:
		case <-s.doubt: // a call has failed
			n = -1 // perhaps as there is no more room
		}
		if err := s.beat(l, heartbeatTimeout); err != nil {
			return err
		}
	}
}

func (s *Store) beat(l *link, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	began := s.since()
	if _, err := l.client.Get(ctx, s.cfg.Prefix, clientv3.WithCountOnly()); err != nil {
		return err
	}
	l.confirmed.Store(int64(began))
	return nil
}

// setLink makes l the current link; nil says that there is none for now.
func (s *Store) setLink(l *link, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current, s.trouble, s.down = l, err, false
	close(s.changed)
	s.changed = make(chan struct{})
}

// setDown says that no member answers, so that there is nothing to wait for.
func (s *Store) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble, s.down = err, true
	close(s.changed)
	s.changed = make(chan struct{})
}

// peek returns the current link, or nil, and what is closed when it changes.
func (s *Store) peek() (*link, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.changed
}

// link returns the current link. While members are being tried it waits.
func (s *Store) link(ctx context.Context) (*link, error) {
	for {
		s.mu.Lock()
		l, trouble, down, changed := s.current, s.trouble, s.down, s.changed
		s.mu.Unlock()
		switch {
		case s.ctx.Err() != nil:
			return nil, fmt.Errorf("%w: the store is closed", store.ErrUnavailable)
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, errors.Join(ctx.Err(), trouble))
		case l != nil:
			return l, nil
		case down:
			return nil, fmt.Errorf("%w: no member of etcd answers: %w", store.ErrUnavailable, trouble)
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
	}
}

// doubted asks for a heartbeat at once.
func (s *Store) doubted() {
	select {
	case s.doubt <- struct{}{}:
	default:
	}
}
