package pam

import (
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dialAs connects as another user: a thread becomes that one, for good, and
// ends.
func (f *fixture) dialAs(uid int) *net.UnixConn {
	f.t.Helper()
	type dialed struct {
		fd  int
		err error
	}
	done := make(chan dialed, 1)
	go func() {
		runtime.LockOSThread() // and no unlock: nobody else is to have this thread
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- dialed{-1, errno}
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: f.path})
		}
		done <- dialed{fd, err}
	}()
	d := <-done
	must(f.t, d.err)
	file := os.NewFile(uintptr(d.fd), "socket")
	defer file.Close()
	conn, err := net.FileConn(file)
	must(f.t, err)
	f.t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UnixConn)
}

// askAs asks as another user; 0 is no answer.
func (f *fixture) askAs(uid int, r Request) Verdict {
	f.t.Helper()
	conn := f.dialAs(uid)
	if _, err := conn.Write(r.appendTo(nil)); err != nil && !strings.Contains(err.Error(), "broken pipe") {
		f.t.Fatal(err)
	}
	v, err := parseReply(f.rest(conn), &r)
	if err != nil {
		return 0
	}
	return v
}

// A testClock goes when it is told to.
type testClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *testClock) get() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *testClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Everybody but root may ask for the account of his own name alone.
func TestOwnAccount(t *testing.T) {
	needRoot(t)
	now := &testClock{at: time.Now()}
	f := newFixture(t, func(o *Options) { o.Now = now.get })
	own, other := f.add(alain, ""), f.add("beate", "")
	for name, tt := range map[string]struct {
		uid  int
		r    Request
		want Verdict
	}{
		"his own":                          {1000, sshd(alain, own), Allow},
		"his own, written otherwise":       {1000, sshd("ALAIN", own), Allow},
		"his own, wrong":                   {1000, sshd(alain, other), Deny},
		"another's, with the right text":   {1000, sshd("beate", other), Deny},
		"root's":                           {1000, sshd("root", other), Deny},
		"his own account":                  {1000, account(alain), Allow},
		"another's account":                {1000, account("beate"), Deny},
		"who has no entry in /etc/passwd":  {4242, sshd(alain, own), 0},
		"the same, about an account":       {4242, account(alain), 0},
		"a user who is not listed":         {33, sshd(alain, own), Deny},
		"the uid that stands for no user":  {65534, sshd(alain, own), Deny},
		"nobody, about the account nobody": {65534, account("nobody"), Unknown},
	} {
		now.pass(ownPer + 1)
		if got := f.askAs(tt.uid, tt.r); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	if n := len(f.attempts("beate")); n != 0 {
		t.Errorf("%d tries at another's account got to the engine", n)
	}
	if out := f.log.String(); !strings.Contains(out, `for another's account`) || !strings.Contains(out, "uid 1000") || !strings.Contains(out, "why=stranger") {
		t.Errorf("the log does not tell:\n%s", out)
	}
	if f.Counters().Closed["stranger"] != 2 {
		t.Errorf("%v", f.Counters())
	}

	// Listed users ask for anybody, from the next connection on.
	f.Reload(Rules{Services: []string{"sshd"}, Users: []string{"www-data", "mallory"}, MinUID: 1000})
	if got := f.askAs(33, sshd("beate", other)); got != Allow {
		t.Errorf("a listed user: %v", got)
	}
	if got := f.askAs(1000, sshd("beate", other)); got != Deny {
		t.Errorf("one who is not listed: %v", got)
	}
	f.Reload(Rules{Services: []string{"sshd"}, MinUID: 1000})
	if got := f.askAs(33, sshd("beate", other)); got != Deny {
		t.Errorf("one who was listed: %v", got)
	}
}

// Five tries a minute, however they end; then none is looked at, and root's are.
func TestOwnTries(t *testing.T) {
	needRoot(t)
	now := &testClock{at: time.Now()}
	f := newFixture(t, func(o *Options) { o.Now = now.get })
	text := f.add(alain, "")
	for i := range ownTries {
		now.pass(time.Second)
		if got := f.askAs(1000, sshd(alain, text)); got != Allow {
			t.Errorf("try %d: %v", i+1, got)
		}
	}
	if got := f.askAs(1000, sshd(alain, text)); got != Deny {
		t.Errorf("one too many: %v", got)
	}
	if got := f.askAs(1000, account(alain)); got != Allow {
		t.Errorf("about the account: %v", got)
	}
	f.want(Allow, sshd(alain, text))
	now.pass(ownPer - 4*time.Second)
	if got := f.askAs(1000, sshd(alain, text)); got != Allow {
		t.Errorf("when the first is a minute old: %v", got)
	}
	if got := f.askAs(1000, sshd(alain, text)); got != Deny {
		t.Errorf("and then: %v", got)
	}
	if n := len(f.attempts(alain)); n != ownTries+2 {
		t.Errorf("%d attempts got to the engine", n)
	}
}

// One user's connections leave room for everybody else's.
func TestOwnConnections(t *testing.T) {
	needRoot(t)
	f := newFixture(t, func(o *Options) { o.patience = time.Hour })
	text := f.add(alain, "")
	var open []*net.UnixConn
	for range maxOwnAtOnce {
		open = append(open, f.dialAs(1000))
	}
	if got := f.askAs(1000, sshd(alain, text)); got != 0 || f.Counters().Closed["too-many"] != 1 {
		t.Errorf("one too many: %v, %v", got, f.Counters())
	}
	f.want(Allow, sshd(alain, text))
	must(t, open[0].Close())
	until(t, "there is room again", func() bool { return f.askAs(1000, account(alain)) == Allow })
}

// The memory of who tried is bounded, and forgets nobody who still counts.
func TestLimiter(t *testing.T) {
	now := time.Now()
	l := newLimiter(func() time.Time { return now })
	for uid := range uint32(maxTriers) {
		if !l.try(uid) {
			t.Fatalf("user %d", uid)
		}
	}
	if l.try(maxTriers) {
		t.Error("one too many is remembered")
	}
	if !l.try(7) {
		t.Error("one who is remembered is refused")
	}
	now = now.Add(ownPer)
	if !l.try(maxTriers) || len(l.tries) > 2 {
		t.Errorf("after a minute: %d are remembered", len(l.tries))
	}
}
