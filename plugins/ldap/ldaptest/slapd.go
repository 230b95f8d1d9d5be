package ldaptest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
)

// BaseDN is where everything is.
const BaseDN = "dc=contoso,dc=com"

// Reader is who may read everything but passwords.
const Reader = "cn=reader," + BaseDN

// A Server is a slapd.
type Server struct {
	Plain    string // URLs: without TLS unless one starts it,
	Secured  string // and with
	CA       string // who signed its certificate
	Password string // file of the reader's

	t         testing.TB
	conf      string
	cmd       *exec.Cmd
	log       bytes.Buffer
	addresses []string
}

// base has what the conformance suite expects, and more.
const base = `dn: dc=contoso,dc=com
objectClass: domain
dc: contoso

dn: ou=people,dc=contoso,dc=com
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=contoso,dc=com
objectClass: organizationalUnit
ou: groups

dn: cn=reader,dc=contoso,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reader's
`

// Person is one entry, below ou=people; extra are more lines.
func Person(rdn, name, password string, extra ...string) string {
	text := "\ndn: " + rdn + ",ou=people,dc=contoso,dc=com\nobjectClass: inetOrgPerson\nobjectClass: adlike\nuid: " + name + "\ncn: Somebody\nsn: Body\n"
	if password != "" {
		text += "userPassword: " + password + "\n"
	}
	for _, line := range extra {
		text += line + "\n"
	}
	return text
}

// Group is one entry, below ou=groups; members are DNs without BaseDN.
func Group(name string, members ...string) string {
	text := "\ndn: cn=" + name + ",ou=groups,dc=contoso,dc=com\nobjectClass: groupOfNames\ncn: " + name + "\n"
	for _, m := range members {
		text += "member: " + m + ",dc=contoso,dc=com\n"
	}
	return text
}

// Start runs a server with entries, which ends with t.
func Start(t testing.TB, entries ...string) *Server {
	t.Helper()
	for _, program := range []string{"slapd", "slapadd"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("there is no %s: apt-get install slapd", program)
			}
			t.Skipf("there is no %s", program)
		}
	}
	dir := t.TempDir()
	certs := etcdtest.NewTLS(t)
	s := &Server{t: t, CA: certs.CA, conf: filepath.Join(dir, "slapd.conf"), Password: filepath.Join(dir, "password")}
	s.addresses = freeAddresses(t, 2)
	s.Plain, s.Secured = "ldap://"+s.addresses[0], "ldaps://"+s.addresses[1]
	s.write(s.Password, "reader's\n")
	s.write(s.conf, fmt.Sprintf(`
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
attributetype ( 1.3.6.1.4.1.55555.1 NAME 'userAccountControl' SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.55555.2 NAME 'accountExpires' SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.55555.3 NAME 'objectGUID' SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.55555.4 NAME 'adlike' SUP top AUXILIARY MAY ( userAccountControl $ accountExpires $ objectGUID ) )
pidfile %[1]s/pid
TLSCACertificateFile %[2]s
TLSCertificateFile %[3]s
TLSCertificateKeyFile %[4]s
database mdb
suffix "dc=contoso,dc=com"
rootdn "cn=root,dc=contoso,dc=com"
rootpw root's
directory %[1]s/data
maxsize 16777216
sizelimit size.soft=20 size.hard=20 size.pr=100 size.prtotal=unlimited
access to dn.subtree="ou=hidden,dc=contoso,dc=com" by * none
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=reader,dc=contoso,dc=com" read by * auth
`, dir, certs.CA, certs.ServerCert, certs.ServerKey))
	if err := os.Mkdir(dir+"/data", 0o700); err != nil {
		t.Fatal(err)
	}
	ldif := filepath.Join(dir, "entries.ldif")
	s.write(ldif, base+strings.Join(entries, ""))
	if out, err := exec.Command("slapadd", "-f", s.conf, "-l", ldif).CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v: %s", err, out)
	}
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

// freeAddresses returns addresses on loopback that nobody listens on.
func freeAddresses(t testing.TB, n int) (addresses []string) {
	t.Helper()
	for range n { // all are held until the last is known, so that they differ
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

func (s *Server) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Start starts it again, and returns when it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = exec.Command("slapd", "-f", s.conf, "-h", s.Plain+" "+s.Secured, "-d", "0")
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) { // between tries
		conn, err := net.Dial("tcp", s.addresses[1])
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(end) {
			s.Kill()
			s.t.Fatalf("slapd is not there: %s", s.log.String())
		}
	}
}

// Kill ends it the hard way.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may be gone
		_ = s.cmd.Wait()         // says that it was killed
		s.cmd = nil
	}
}

// Delete deletes the entry of a DN without BaseDN.
func (s *Server) Delete(dn string) {
	s.t.Helper()
	conn, err := ldap.DialURL(s.Plain)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := errors.Join(conn.Bind("cn=root,"+BaseDN, "root's"), conn.Del(ldap.NewDelRequest(dn+","+BaseDN, nil))); err != nil {
		s.t.Fatal(err)
	}
}

// Pause stops it, so that it neither answers nor hangs up.
func (s *Server) Pause() {
	s.t.Helper()
	if err := etcdtest.Stop(s.cmd.Process); err != nil {
		s.t.Fatal(err)
	}
}

// Resume lets it go on.
func (s *Server) Resume() { _ = s.cmd.Process.Signal(syscall.SIGCONT) } // it runs
