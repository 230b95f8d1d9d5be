package pam

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/keywicket/keywicket/bridges/socket"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// A caller is who asks.
type caller struct {
	peer    socket.Peer
	name    string // of the user, in /etc/passwd; empty: it has none there
	anybody bool   // it may ask for anybody
}

// judge says who is at the other end of conn. Where the kernel does not say, it
// is nobody.
func (s *Server) judge(conn *net.UnixConn) caller {
	p, err := socket.PeerOf(conn)
	if err != nil {
		return caller{peer: socket.Peer{UID: ^uint32(0)}}
	}
	if p.UID == 0 {
		return caller{peer: p, anybody: true}
	}
	name := s.users.name(p.UID)
	return caller{peer: p, name: name, anybody: name != "" && slices.Contains(s.rules.Load().Users, name)}
}

// serve reads one request and writes one reply.
func (s *Server) serve(conn *net.UnixConn, c caller) {
	defer func() {
		if p := recover(); p != nil {
			s.closed(closedFault, "panic", func() string { return fmt.Sprint(p) })
		}
	}()
	s.mu.Lock() // or stop's deadline might be undone
	if !s.stopped {
		_ = conn.SetReadDeadline(time.Now().Add(s.opt.patience)) // a closed one is found by reading
	}
	s.mu.Unlock()
	buf := make([]byte, maxRequest)
	defer clear(buf)
	r, err := readRequest(conn, buf)
	if err != nil {
		why := closedLate
		if errors.Is(err, errMalformed) {
			why = closedMalformed
		}
		s.closed(why, "err", err.Error)
		return
	}
	v := s.answer(c, &r)
	s.counters.answers[v].Add(1)
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // likewise
	if _, err := conn.Write(appendReply(nil, &r, v)); err != nil {
		s.closed(closedWriting, "err", err.Error)
	}
}

// answer decides a request.
func (s *Server) answer(c caller, r *Request) Verdict {
	ctx, cancel := context.WithTimeout(context.Background(), decideTimeout)
	defer cancel()
	rules := s.rules.Load()
	v := s.decide(ctx, rules, c, r)
	s.opt.Log.Debug("PAM request", "type", r.Type, "service", r.Service, "user", core.Shown(r.User), "rhost", r.RHost, "tty", r.TTY, "peer", c.peer.UID, "verdict", v.String())
	return v
}

func (s *Server) decide(ctx context.Context, rules *Rules, c caller, r *Request) Verdict {
	listed := slices.Contains(rules.Services, r.Service)
	uid, local := s.users.uid(r.User)
	system := local && int64(uid) < int64(rules.MinUID)
	switch {
	case !c.anybody && !s.mayAsk(c, r):
		return Deny
	case r.Type == Account && system:
		return Unknown
	case r.Type == Account && !listed:
		return Deny
	case r.Type == Account:
		return standingOf(s.opt.Engine.Standing(ctx, r.User))
	}
	a := core.Attempt{Account: r.User, Proof: proof.Cleartext(r.Password), Service: "pam/" + visible(r.Service)}
	a.Source, a.Device = remote(r.RHost)
	switch {
	case system:
		return verdictOf(s.opt.Engine.Refuse(ctx, a, core.ReasonAppPasswordsDenied))
	case !listed:
		return verdictOf(s.opt.Engine.Refuse(ctx, a, core.ReasonOutOfScope))
	}
	_, err := s.opt.Engine.Verify(ctx, a)
	return verdictOf(err)
}

// mayAsk says whether c, who is not root, may ask this: for himself alone, and
// not too often.
func (s *Server) mayAsk(c caller, r *Request) bool {
	own, err := core.NormalizeAccount(c.name)
	asked, wrong := core.NormalizeAccount(r.User)
	if err != nil || wrong != nil || own != asked {
		if s.own.try(c.peer.UID) { // so many lines a minute
			s.opt.Log.Warn("somebody asked at the PAM socket for another's account and was denied", "peer", c.peer.String(), "user", core.Shown(r.User))
		}
		return false
	}
	return r.Type == Account || s.own.try(c.peer.UID)
}

// remote returns the remote host of a request as the source of an attempt,
// where it is an address, and as its device. The same host is the same device
// however it is written.
func remote(rhost string) (netip.Addr, string) {
	if a, err := netip.ParseAddr(rhost); err == nil {
		a = a.Unmap().WithZone("")
		return a, a.String()
	}
	return netip.Addr{}, visible(strings.ToLower(strings.TrimSuffix(rhost, ".")))
}

// visible returns s without what cannot be printed.
func visible(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
}
