package radius

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"unsafe"

	"github.com/keywicket/keywicket/bridges/radius/digest"
	"github.com/keywicket/keywicket/core"
)

// A lookingEngine looks for what was typed while it is asked.
type lookingEngine struct {
	namedEngine
	look         func(typed []byte)
	expectPanics bool
}

func (e *lookingEngine) Expect([][]byte) {
	if e.expectPanics {
		panic("as it is told")
	}
}

func (e *lookingEngine) VerifyText(a *core.Attempt, name, typed []byte, g *core.Grant) (bool, error) {
	e.look(typed)
	return e.namedEngine.VerifyText(a, name, typed, g)
}

// A failingSocket panics where something goes out.
type failingSocket struct{ fakeSocket }

func (*failingSocket) add([]byte, *path) (int, error) { panic("as it is called") }

// Nothing that somebody typed, and nothing that it was hidden with, is left in a lane
// or in a job, whatever became of the attempt, and nothing of a shared secret.
func TestTypedIsWiped(t *testing.T) {
	unsigned := func(secret string) func(n int, password string) []byte {
		return func(n int, password string) []byte {
			a := testAuthenticator(n)
			return rawPacket(1, byte(n), a, attr(1, "granted"), hidePassword(password, secret, a))
		}
	}
	named := func(name string) func(n int, password string) []byte {
		return func(n int, password string) []byte { return papRequest(n, name, password) }
	}
	for name, tt := range map[string]struct {
		request func(n int, password string) []byte
		prepare func(s *Server, e *lookingEngine, at *path)
		unasked bool // nothing is decided at once
	}{
		"granted": {request: named("granted")},
		"refused": {request: func(n int, password string) []byte { return papRequest(n, "granted", "wrong "+password) }},
		"forged":  {request: func(n int, password string) []byte { return flipMA(papRequest(n, "granted", password)) }},
		"another secret": {request: func(n int, password string) []byte {
			return requestWith("nobody has this secret, not at all", true, n, password)
		}},
		"old secret":      {request: unsigned(oldSecret)},
		"no text":         {request: unsigned("nobody has this secret, not at all")},
		"rest behind NUL": {request: func(n int, password string) []byte { return papRequest(n, "granted", "\x00"+password) }},
		"beside CHAP": {request: func(n int, password string) []byte {
			return papRequest(n, "granted", password, attr(3, strings.Repeat("x", 17)))
		}},
		"no time":        {request: named("limited")},
		"fails":          {request: named("fails")},
		"panics":         {request: named("panics")},
		"worker":         {request: named("waits")},
		"worker refuses": {request: func(n int, password string) []byte { return papRequest(n, "waits", "wrong "+password) }},
		"worker fails":   {request: named("waits, fails")},
		"worker panics":  {request: named("waits, panics")},
		"queue full": {request: named("waits"), prepare: func(s *Server, _ *lookingEngine, _ *path) {
			q := &s.table.Load().names["vpn1"].peer.queue
			for q.workers = maxWorkers; q.n < queueLen; {
				j := s.jobs.Get().(*job)
				j.facts = facts{table: s.table.Load(), client: s.table.Load().names["vpn1"]}
				q.put(j)
			}
		}},
		"watched":         {request: named("granted"), unasked: true, prepare: func(s *Server, _ *lookingEngine, _ *path) { _, _ = s.Watch(Filter{}) }},
		"expecter panics": {request: named("granted"), unasked: true, prepare: func(_ *Server, e *lookingEngine, _ *path) { e.expectPanics = true }},
		"socket panics":   {request: named("granted"), prepare: func(_ *Server, _ *lookingEngine, at *path) { at.sock = &failingSocket{} }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, e, l := changingClient(), &lookingEngine{}, newLane(nil)
				never(&c)
				s, err := newServer(testConfig(c), e, nil, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = s.Close() }()
				var jobs []*job
				s.jobs.New = func() any {
					jobs = append(jobs, &job{})
					return jobs[len(jobs)-1]
				}
				found := 0
				e.look = func(typed []byte) {
					eachOctet(reflect.ValueOf(l).Elem(), func(_ string, octets []byte) {
						if bytes.Contains(octets, typed) {
							found++
						}
					})
				}
				at := &path{sock: &fakeSocket{}, from: testSource}
				if tt.prepare != nil {
					tt.prepare(s, e, at)
				}
				var secrets []string
				for n := range atHand {
					password := fmt.Sprintf("%s and more of it, number %d", testPassword, n)
					raw := papRequest(n, "granted", password)
					if n%2 == 0 {
						raw = tt.request(n, password)
					}
					secrets = append(secrets, password)
					secrets = append(secrets, masksOf(raw, testSecret)...)
					s.open(raw, at, l)
				}
				s.admitAll(l)
				synctest.Wait()
				if tt.unasked != (found == 0) {
					t.Errorf("%d were found while they were looked at", found)
				}
				nothingOf(t, "lane", reflect.ValueOf(l).Elem(), append(secrets, testSecret, oldSecret))
				for _, j := range jobs {
					nothingOf(t, "job", reflect.ValueOf(j).Elem(), secrets)
				}
				if needs := strings.Contains(name, "worker"); needs && len(jobs) == 0 {
					t.Error("there was no job")
				}
			})
		})
	}
}

// masksOf is what the first two blocks of the password in raw are hidden with; behind
// its end the last mask stands in the packet itself.
func masksOf(raw []byte, secret string) (all []string) {
	before := string(raw[4:20])
	for _, a := range attributesOf(raw) {
		for at := 2; a[0] == attrUserPassword && at < len(a); at += digestLen {
			mask := md5.Sum([]byte(secret + before))
			all, before = append(all, string(mask[:])), a[at:at+digestLen]
		}
	}
	return all[:min(len(all), 2)]
}

// nothingOf wants no eight octets of secrets in what v has.
func nothingOf(t *testing.T, what string, v reflect.Value, secrets []string) {
	t.Helper()
	pieces := map[[8]byte]bool{}
	for _, secret := range secrets {
		for at := range len(secret) - 7 {
			pieces[[8]byte([]byte(secret[at:]))] = true
		}
	}
	eachOctet(v, func(where string, octets []byte) {
		for at := range max(len(octets)-7, 0) {
			if pieces[[8]byte(octets[at:])] {
				t.Errorf("%s%s: %q is left at %d", what, where, octets[at:at+8], at)
				return
			}
		}
	})
}

// eachOctet shows all memory that v, which has an address, consists of and leads to,
// also what is behind the ends of slices; but what others have, too.
func eachOctet(v reflect.Value, show func(where string, octets []byte)) {
	type place struct {
		at uintptr
		as reflect.Type
	}
	seen := map[place]bool{}
	var look func(where string, v reflect.Value)
	whole := func(where string, v reflect.Value) {
		at := place{v.UnsafeAddr(), v.Type()}
		if !seen[at] {
			seen[at] = true
			show(where, unsafe.Slice((*byte)(unsafe.Pointer(v.UnsafeAddr())), v.Type().Size()))
			look(where, v)
		}
	}
	look = func(where string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				look(where+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Array:
			for i := 0; v.Type().Elem().Kind() > reflect.Complex128 && i < v.Len(); i++ {
				look(where+"[]", v.Index(i))
			}
		case reflect.Slice:
			if v.Cap() > 0 {
				whole(where, reflect.NewAt(reflect.ArrayOf(v.Cap(), v.Type().Elem()), v.UnsafePointer()).Elem())
			}
		case reflect.Pointer:
			switch v.Type() {
			case reflect.TypeFor[*table](), reflect.TypeFor[*client](), reflect.TypeFor[*key](), reflect.TypeFor[*exchange](), reflect.TypeFor[*digest.Key]():
				return
			}
			if !v.IsNil() {
				whole(where, v.Elem())
			}
		case reflect.String:
			show(where, []byte(v.String()))
		case reflect.Map:
			for at := v.MapRange(); at.Next(); {
				look(where, at.Key())
				look(where, at.Value())
			}
		}
	}
	whole("", v)
}
