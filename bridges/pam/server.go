package pam

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keywicket/keywicket/bridges/socket"
	"github.com/keywicket/keywicket/core"
)

const (
	maxConnections = 1000
	readTimeout    = 3 * time.Second // for the whole request; the module sends it at once
	decideTimeout  = 3 * time.Second
	writeTimeout   = time.Second
)

// An Engine decides; *core.Engine is one. Its methods are called from many
// goroutines, and of an error the bridge looks at core.KindOf alone.
type Engine interface {
	// Verify grants or refuses an attempt; only a nil error is a grant. The
	// clear text in it is wiped when Verify returns.
	Verify(ctx context.Context, a core.Attempt) (core.Grant, error)

	// Refuse records an attempt that is refused whatever was presented.
	Refuse(ctx context.Context, a core.Attempt, r core.Reason) error

	// Standing says whether an account exists and is enabled.
	Standing(ctx context.Context, account string) error
}

// Rules are what the administrator chose.
type Rules struct {
	Services []string // PAM services that are decided; every other one is denied
	Users    []string // names of users who may ask for anybody, beside root
	MinUID   int      // users of this host with a smaller id are denied
}

// Options say what a server needs.
type Options struct {
	Path     string            // of the socket
	Listener *net.UnixListener // that the service manager made; nil: one is made at Path
	Engine   Engine
	Rules    Rules
	Log      *slog.Logger
	Passwd   string           // empty: /etc/passwd
	Now      func() time.Time // nil: time.Now

	patience time.Duration // for a whole request; 0: readTimeout
}

// A Server answers on one socket.
type Server struct {
	listener *net.UnixListener
	opt      Options
	rules    atomic.Pointer[Rules]
	users    *passwd
	own      *limiter
	counters counters

	mu      sync.Mutex
	conns   map[*net.UnixConn]struct{}
	stopped bool
	done    sync.WaitGroup
}

// Listen makes the socket, if the service manager did not. Everybody may
// connect to it.
func Listen(opt Options) (*Server, error) {
	if opt.Passwd == "" {
		opt.Passwd = "/etc/passwd"
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.patience == 0 {
		opt.patience = readTimeout
	}
	l := opt.Listener
	if l == nil {
		var err error
		if l, err = socket.Listen(socket.Options{Path: opt.Path, Name: "PAM socket", Mode: 0o666}); err != nil {
			return nil, err
		}
	}
	s := &Server{listener: l, opt: opt, users: &passwd{path: opt.Passwd}, own: newLimiter(opt.Now), conns: map[*net.UnixConn]struct{}{}}
	s.Reload(opt.Rules)
	return s, nil
}

// Addr returns the path of the socket.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Reload changes the rules. Requests that are being decided end under the old
// ones; no connection is lost.
func (s *Server) Reload(r Rules) {
	r.Services, r.Users = slices.Clone(r.Services), slices.Clone(r.Users)
	s.rules.Store(&r)
}

// Serve answers until ctx ends, or Close is called. Requests that have come by
// then are answered.
func (s *Server) Serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.stop)()
	defer s.done.Wait()
	pause := time.Duration(0)
	for {
		conn, err := s.listener.AcceptUnix()
		switch {
		case err == nil:
			pause = 0
			s.admit(conn)
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // no descriptor or no memory is left: connections wait meanwhile
			if pause == 0 {
				s.opt.Log.Error("the PAM socket cannot take a connection; it is tried on", "err", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}

// Close stops the server, and takes away the socket that it made.
func (s *Server) Close() {
	s.stop()
	s.done.Wait()
}

// stop ends the waiting for connections, and for requests that are not there.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	_ = s.listener.Close() // nothing more is to be done with it
	for conn := range s.conns {
		_ = conn.SetReadDeadline(time.Unix(1, 0)) // one that is closed already needs none
	}
}

// admit serves a connection, if its peer may ask and there is room.
func (s *Server) admit(conn *net.UnixConn) {
	c := s.judge(conn)
	if why, ok := s.enter(conn, c); !ok {
		s.closed(why, "peer", c.peer.String)
		_ = conn.Close() // it was refused
		return
	}
	go func() {
		defer s.leave(conn, c)
		s.serve(conn, c)
	}()
}

// closed counts a connection without an answer, and tells of it now and then.
func (s *Server) closed(why closing, key string, detail func() string) {
	if s.counters.close(why, s.opt.Now()) {
		s.opt.Log.Warn("a connection to the PAM socket was closed without an answer; more of the kind are counted, and not told of for a while",
			"why", closingNames[why], key, detail())
	}
}

func (s *Server) enter(conn *net.UnixConn, c caller) (why closing, ok bool) {
	if !c.anybody && c.name == "" {
		return closedStranger, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || len(s.conns) >= maxConnections || !c.anybody && !s.own.enter(c.peer.UID) {
		return closedFull, false
	}
	s.conns[conn] = struct{}{}
	s.done.Add(1)
	return 0, true
}

func (s *Server) leave(conn *net.UnixConn, c caller) {
	_ = conn.Close() // what was to be written is written
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	if !c.anybody {
		s.own.leave(c.peer.UID)
	}
	s.done.Done()
}
