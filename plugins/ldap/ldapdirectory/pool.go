package ldapdirectory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/keywicket/keywicket/core/directory"
)

// A pool holds connections, of which so many at most are open at once: idle ones
// that are bound as who searches, and those that try a main password.
type pool struct {
	cfg   Config
	slots chan struct{} // one is held for each connection that is in use

	stop   context.CancelFunc
	ctx    context.Context // ends with close
	probes sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	idle    []*ldap.Conn
	next    int       // the server that was connected to last
	trouble error     // why the last who asked had no answer
	noted   time.Time // when that was, or an answer came
	probing bool
}

func newPool(cfg Config) *pool {
	p := &pool{cfg: cfg, slots: make(chan struct{}, cfg.Connections)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// search lends do a connection that is bound as who searches. When an idle one
// turns out to be broken, do is called once more with a new one.
func (p *pool) search(ctx context.Context, do func(*ldap.Conn) error) error {
	for {
		conn, reused, err := p.take(ctx)
		if err != nil {
			return err
		}
		err = p.lend(ctx, conn, do)
		if err == nil || !broken(err) {
			p.note(ctx, nil)
			p.putBack(conn)
			return err
		}
		_ = conn.Close()
		<-p.slots
		if !reused || ctx.Err() != nil {
			p.note(ctx, unavailable(err))
			return err
		}
	}
}

// fresh lends do a new connection that is bound as nobody, and closes it.
func (p *pool) fresh(ctx context.Context, do func(*ldap.Conn) error) error {
	if err := p.slot(ctx); err != nil {
		return err
	}
	defer func() { <-p.slots }()
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return p.lend(ctx, conn, do)
}

// lend calls do, and breaks the connection when ctx ends.
func (p *pool) lend(ctx context.Context, conn *ldap.Conn, do func(*ldap.Conn) error) error {
	conn.SetTimeout(p.cfg.Timeout)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err := do(conn)
	if !stop() && err == nil {
		err = ldap.NewError(ldap.ErrorNetwork, ctx.Err()) // so that it is not put back
	}
	return err
}

// slot waits until one more connection may be in use.
func (p *pool) slot(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: all %d connections are in use: %w", directory.ErrUnavailable, p.cfg.Connections, ctx.Err())
	}
}

func (p *pool) take(ctx context.Context) (conn *ldap.Conn, reused bool, err error) {
	if err := p.slot(ctx); err != nil {
		return nil, false, err
	}
	p.mu.Lock()
	for len(p.idle) > 0 && conn == nil {
		conn = p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if conn.IsClosing() {
			conn = nil
		}
	}
	p.mu.Unlock()
	if conn != nil {
		return conn, true, nil
	}
	if conn, err = p.connect(ctx); err == nil {
		if err = p.lend(ctx, conn, p.begin); err != nil {
			_ = conn.Close()
			err = unavailable(err)
			p.note(ctx, err)
		}
	}
	if err != nil {
		<-p.slots
		return nil, false, err
	}
	return conn, false, nil
}

func (p *pool) putBack(conn *ldap.Conn) {
	p.mu.Lock()
	if p.closed || conn.IsClosing() {
		defer conn.Close()
	} else {
		p.idle = append(p.idle, conn)
	}
	p.mu.Unlock()
	<-p.slots
}

// begin binds as who searches, and looks whether that sees anything: to whom
// the base is hidden, no account exists.
func (p *pool) begin(conn *ldap.Conn) error {
	if p.cfg.BindDN != "" {
		password, err := p.cfg.bindPassword()
		if err != nil {
			return err
		}
		if err := conn.Bind(p.cfg.BindDN, password); err != nil {
			return fmt.Errorf("bind as bind_dn: %w", err)
		}
	}
	return p.readBase(conn)
}

func (p *pool) readBase(conn *ldap.Conn) error {
	result, err := conn.Search(&ldap.SearchRequest{BaseDN: p.cfg.BaseDN, Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)", Attributes: []string{"1.1"}, SizeLimit: 1})
	if err != nil {
		return fmt.Errorf("read base_dn: %w", err)
	}
	if len(result.Entries) != 1 {
		return errors.New("read base_dn: it is not there, or hidden from bind_dn")
	}
	return nil
}

// connect connects to the first server that answers, beginning with the one
// that did so last, and secures the connection.
func (p *pool) connect(ctx context.Context) (*ldap.Conn, error) {
	if p.isClosed() {
		return nil, fmt.Errorf("%w: the directory is closed", directory.ErrUnavailable)
	}
	p.mu.Lock()
	first := p.next
	p.mu.Unlock()
	var errs []error
	for i := range p.cfg.URLs {
		at := (first + i) % len(p.cfg.URLs)
		conn, err := p.dial(ctx, p.cfg.URLs[at])
		if err == nil {
			p.mu.Lock()
			p.next = at
			p.mu.Unlock()
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", p.cfg.URLs[at], err))
		if ctx.Err() != nil {
			break
		}
	}
	err := fmt.Errorf("%w: no LDAP server answers: %w", directory.ErrUnavailable, errors.Join(errs...))
	p.note(ctx, err)
	return nil, err
}

// note keeps what became of a question; nil: it was answered. Of one that nobody
// waits for any more nothing is known.
func (p *pool) note(ctx context.Context, err error) {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble, p.noted = err, p.cfg.Now()
}

const (
	probeEvery   = 5 * time.Second  // where nobody asks
	refusedEvery = 10 * time.Minute // where the bind is refused: too many tries could lock that account
)

// health returns why the last question had no answer. Where the last one was a while
// ago it has one asked, and does not wait: so it is known that the servers went away,
// or came back, also when nobody signs in.
func (p *pool) health() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := probeEvery
	if ldap.IsErrorWithCode(p.trouble, ldap.LDAPResultInvalidCredentials) {
		every = refusedEvery
	}
	if !p.closed && !p.probing && p.cfg.Now().Sub(p.noted) >= every {
		p.probing = true
		p.probes.Go(func() {
			ctx, cancel := context.WithTimeout(p.ctx, p.cfg.Timeout)
			defer cancel()
			if err := p.search(ctx, p.readBase); err != nil { // also where a server answered that there is no base
				p.note(ctx, fault("ask", err))
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.probing = false
		})
	}
	return p.trouble
}

func unavailable(err error) error { return fmt.Errorf("%w: LDAP: %w", directory.ErrUnavailable, err) }

func (p *pool) dial(ctx context.Context, text string) (*ldap.Conn, error) {
	// A server that does not answer must leave time for the next.
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout/time.Duration(len(p.cfg.URLs)))
	defer cancel()
	s, err := p.cfg.server(text)
	if err != nil {
		return nil, err
	}
	secured, err := p.cfg.tls(s.host)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	if s.tls {
		t := tls.Client(raw, secured)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		raw = t
	}
	conn := ldap.NewConn(raw, s.tls)
	conn.Start()
	if !s.tls && p.cfg.StartTLS {
		if err := p.lend(ctx, conn, func(c *ldap.Conn) error { return c.StartTLS(secured) }); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("StartTLS: %w", err)
		}
	}
	return conn, nil
}

// broken says whether a connection is of no more use after err.
func broken(err error) bool {
	var e *ldap.Error
	return errors.As(err, &e) && (e.ResultCode >= ldap.ErrorNetwork || e.ResultCode == ldap.LDAPResultUnavailable || e.ResultCode == ldap.LDAPResultBusy)
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *pool) close() {
	p.stop()
	defer p.probes.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, conn := range p.idle {
		_ = conn.Close()
	}
	p.idle = nil
}
