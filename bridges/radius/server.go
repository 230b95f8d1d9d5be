package radius

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Server answers RADIUS on UDP. Its methods may be called from many
// goroutines.
type Server struct {
	verifier Verifier
	prompt   Prompt   // verifier, if it is one
	expecter Expecter // the same
	memory   Memory
	log      *slog.Logger

	table   atomic.Pointer[table]
	sockets []*socket
	delays  *delays
	crowd   crowd

	sessions    Sessions     // nil: accounting is answered and kept nowhere
	disconnects *disconnects // nil: there is no accounting

	counters counters
	jobs     sync.Pool // of *job

	// Lines about strangers, about what clients send, about recordings, about
	// what is behind us, about old secrets. Apart, so that a flood of one hides
	// none of the others.
	strangers, faults, alerts, troubles, olds sieve

	watches atomic.Pointer[[]*Watch] // nil: nobody looks on

	ctx     context.Context // ends with Close; attempts are made under it
	cancel  context.CancelFunc
	running sync.WaitGroup // readers, workers, the delay, memory

	mu             sync.Mutex // held by Serve, Reload and Close for their first half
	served, closed bool
}

// Listen binds the addresses of config. Nothing is read before Serve. memory
// may be nil: then what RequireAuto learns ends with the Server. A Config with
// faults is refused with all of them (errors.As to Fault).
func Listen(config Config, v Verifier, memory Memory, log *slog.Logger) (*Server, error) {
	s, err := newServer(config, v, memory, log)
	if err != nil {
		return nil, err
	}
	for i, address := range slices.Concat(config.Listen, config.Accounting) {
		k, err := listenSocket(address, uint16(i))
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		k.accounting = i >= len(config.Listen)
		s.sockets = append(s.sockets, k)
	}
	if len(config.Accounting) > 0 {
		if s.disconnects, err = listenDisconnects(); err != nil {
			return nil, errors.Join(fmt.Errorf("radius: no socket to end sessions from: %w", err), s.Close())
		}
	}
	return s, nil
}

// newServer is Listen without sockets.
func newServer(config Config, v Verifier, memory Memory, log *slog.Logger) (*Server, error) {
	s := &Server{verifier: v, memory: memory, log: log, delays: newDelays(), crowd: newCrowd(), olds: sieve{every: time.Hour}}
	s.prompt, _ = v.(Prompt)
	s.expecter, _ = v.(Expecter)
	s.jobs.New = func() any { return new(job) }
	t, err := s.prepare(config, nil)
	if err != nil {
		return nil, err
	}
	s.table.Store(t)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// prepare checks config and makes a table of it.
func (s *Server) prepare(config Config, before *table) (*table, error) {
	if faults := config.Check(); len(faults) > 0 {
		var all []error
		for _, f := range faults {
			all = append(all, f)
		}
		return nil, errors.Join(all...)
	}
	t := newTable(config, before)
	s.recall(t)
	return t, nil
}

// recall asks memory about the clients of RequireAuto.
func (s *Server) recall(t *table) {
	if s.memory == nil {
		return
	}
	asked := map[*client]bool{}
	for _, c := range t.clients {
		if c.RequireMessageAuthenticator != RequireAuto || c.peer.signed.Load() || asked[c] {
			continue
		}
		asked[c] = true
		seen, err := s.memory.Seen(c.Name)
		if err != nil {
			c.unsure = true
			s.log.Error("radius: whether this client ever sent Message-Authenticator could not be read, so it is required of it until the next reload",
				"client", c.Name, "err", cut(err.Error(), maxLogReason))
		}
		if seen {
			c.peer.signed.Store(true)
		}
	}
}

// Serve answers until ctx ends or Close is called, and returns when everything
// has stopped. It can be called once.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	if s.closed || s.served {
		s.mu.Unlock()
		return errors.New("radius: the server is closed, or serves already")
	}
	s.served = true
	s.start()
	for _, k := range s.sockets {
		for _, c := range k.conns {
			s.running.Go(func() { s.read(s.ctx, k, c) })
		}
	}
	if s.disconnects != nil {
		for _, k := range s.disconnects.sockets {
			s.running.Go(func() { s.readAnswers(k) })
		}
	}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	<-s.ctx.Done()
	return s.Close()
}

// start begins what a Server does beside reading.
func (s *Server) start() {
	s.running.Go(func() { s.delays.run(s.ctx, s.sendDelayed, s.flush) })
	s.running.Go(func() { s.disperse(s.ctx) })
}

// Reload puts another configuration in place of the running one. Packets are
// answered all the while; what came in before is finished as it began. With an
// error nothing has changed. Listen must have the same addresses: they change
// with a restart.
func (s *Server) Reload(config Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("radius: the server is closed")
	}
	before := s.table.Load()
	for field, both := range map[string][2][]string{
		"listen": {config.Listen, before.config.Listen}, "accounting": {config.Accounting, before.config.Accounting},
	} {
		if !slices.Equal(slices.Sorted(slices.Values(both[0])), slices.Sorted(slices.Values(both[1]))) {
			return Fault{Field: field, Text: "the addresses to listen on cannot change while running; restart keywicket for that"}
		}
	}
	t, err := s.prepare(config, before)
	if err != nil {
		return err
	}
	s.table.Store(t)
	return nil
}

// Close stops everything and waits for it. Rejects that wait for their time
// are not sent. It may be called twice.
func (s *Server) Close() error {
	s.mu.Lock()
	var errs []error
	s.cancel()
	closing := !s.closed
	s.closed = true
	for _, k := range s.sockets {
		k.stop()
	}
	if s.disconnects != nil {
		for _, k := range s.disconnects.sockets {
			k.stop()
		}
	}
	s.mu.Unlock()
	s.running.Wait() // what was read is answered
	if closing {
		s.flush()
		for _, k := range s.sockets {
			errs = append(errs, k.close())
		}
		if s.disconnects != nil {
			errs = append(errs, s.disconnects.close())
		}
	}
	return errors.Join(errs...)
}

// Addrs returns what Listen bound for authentication, in its order, with the
// ports that the kernel chose where Listen said 0.
func (s *Server) Addrs() []netip.AddrPort { return s.addrs(false) }

// AccountingAddrs does the same for accounting.
func (s *Server) AccountingAddrs() []netip.AddrPort { return s.addrs(true) }

func (s *Server) addrs(accounting bool) []netip.AddrPort {
	var all []netip.AddrPort
	for _, k := range s.sockets {
		if k.accounting == accounting {
			all = append(all, k.addr())
		}
	}
	return all
}

// Warnings returns those of the running Config.
func (s *Server) Warnings() []Fault { return s.table.Load().config.Warnings() }

// Counters returns a copy of the totals.
func (s *Server) Counters() Counters { return s.counters.snapshot() }

// send sends a reply and counts it.
func (s *Server) send(to *path, reply []byte) {
	s.put(to, reply)
	s.sent(to.sock.flush())
}

// put is send for a reply that goes out with the next flush.
func (s *Server) put(to *path, reply []byte) {
	s.counters.packet(reply[0])
	s.sent(to.sock.add(reply, to))
}

// flush sends what was put.
func (s *Server) flush() {
	for _, k := range s.sockets {
		s.sent(k.flush())
	}
}

// sent looks at what became of replies.
func (s *Server) sent(failed int, err error) {
	if failed == 0 {
		return
	}
	s.counters.dropped[dropSend].Add(uint64(failed))
	if held, ok := s.troubles.pass(netip.Addr{}, time.Now()); ok {
		s.log.Error("radius: replies not sent", "replies", failed, "err", cut(err.Error(), maxLogReason), "held_back", held)
	}
}

// readFailed logs that a socket could not be read just now.
func (s *Server) readFailed(err error) {
	if held, ok := s.troubles.pass(netip.Addr{}, time.Now()); ok {
		s.log.Error("radius: socket not read", "err", cut(err.Error(), maxLogReason), "held_back", held)
	}
}
