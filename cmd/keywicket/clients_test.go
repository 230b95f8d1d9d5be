package main_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"layeh.com/radius/rfc2759"
)

// These tests have devices and programs of others ask the real daemon. Most of
// them sign nothing, so that their client has require_message_authenticator =
// false.

// need skips, or in CI fails, where a file of a Debian package is missing.
func need(t testing.TB, file, from string) {
	t.Helper()
	if found, err := filepath.Glob(file); err == nil && len(found) > 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: apt-get install %s", file, from)
	}
	t.Skipf("%s is missing: apt-get install %s", file, from)
}

// output runs a program to its end, with stdin, and returns what it prints and
// its exit code.
func output(t testing.TB, stdin string, change func(*exec.Cmd), name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Stdin = strings.NewReader(stdin)
	if change != nil {
		change(c)
	}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out), c.ProcessState.ExitCode()
}

// port returns the port of the running daemon.
func (s *site) port() string {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.radius)
	must(s.t, err)
	return port
}

func TestRealClients(t *testing.T) {
	needRadclient(t)
	s := newChallengeSite(t)
	// squid's helper makes its Request Authenticators of the time in seconds, so
	// that two that start together look like a recording.
	s.edit("[radius.client.vpn1]", "[radius.client.vpn1]\nrequire_message_authenticator = false\nallow_repeated_authenticator = true")
	s.start()
	s.enroll("alain")
	p := s.create("alain", "Laptop", "--profile", "vpn").Password
	for _, c := range []struct {
		name string
		try  func(t *testing.T, s *site, password string) bool // says whether it was let in
	}{
		{"squid", trySquid}, {"pam_radius", tryPAMRadius}, {"Authen::Radius", tryAuthenRadius}, {"pyrad", tryPyrad}, {"PostgreSQL", tryPostgreSQL(s)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.try(t, s, p) {
				t.Errorf("the right password was refused\n%s", s.run("", "why", "alain"))
			}
			if last := s.why("alain")[0]; last.Reason != "" || last.Method != "cleartext" || last.Service != "radius/vpn1" {
				t.Errorf("it shows as %+v", last)
			}
			if c.try(t, s, "wrong") {
				t.Error("a wrong password was let in")
			}
			if last := s.why("alain")[0]; last.Reason != "wrong" {
				t.Errorf("it shows as %+v", last)
			}
		})
	}
}

// trySquid asks as the proxy does: a line in, OK or ERR out.
func trySquid(t *testing.T, s *site, password string) bool {
	const helper = "/usr/lib/squid/basic_radius_auth"
	need(t, helper, "squid")
	config := filepath.Join(t.TempDir(), "radius.conf")
	writeFile(t, config, "server 127.0.0.1\nport "+s.port()+"\nsecret "+s.secret("vpn1")+"\n")
	out, _ := output(t, "alain "+password+"\n", nil, helper, "-f", config)
	if out = strings.TrimSpace(out); out != "OK" && !strings.HasPrefix(out, "ERR") {
		t.Fatal(out)
	}
	return out == "OK"
}

// tryPAMRadius signs in through a PAM stack of its own.
func tryPAMRadius(t *testing.T, s *site, password string) bool {
	need(t, "/lib/*/security/pam_radius_auth.so", "libpam-radius-auth")
	need(t, "/usr/bin/pamtester", "pamtester")
	need(t, "/usr/lib/*/libpam_wrapper.so", "libpam-wrapper")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "server"), "127.0.0.1:"+s.port()+" "+s.secret("vpn1")+" 10\n")
	writeFile(t, filepath.Join(dir, "vpn"), "auth required pam_radius_auth.so conf="+filepath.Join(dir, "server")+" retry=0\n")
	out, code := output(t, password+"\n", func(c *exec.Cmd) {
		c.Env = append(os.Environ(), "LD_PRELOAD=libpam_wrapper.so", "PAM_WRAPPER=1", "PAM_WRAPPER_SERVICE_DIR="+dir)
	}, "pamtester", "vpn", "alain", "authenticate")
	if (code == 0) != strings.Contains(out, "successfully authenticated") {
		t.Fatalf("%d: %s", code, out)
	}
	return code == 0
}

// tryAuthenRadius asks with Perl's library.
func tryAuthenRadius(t *testing.T, s *site, password string) bool {
	need(t, "/usr/share/perl5/Authen/Radius.pm", "libauthen-radius-perl")
	out, _ := output(t, password+"\n", nil, "perl", "-MAuthen::Radius", "-e",
		`my ($host, $secret) = @ARGV; chomp(my $p = <STDIN>); my $r = Authen::Radius->new(Host => $host, Secret => $secret, TimeOut => 20);
		print $r->check_pwd("alain", $p) ? "yes" : "no: " . $r->get_error`, s.radius, s.secret("vpn1"))
	if out != "yes" && !strings.HasPrefix(out, "no: ENONE") {
		t.Fatal(out)
	}
	return out == "yes"
}

// tryPyrad asks with Python's library.
func tryPyrad(t *testing.T, s *site, password string) bool {
	need(t, "/usr/lib/python3/dist-packages/pyrad/client.py", "python3-pyrad")
	dictionary := filepath.Join(t.TempDir(), "dictionary")
	writeFile(t, dictionary, "ATTRIBUTE User-Name 1 string\nATTRIBUTE User-Password 2 string\n")
	out, _ := output(t, password+"\n", nil, "/usr/bin/python3", "-c", `
import sys
from pyrad.client import Client
from pyrad.dictionary import Dictionary
import pyrad.packet
port, secret, dictionary = sys.argv[1:]
c = Client(server="127.0.0.1", authport=int(port), secret=secret.encode(), dict=Dictionary(dictionary))
c.timeout = 20
r = c.CreateAuthPacket(code=pyrad.packet.AccessRequest, User_Name="alain")
r["User-Password"] = r.PwCrypt(sys.stdin.readline().rstrip("\n"))
print({pyrad.packet.AccessAccept: "yes", pyrad.packet.AccessReject: "no"}[c.SendPacket(r).code])
`, s.port(), s.secret("vpn1"), dictionary)
	if out = strings.TrimSpace(out); out != "yes" && out != "no" {
		t.Fatal(out)
	}
	return out == "yes"
}

// tryPostgreSQL signs in to a database that asks over RADIUS (pg_hba.conf).
func tryPostgreSQL(s *site) func(*testing.T, *site, string) bool {
	socket := ""
	return func(t *testing.T, s *site, password string) bool {
		need(t, "/usr/lib/postgresql/*/bin/postgres", "postgresql")
		need(t, "/usr/bin/psql", "postgresql-client-common")
		if socket == "" {
			socket = startPostgreSQL(t, s)
		}
		out, code := output(t, "", func(c *exec.Cmd) { c.Env = append(os.Environ(), "PGPASSWORD="+password) },
			"psql", "-h", socket, "-U", "alain", "-d", "postgres", "-Atc", "select current_user")
		if (code == 0) != (out == "alain\n") || code != 0 && !strings.Contains(out, "RADIUS authentication failed") {
			t.Fatalf("%d: %s", code, out)
		}
		return code == 0
	}
}

// startPostgreSQL makes a database that asks s, and returns the folder of its
// socket. PostgreSQL does not run as root.
func startPostgreSQL(t *testing.T, s *site) string {
	needRoot(t)
	bin, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	must(t, err)
	dir := shortDir(s.t)
	data := filepath.Join(dir, "data")

	var ids [2]int
	for i, flag := range []string{"-u", "-g"} {
		out, _ := output(t, "", nil, "id", flag, "postgres")
		_, err := fmt.Sscan(out, &ids[i])
		must(t, err)
	}
	must(t, os.Chown(dir, ids[0], ids[1]))
	as := func(c *exec.Cmd) {
		c.Dir = dir
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(ids[0]), Gid: uint32(ids[1])}}
	}

	if out, code := output(t, "", as, filepath.Join(bin[0], "initdb"), "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D", data); code != 0 {
		t.Fatal(out)
	}
	if out, code := output(t, "create role alain login\n", as, filepath.Join(bin[0], "postgres"), "--single", "-D", data, "postgres"); code != 0 {
		t.Fatal(out)
	}
	must(t, os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(fmt.Sprintf("local all all radius radiusservers=\"127.0.0.1\" radiusports=\"%s\" radiussecrets=\"%s\"\n", s.port(), s.secret("vpn1"))), 0o600))
	c := exec.Command(filepath.Join(bin[0], "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "dynamic_shared_memory_type=mmap")
	as(c)
	log, err := os.Create(filepath.Join(dir, "log"))
	must(t, err)
	defer log.Close()
	c.Stderr = log
	p := start(s.t, c)
	until(t, "PostgreSQL listens", func() bool {
		if p.hasEnded() {
			t.Fatal(readFile(t, log.Name()))
		}
		_, code := output(t, "", nil, "pg_isready", "-h", dir)
		return code == 0
	})
	return dir
}

// radclient by every method and Status-Server; of MS-CHAPv2 it knows only the
// attributes, so that the response comes from somebody else's code.
func TestRadclientMethods(t *testing.T) {
	s := newChallengeSite(t)
	s.start()
	s.enroll(alain)
	p := s.create(alain, "Laptop", "--profile", "vpn").Password
	s.expect(accept, alain, p)
	for _, chap := range []string{"", "CHAP-Challenge = 0x0123456789abcdef"} {
		attributes := []string{userName(alain), `CHAP-Password = "` + p + `"`}
		if chap != "" {
			attributes = append(attributes, chap)
		}
		if a := s.radclient(attributes...); a.code != accept {
			t.Errorf("CHAP: %s", a.text)
		}
	}
	mschap := func(password string) (answer, string) {
		t.Helper()
		challenge, peer := []byte("0123456789abcdef"), []byte("fedcba9876543210")
		response, err := rfc2759.GenerateNTResponse(challenge, peer, []byte(alain), []byte(password))
		must(t, err)
		success, err := rfc2759.GenerateAuthenticatorResponse(challenge, peer, response, []byte(alain), []byte(password))
		must(t, err)
		value := append(append(append([]byte{7, 0}, peer...), make([]byte, 8)...), response...)
		return s.radclient(userName(alain), "MS-CHAP-Challenge = 0x"+hex.EncodeToString(challenge), "MS-CHAP2-Response = 0x"+hex.EncodeToString(value)),
			fmt.Sprintf("MS-CHAP2-Success = 0x07%x", success)
	}
	if a, success := mschap(p); a.code != accept || !a.has(success) || !strings.Contains(a.text, "MS-MPPE-Recv-Key = 0x") {
		t.Errorf("MS-CHAPv2, want %s:\n%s", success, a.text)
	}
	if a, _ := mschap("wrong"); a.code != reject || !a.has(`MS-CHAP-Error = "\007E=691 R=0"`) {
		t.Errorf("MS-CHAPv2, wrong:\n%s", a.text)
	}
	if out, _ := output(t, "Message-Authenticator = 0x00\n", nil, "radclient", "-x", "-r", "1", "-t", "60", "-S", s.path("vpn1.secret"), s.radius, "status"); !strings.Contains(out, accept) {
		t.Errorf("Status-Server: %s", out)
	}
}

// freeradiusProxy is FreeRADIUS with nothing but a proxy: %s are the folder, the
// port to listen on, the secrets of its client and of ours, and our port.
const freeradiusProxy = `
prefix = /usr
raddbdir = %[1]s
logdir = %[1]s
run_dir = %[1]s
db_dir = %[1]s
libdir = /usr/lib/freeradius
pidfile = %[1]s/pid
max_request_time = 30
cleanup_delay = 5
max_requests = 1024
thread pool {
	start_servers = 1
	max_servers = 2
	min_spare_servers = 1
	max_spare_servers = 2
	max_requests_per_server = 0
}
client localhost {
	ipaddr = 127.0.0.1
	secret = %[3]s
	require_message_authenticator = no
}
proxy server {
	default_fallback = no
}
home_server keywicket {
	type = auth
	ipaddr = 127.0.0.1
	port = %[5]s
	secret = %[4]s
	response_window = 20
	zombie_period = 40
	status_check = status-server
	check_interval = 6
}
home_server_pool keywicket {
	type = fail-over
	home_server = keywicket
}
realm keywicket {
	auth_pool = keywicket
	nostrip
}
modules {
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = %[2]s
	}
	authorize {
		update control {
			&Proxy-To-Realm := "keywicket"
		}
	}
}
`

// FreeRADIUS in front, as a proxy: it passes on what comes, with a Proxy-State
// and a Message-Authenticator of its own.
func TestFreeRADIUSInFront(t *testing.T) {
	needRadclient(t)
	need(t, "/usr/sbin/freeradius", "freeradius")
	s := newChallengeSite(t)
	s.start()
	s.enroll(alain)
	p := s.create(alain, "Laptop", "--profile", "vpn").Password
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	_, port, err := net.SplitHostPort(l.LocalAddr().String())
	must(t, err)
	must(t, l.Close())
	dir := shortDir(t)
	const secret = "the secret of the device at the proxy"
	writeFile(t, filepath.Join(dir, "radiusd.conf"), fmt.Sprintf(freeradiusProxy, dir, port, `"`+secret+`"`, s.secret("vpn1"), s.port()))
	writeFile(t, filepath.Join(dir, "dictionary"), "$INCLUDE /usr/share/freeradius/dictionary\n")
	log, err := os.Create(filepath.Join(dir, "log"))
	must(t, err)
	defer log.Close()
	said := func() string { return readFile(t, log.Name()) }
	c := exec.Command("/usr/sbin/freeradius", "-f", "-X", "-d", dir)
	c.Stdout, c.Stderr = log, log
	proxy := start(t, c)
	writeFile(t, filepath.Join(dir, "secret"), secret)
	ask := func(attributes string) string {
		t.Helper()
		out, _ := output(t, attributes+", Message-Authenticator = 0x00\n", nil, "radclient", "-x", "-r", "3", "-t", "20", "-S", filepath.Join(dir, "secret"), "127.0.0.1:"+port, "auth")
		return out
	}
	until(t, "the proxy listens", func() bool {
		if proxy.hasEnded() {
			t.Fatal(said())
		}
		return strings.Contains(said(), "Ready to process requests")
	})
	for _, tt := range []struct{ attributes, want string }{
		{userName(alain) + ", " + userPassword(p), accept},
		{userName(alain) + ", " + userPassword("wrong"), reject},
		{userName(alain) + `, CHAP-Password = "` + p + `"`, accept},
		{userName(alain) + ", " + userPassword(p) + ", Proxy-State = 0x0102", accept},
	} {
		if out := ask(tt.attributes); !strings.Contains(out, "Received "+tt.want) {
			t.Errorf("%s, want %s:\n%s\n%s", tt.attributes, tt.want, out, s.run("", "why", alain))
		}
	}
	_ = proxy.cmd.Process.Kill()
	<-proxy.ended
	if text := said(); !strings.Contains(text, "Proxy-State = ") || strings.Contains(text, "invalid Message-Authenticator") || strings.Contains(text, "invalid signature") {
		t.Errorf("the proxy says\n%s", text)
	}
}
