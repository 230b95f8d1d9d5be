package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"maps"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
	"github.com/keywicket/keywicket/plugins/sdk"
)

// A server speaks SMTP, as much of it as a client that sends needs.
type server struct {
	config   *tls.Config
	starttls bool   // offers it
	implicit bool   // begins with TLS
	refuse   string // the command that is refused

	address string
	mu      sync.Mutex
	said    []string // by clients, "TLS " before what was encrypted
	mails   []string
}

func (s *server) start(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s.address = l.Addr().String()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *server) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	secure := s.implicit
	if secure {
		conn = tls.Server(conn, s.config)
	}
	r := bufio.NewReader(conn)
	say := func(lines ...string) { _, _ = io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n") }
	say("220 test ESMTP")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.note(secure, line)
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch {
		case verb == s.refuse:
			say("550 5.7.1 not here")
		case verb == "EHLO":
			all := []string{"250-test", "250-AUTH PLAIN"}
			if s.starttls && !secure {
				all = append(all, "250-STARTTLS")
			}
			say(append(all, "250 8BITMIME")...)
		case verb == "STARTTLS":
			say("220 go on")
			conn, secure = tls.Server(conn, s.config), true
			r = bufio.NewReader(conn)
		case verb == "AUTH":
			say("235 welcome")
		case verb == "DATA":
			say("354 go on")
			s.data(r)
			say("250 taken")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}

func (s *server) note(secure bool, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if secure {
		line = "TLS " + line
	}
	s.said = append(s.said, line)
}

// data takes a mail, up to the line with a dot.
func (s *server) data(r *bufio.Reader) {
	text := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == ".\r\n" {
			break
		}
		text += strings.TrimPrefix(line, ".")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, text)
}

// mailer is the plugin with settings for s.
func (s *server) mailer(t *testing.T, settings sdk.Settings) *mailer {
	t.Helper()
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	settings = maps.Clone(settings)
	settings["host"], settings["port"], settings["from"] = host, int64(n), "keywicket@contoso.com"
	m := &mailer{}
	if err := m.Configure(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	return m
}

func (s *server) seen() (said, mails []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said), slices.Clone(s.mails)
}

func notice(to string) sdk.Notice {
	return sdk.Notice{
		ID: "n1", Kind: sdk.NoticeFirstUse, Time: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), Account: "alain", Attributes: map[string]string{"mail": to},
		AppPassword: sdk.AppPassword{ID: "1", Name: "TV\r\nBcc: eve@contoso.com"}, Service: "radius/vpn1", Text: "It was used.\n.\nRSET",
	}
}

// TestMail sends through a server that is there, in each way that can be set.
func TestMail(t *testing.T) {
	certs := etcdtest.NewTLS(t)
	t.Setenv("SSL_CERT_FILE", certs.CA) // read once, by the first who looks
	pair, err := tls.LoadX509KeyPair(certs.ServerCert, certs.ServerKey)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	account := sdk.Settings{"username": "kw", "password_file": file}
	for name, c := range map[string]struct {
		server   *server
		settings sdk.Settings
		sent     bool
	}{
		"starttls":       {&server{starttls: true}, account, true},
		"tls":            {&server{implicit: true}, sdk.Settings{"tls": "tls", "username": "kw", "password_file": file}, true},
		"none":           {&server{}, sdk.Settings{"tls": "none"}, true},
		"no TLS there":   {&server{}, account, false},
		"none to hide":   {&server{}, sdk.Settings{}, false},
		"wrong password": {&server{starttls: true, refuse: "AUTH"}, account, false},
		"no such user":   {&server{starttls: true, refuse: "RCPT"}, account, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.server
			s.config = config
			err := s.start(t).mailer(t, c.settings).Notify(t.Context(), notice("alain@contoso.com"))
			said, mails := s.seen()
			all := strings.Join(said, "\n")
			if (err == nil) != c.sent || (len(mails) == 1) != c.sent {
				t.Fatalf("%v, and %d mails were sent:\n%s", err, len(mails), all)
			}
			secret := base64.StdEncoding.EncodeToString([]byte("\x00kw\x00hunter2"))
			if c.sent && c.settings["username"] != nil && !strings.Contains(all, "TLS AUTH PLAIN "+secret) {
				t.Errorf("nobody signed in:\n%s", all)
			}
			if slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, secret) && !strings.HasPrefix(line, "TLS ") }) {
				t.Errorf("the password went without TLS:\n%s", all)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), secret)) {
				t.Errorf("the error has the password: %v", err)
			}
			if c.sent {
				arrived(t, all, mails[0])
			}
		})
	}
}

// arrived looks at a mail as its reader does.
func arrived(t *testing.T, said, text string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for key, want := range map[string]string{
		"To": "<alain@contoso.com>", "From": "<keywicket@contoso.com>", "Subject": "An app password was used for the first time",
		"Message-Id": "<n1@keywicket>", "Date": "Sun, 22 Nov 2026 09:00:00 +0000", "Bcc": "",
	} {
		if got := m.Header.Get(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	body, err := io.ReadAll(m.Body)
	for _, want := range []string{"It was used.\r\n.\r\nRSET\r\n", "Account: alain\r\n", "Where: radius/vpn1\r\n"} {
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%q is not in the body, %v: %q", want, err, body)
		}
	}
	if strings.Count(said, "RCPT TO:") != 1 || !strings.Contains(said, "RCPT TO:<alain@contoso.com>") {
		t.Errorf("it goes to others:\n%s", said)
	}
}

// TestNobody: where the directory has no address, or none that could be one,
// nobody is told, and it is not tried again.
func TestNobody(t *testing.T) {
	s := (&server{}).start(t)
	m := s.mailer(t, sdk.Settings{"tls": "none"})
	for _, to := range []string{"", "alain", "alain@contoso.com\r\nBcc: eve@contoso.com", "alain@contoso.com, eve@contoso.com"} {
		if err := m.Notify(t.Context(), notice(to)); err != nil {
			t.Errorf("%q: %v", to, err)
		}
	}
	if said, _ := s.seen(); len(said) > 0 {
		t.Errorf("the server was told %q", said)
	}
}

// TestDeaf: a server that takes the connection and says nothing holds nobody up.
func TestDeaf(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	m := (&server{address: l.Addr().String()}).mailer(t, sdk.Settings{"tls": "none"})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := m.Notify(ctx, notice("alain@contoso.com")); err == nil {
		t.Error("it was delivered")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestSettings: what cannot work is an error that names the setting.
func TestSettings(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]sdk.Settings{
		"set both":      {"host": "localhost", "from": "a@b.example", "username": "kw"},
		"or none":       {"host": "localhost", "from": "a@b.example", "password_file": "/etc/passwd"},
		"first line":    {"host": "localhost", "from": "a@b.example", "username": "kw", "password_file": empty},
		"from":          {"host": "localhost", "from": "nobody"},
		"tls":           {"host": "localhost", "from": "a@b.example", "tls": "maybe"},
		"password_file": {"host": "localhost", "from": "a@b.example", "username": "kw", "password_file": "/nonexistent/password"},
		"server":        {"host": "localhost", "from": "a@b.example", "server": "x"},
	} {
		if err := new(mailer).Configure(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
