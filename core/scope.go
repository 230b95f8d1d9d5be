package core

import (
	"slices"
	"strings"
	"sync"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/proof"
)

// A scope is where and how app passwords may be presented, and the profile
// they were made with. A million app passwords have a handful of these, so
// they share them.
type scope struct {
	profile  string
	services []string
	methods  []proof.Method
}

func newScope(p *record.AppPassword) *scope {
	s := &scope{profile: p.Profile, services: slices.Clone(p.Services)}
	for _, m := range p.Methods {
		s.methods = append(s.methods, proof.Method(m))
	}
	return s
}

// maxScopes is how many scopes are shared; what more there are stand alone.
const maxScopes = 4096

// scopes are the scopes that were met, by what they say.
type scopes struct {
	mu    sync.Mutex
	known map[string]*scope
}

func newScopes() *scopes { return &scopes{known: make(map[string]*scope)} }

// of returns the scope of p.
func (s *scopes) of(p *record.AppPassword) *scope {
	// No text of the three holds a NUL: they come from a configuration.
	key := strings.Join([]string{p.Profile, strings.Join(p.Services, "\x00"), strings.Join(p.Methods, "\x00")}, "\x00\x00")
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.known[key]
	if found == nil {
		found = newScope(p)
		if len(s.known) < maxScopes {
			s.known[key] = found
		}
	}
	return found
}
