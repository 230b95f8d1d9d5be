package radius

import (
	"cmp"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/proof"
)

const (
	logEvery     = 10 * time.Second // one line per source
	logSources   = 256
	maxLogName   = 128
	maxLogReason = 512
)

// printable returns s with every control, bidirectional and invalid octet
// escaped, and no quotes around it.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// cut returns at most n octets of s, escaped.
func cut(s string, n int) string {
	if len(s) > n {
		return printable(s[:n]) + "…"
	}
	return printable(s)
}

// name returns a name from outside as it may stand in the log.
func (t *table) name(name string) string {
	if t.config.Redact == nil {
		return "[hidden]"
	}
	return cut(t.config.Redact(name), maxLogName)
}

// A sieve lets one line per source through in a time. It remembers at most
// logSources of them; while it is full, it lets nobody new through.
type sieve struct {
	every time.Duration // 0: logEvery
	mu    sync.Mutex
	until map[netip.Addr]time.Time
	swept time.Time
	held  uint64 // lines held back since the last one
}

// pass reports whether a line about source may be written now, and how many
// were not since the last one.
func (s *sieve) pass(source netip.Addr, now time.Time) (held uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, known := s.until[source]
	if known && now.Before(until) {
		s.held++
		return 0, false
	}
	if !known && len(s.until) >= logSources {
		s.sweep(now)
		if len(s.until) >= logSources {
			s.held++
			return 0, false
		}
	}
	if s.until == nil {
		s.until = make(map[netip.Addr]time.Time)
	}
	s.until[source] = now.Add(cmp.Or(s.every, logEvery))
	held, s.held = s.held, 0
	return held, true
}

// sweep forgets what is over; at most once a second, because it is called by
// those who flood.
func (s *sieve) sweep(now time.Time) {
	if now.Sub(s.swept) < time.Second {
		return
	}
	s.swept = now
	for source, until := range s.until {
		if !now.Before(until) {
			delete(s.until, source)
		}
	}
}

// refuse counts a packet that is answered with silence, and logs it where its
// source has not had a line for a while.
func (s *Server) refuse(c *client, why drop, source netip.Addr, now time.Time) {
	s.counters.drop(why)
	if c == nil {
		if held, ok := s.strangers.pass(source, now); ok {
			s.log.Warn("radius: request from an address of no client; if it is a device of yours, add a client for it",
				"source", source, "held_back", held)
		}
		return
	}
	held, ok := s.faults.pass(source, now)
	if !ok {
		return
	}
	s.log.Warn("radius: request dropped: "+refusal(why), "client", c.Name, "source", source, "reason", why.String(), "held_back", held)
}

// refusal says what happened and what to do about it.
func refusal(why drop) string {
	switch why {
	case dropNoMessageAuthenticator:
		return `it carries no Message-Authenticator, and to the client this server looks dead. Turn Message-Authenticator on at the client (best), or, if it cannot send one, set require_message_authenticator to false or "auto" for it here`
	case dropMessageAuthenticator:
		return "its Message-Authenticator is wrong. Most often the shared secret here is not the one at the client; otherwise somebody forges"
	case dropProxyState:
		return "it carries a Proxy-State but no Message-Authenticator (CVE-2024-3596). Let the proxy in between send Message-Authenticator"
	case dropCode:
		return "it is nothing that belongs on this port. Look at which port the client sends what to: sign-ins to radius.listen, accounting to radius.accounting"
	case dropRequestAuthenticator:
		return "its Request Authenticator is wrong. Most often the shared secret here is not the one at the client; otherwise somebody forges"
	}
	return "it is no well-formed RADIUS packet"
}

// alert logs a Request Authenticator that came before.
func (s *Server) alert(c *client, source netip.Addr, now time.Time) {
	if held, ok := s.alerts.pass(source, now); ok {
		s.log.Error("radius: request dropped: its Request Authenticator was used in the last 5 minutes. Either somebody sends recorded requests, or the client makes bad random numbers; then set allow_repeated_authenticator for it",
			"client", c.Name, "source", source, "held_back", held)
	}
}

// untaken logs that a device used a method that it may not use, which to its
// owner looks like a wrong password.
func (s *Server) untaken(r *request, m proof.Method) {
	if held, ok := s.faults.pass(r.source(), time.Now()); ok {
		s.log.Warn("radius: attempt refused: "+r.client.whyNot(m), "client", r.client.Name, "source", r.source(), "method", m, "held_back", held)
	}
}

// unread logs that the password of a request is no text. Without a
// Message-Authenticator nothing else shows that the shared secrets differ.
func (s *Server) unread(r *request) {
	if held, ok := s.faults.pass(r.source(), time.Now()); ok {
		s.log.Warn("radius: the User-Password of a request is no text. Most often the shared secret here is not the one at the client; a Message-Authenticator would tell",
			"client", r.client.Name, "source", r.source(), "held_back", held)
	}
}

// trouble logs what is our fault or that of what is behind us.
func (s *Server) trouble(r *request, message string, err error) {
	now := time.Now()
	held, ok := s.troubles.pass(r.source(), now)
	if !ok {
		return
	}
	text := ""
	if err != nil {
		text = cut(err.Error(), maxLogReason)
	}
	s.log.Error("radius: "+message, "client", r.client.Name, "source", r.source(), "err", text, "held_back", held)
}

// panicked logs a panic without its value, which may hold a secret.
func (s *Server) panicked(v any) {
	text := "a panic"
	if err, ok := v.(runtime.Error); ok {
		text = err.Error()
	}
	s.log.Error("radius: request given up after a panic", "err", text, "stack", string(debug.Stack()))
}
