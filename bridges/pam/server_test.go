package pam

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

const alain = "alain"

// Root asks for anybody, and the answers are the engine's.
func TestAuthenticate(t *testing.T) {
	needRoot(t)
	f := newFixture(t, nil)
	text := f.add(alain, "")
	f.want(Allow, sshd(alain, text))
	f.want(Allow, sshd("ALAIN", strings.ToUpper(text[:4])+"-"+text[4:])) // the same account, the same text
	if got := f.attempts(alain)[0]; got.Service != "pam/sshd" || got.Source != "192.0.2.7" || got.Device != "192.0.2.7" || got.Method != proof.MethodCleartext || got.Reason != "" || got.AppPassword.Name != "x" {
		t.Errorf("recorded as %+v", got)
	}
	for _, wrong := range []string{"kfmwtbrqhjaxpdnesgcy", "x", "correct horse battery", text + " no", strings.Repeat("y", 512)} {
		f.want(Deny, sshd(alain, wrong))
	}
	f.want(Deny, sshd("beate", text))
	f.want(Deny, sshd("\xff\xfe", text))
	must(t, f.engine.SetEnabled(t.Context(), alain, false))
	f.want(Deny, sshd(alain, text))
	if got := f.attempts(alain)[0].Reason; got != core.ReasonAccountDisabled {
		t.Errorf("refused as %s", got)
	}
	if out := f.log.String(); strings.Contains(out, text) || strings.Contains(out, "correct horse") {
		t.Errorf("the log has a secret:\n%s", out)
	}
	if c := f.Counters(); c.Answers["allow"] != 2 || c.Answers["deny"] != 8 {
		t.Errorf("counted %v", c)
	}
}

// An account question is answered without a password.
func TestAccount(t *testing.T) {
	needRoot(t)
	f := newFixture(t, nil)
	f.add(alain, "")
	f.want(Allow, account(alain))
	f.want(Unknown, account("beate"))
	f.want(Unknown, account("\xff"))
	f.want(Unknown, account("daemon"))
	must(t, f.engine.SetEnabled(t.Context(), alain, false))
	f.want(Deny, account(alain))
	r := account(alain)
	r.Service = "su"
	f.want(Deny, r)
	if n := len(f.attempts(alain)); n != 0 {
		t.Errorf("%d questions are recorded as attempts", n)
	}
}

// What is not listed is denied, recorded, and explained; a reload changes it.
func TestServices(t *testing.T) {
	needRoot(t)
	f := newFixture(t, func(o *Options) { o.Rules.Services = nil })
	text := f.add(alain, "")
	f.want(Deny, sshd(alain, text))
	got := f.attempts(alain)[0]
	if got.Reason != core.ReasonOutOfScope || got.Service != "pam/sshd" || got.AppPassword.ID != "" || !strings.Contains(got.Sentence(), "[pam] services") {
		t.Errorf("recorded as %+v: %s", got, got.Sentence())
	}
	f.Reload(Rules{Services: []string{"dovecot", "sshd"}})
	f.want(Allow, sshd(alain, text))
	f.Reload(Rules{Services: []string{"dovecot"}})
	f.want(Deny, sshd(alain, text))
	r := sshd(alain, text)
	r.Service = "ev\x1bil\xff"
	f.want(Deny, r)
	if got := f.attempts(alain)[0].Service; got != "pam/ev\uFFFDil\uFFFD" {
		t.Errorf("recorded as %q", got)
	}
}

// System users of this host are denied, whatever the module let through.
func TestSystemUsers(t *testing.T) {
	needRoot(t)
	f := newFixture(t, nil)
	for _, name := range []string{"root", "daemon", "www-data"} {
		text := f.add(name, "")
		f.want(Deny, sshd(name, text))
		f.want(Deny, sshd(strings.ToUpper(name), text))
		if got := f.attempts(name)[0].Reason; got != core.ReasonAppPasswordsDenied {
			t.Errorf("%s: refused as %s", name, got)
		}
	}
	f.Reload(Rules{Services: []string{"sshd"}, MinUID: 33})
	f.want(Allow, account("www-data"))
	f.want(Unknown, account("daemon"))
	f.want(Unknown, account("root"))
	// Users come and go while the server runs.
	text := f.add("carl", "")
	f.want(Allow, sshd("carl", text))
	now := f.opt.Passwd + ".new"
	must(t, os.WriteFile(now, []byte("carl:x:32:32:::\n"), 0o600))
	must(t, os.Rename(now, f.opt.Passwd))
	f.want(Deny, sshd("carl", text))
	must(t, os.Remove(f.opt.Passwd))
	f.want(Allow, sshd("carl", text))
}

// The remote host is the device of a pin, however it is written.
func TestRemote(t *testing.T) {
	for rhost, want := range map[string][2]string{
		"192.0.2.7": {"192.0.2.7", "192.0.2.7"}, "::ffff:192.0.2.7": {"192.0.2.7", "192.0.2.7"},
		"2001:DB8:0::1": {"2001:db8::1", "2001:db8::1"}, "fe80::1%eth0": {"fe80::1", "fe80::1"},
		"Host.Example.": {"", "host.example"}, "": {"", ""}, "a\nb\xff": {"", "a\uFFFDb\uFFFD"}, "192.0.2.300": {"", "192.0.2.300"},
	} {
		source, device := remote(rhost)
		text := ""
		if source.IsValid() {
			text = source.String()
		}
		if text != want[0] || device != want[1] {
			t.Errorf("%q: source %q, device %q; want %q", rhost, text, device, want)
		}
	}
	needRoot(t)
	f := newFixture(t, nil)
	text := f.add(alain, "pinned")
	from := func(rhost string) Request {
		r := sshd(alain, text)
		r.RHost = rhost
		return r
	}
	f.want(Allow, from("2001:db8::1"))
	f.want(Allow, from("2001:DB8:0:0::1"))
	f.want(Deny, from("2001:db8::2"))
	f.want(Deny, from(""))
	if got := f.attempts(alain)[0].Reason; got != core.ReasonPinMismatch {
		t.Errorf("refused as %s", got)
	}
}

// What sshd presents for somebody whom it lets in under no condition is no try
// at his main password: the right one still works after any number of it.
func TestJunk(t *testing.T) {
	needRoot(t)
	f := newFixture(t, func(o *Options) {
		o.Engine = newEngine(t, func(p *core.Policy) { p.MainPassword = core.MainWithoutTwoStep })
	})
	f.engine = f.opt.Engine.(*core.Engine)
	f.add(alain, "")
	const junk = "\b\n\r\x7fINCORRECT"
	long := strings.Repeat(junk, 6)
	for i := range 50 {
		f.want(Deny, sshd(alain, long[:1+i]))
	}
	f.want(Allow, sshd(alain, "correct horse battery"))
	for i := range 50 {
		if i < 10 {
			f.want(Deny, sshd(alain, "wrong horse"))
		}
	}
	f.want(Deny, sshd(alain, "correct horse battery")) // so real tries are what counts
}

// A panic ends one connection.
func TestPanic(t *testing.T) {
	needRoot(t)
	f := newFixture(t, func(o *Options) { o.Engine = nil })
	if v, err := f.ask(sshd(alain, "x")); err == nil {
		t.Errorf("answered %v", v)
	}
	if f.Counters().Closed["fault"] != 1 {
		t.Errorf("%v", f.Counters())
	}
}

// Malformed octets get no answer, whatever they are, and cost nobody else.
func TestMalformedConnection(t *testing.T) {
	needRoot(t)
	f := newFixture(t, nil)
	text := f.add(alain, "")
	r := sshd(alain, text)
	good := r.appendTo(nil)
	for n := range good {
		if got := f.raw(good[:n]); len(got) != 0 {
			t.Errorf("cut after %d octets: answered %x", n, got)
		}
	}
	nul := bytes.Clone(good)
	nul[len(nul)-1] = 0
	for name, octets := range map[string][]byte{"a NUL": nul, "oversize": bytes.Repeat([]byte{0xff}, 8192), "HTTP": []byte("GET / HTTP/1.1\r\n\r\n")} {
		if got := f.raw(octets); len(got) != 0 {
			t.Errorf("%s: answered %x", name, got)
		}
	}
	if got := f.raw(append(good, "and more"...)); len(got) != 4+replySize {
		t.Errorf("what follows a request is not read: answered %x", got)
	}
	if n := len(f.attempts(alain)); n != 1 {
		t.Errorf("%d attempts, want the whole one", n)
	}
	f.want(Allow, sshd(alain, text))
}

// An octet now and then keeps a connection for as long as the whole request has
// time, and no longer; meanwhile others are served.
func TestDribble(t *testing.T) {
	needRoot(t)
	f := newFixture(t, nil)
	text := f.add(alain, "")
	conn := f.dial()
	r := sshd(alain, text)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for _, b := range r.appendTo(nil) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(readTimeout / 20) // of 60 octets
		}
		t.Error("the whole request was taken")
	}()
	f.want(Allow, sshd(alain, text))
	if got := f.rest(conn); len(got) != 0 {
		t.Errorf("answered %x", got)
	}
	<-gone
	if f.Counters().Closed["late"] != 1 {
		t.Errorf("%v", f.Counters())
	}
}

// A thousand who say nothing leave no room, and one less leave room for one.
func TestManyConnections(t *testing.T) {
	needRoot(t)
	f := newFixture(t, func(o *Options) { o.patience = time.Hour })
	text := f.add(alain, "")
	for range maxConnections - 1 {
		f.dial()
	}
	f.want(Allow, sshd(alain, text))
	until(t, "there is room for one more", func() bool { return f.open() == maxConnections-1 })
	last := f.dial()
	until(t, "all are served", func() bool { return f.open() == maxConnections })
	if v, err := f.ask(sshd(alain, text)); err == nil {
		t.Errorf("one too many was answered %v", v)
	}
	if n := f.Counters().Closed["too-many"]; n != 1 {
		t.Errorf("%d were too many", n)
	}
	must(t, last.Close())
	until(t, "one is gone", func() bool { return f.open() < maxConnections })
	f.want(Allow, sshd(alain, text))
}

// Whoever says nothing is gone when his time is over.
func TestSilence(t *testing.T) {
	needRoot(t)
	f := newFixture(t, nil)
	f.rest(f.dial())
	if n := f.Counters().Closed["late"]; n != 1 {
		t.Errorf("%v", f.Counters())
	}
}

// Those who come while others are decided are decided too.
func TestSlowEngine(t *testing.T) {
	needRoot(t)
	const many = 200
	e := &fakeEngine{entered: make(chan struct{}, many), release: make(chan struct{})}
	f := newFixture(t, func(o *Options) { o.Engine = e })
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			if v, err := f.ask(sshd(alain, "x")); v != Allow && v != Unavailable || err != nil {
				t.Errorf("%v, %v", v, err)
			}
		})
	}
	for range many {
		<-e.entered
	}
	close(e.release)
	all.Wait()
	f.Close()
	for _, a := range e.seen {
		if p := a.Proof.(proof.Cleartext); !bytes.Equal(p, []byte{0}) {
			t.Fatalf("a password is still there: %x", []byte(p))
		}
	}
}

// An engine that does not answer is an inability.
func TestUnavailable(t *testing.T) {
	needRoot(t)
	f := newFixture(t, func(o *Options) { o.Engine = &fakeEngine{release: make(chan struct{})} })
	f.want(Unavailable, sshd(alain, "x"))
	f = newFixture(t, func(o *Options) { o.Engine = &fakeEngine{err: errors.New("on fire")} })
	f.want(Unavailable, sshd(alain, "x"))
	f.want(Unavailable, account(alain))
}

// Ending answers who has asked, waits for nobody who has not, and takes the
// socket away.
func TestClose(t *testing.T) {
	needRoot(t)
	e := &fakeEngine{entered: make(chan struct{}, 1), release: make(chan struct{})}
	f := newFixture(t, func(o *Options) { o.Engine = e })
	answer := make(chan Verdict, 1)
	go func() {
		v, _ := f.ask(sshd(alain, "x"))
		answer <- v
	}()
	<-e.entered
	silent := f.dial()
	until(t, "both are served", func() bool { return f.open() == 2 })
	closed := make(chan struct{})
	go func() {
		f.Close()
		close(closed)
	}()
	f.rest(silent)
	close(e.release)
	if v := <-answer; v != Allow {
		t.Errorf("who had asked got %v", v)
	}
	<-closed
	if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket after Close: %v", err)
	}
}

// The socket is everybody's, in a folder that is not; one that the service
// manager made is served, and stays.
func TestListen(t *testing.T) {
	f := newFixture(t, nil)
	info, err := os.Lstat(f.path)
	must(t, err)
	if info.Mode().Perm() != 0o666 || f.Addr() != f.path {
		t.Errorf("mode %v, address %s", info.Mode(), f.Addr())
	}
	open := shortDir(t)
	must(t, os.Chmod(open, 0o777|fs.ModeSticky))
	if _, err := Listen(Options{Path: filepath.Join(open, "pam.sock")}); err == nil || !strings.Contains(err.Error(), "can be written by everybody") {
		t.Errorf("in a folder of everybody: %v", err)
	}

	given := filepath.Join(shortDir(t), "given.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: given, Net: "unix"})
	must(t, err)
	file, err := l.File()
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	again, err := net.FileListener(file)
	must(t, err)
	must(t, file.Close())
	s, err := Listen(Options{Path: "/nowhere/else", Listener: again.(*net.UnixListener), Engine: &fakeEngine{}, Log: f.opt.Log, Rules: Rules{Services: []string{"sshd"}}})
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context()) }()
	if v, err := Ask(t.Context(), given, sshd("zoe", "x")); os.Geteuid() == 0 && (v != Allow || err != nil) || s.Addr() != given {
		t.Errorf("%v, %v at %s", v, err, s.Addr())
	}
	s.Close()
	must(t, <-served)
	if _, err := os.Lstat(given); err != nil {
		t.Errorf("the service manager's socket is gone: %v", err)
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI runs the tests as root")
		}
		t.Skip("only root may ask for anybody")
	}
}
