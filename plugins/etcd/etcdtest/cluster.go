package etcdtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a member may take to be there.
const patience = 30 * time.Second

// A Cluster is some members that make one etcd.
type Cluster struct {
	Members []*Member

	tb  testing.TB
	tls *TLS
}

// A Member is one process of etcd.
type Member struct {
	URL string // of its clients

	tb   testing.TB
	args []string
	log  string
	cmd  *exec.Cmd // nil: it does not run
}

// Options of Start.
type Options struct {
	TLS  *TLS     // nil: without
	Args []string // more arguments for each member
}

// Start runs a cluster of n members, which ends with tb. Without an etcd in
// the path the test is skipped, or fails where CI is true.
func Start(tb testing.TB, n int, opt Options) *Cluster {
	tb.Helper()
	if _, err := exec.LookPath("etcd"); err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatal("there is no etcd: apt-get install etcd-server etcd-client")
		}
		tb.Skip("there is no etcd")
	}
	c := &Cluster{tb: tb, tls: opt.TLS}
	dir := tb.TempDir()
	addresses := freeAddresses(tb, 2*n)
	scheme := "http"
	if opt.TLS != nil {
		scheme = "https"
	}
	var initial []string
	for i := range n {
		initial = append(initial, fmt.Sprintf("m%d=http://%s", i, addresses[2*i+1]))
	}
	for i := range n {
		name, peer := fmt.Sprintf("m%d", i), "http://"+addresses[2*i+1]
		m := &Member{tb: tb, URL: scheme + "://" + addresses[2*i], log: filepath.Join(dir, name+".log")}
		m.args = append([]string{
			"--name", name, "--data-dir", filepath.Join(dir, name),
			"--listen-client-urls", m.URL, "--advertise-client-urls", m.URL,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(initial, ","), "--initial-cluster-state", "new",
			"--heartbeat-interval", "50", "--election-timeout", "500", "--bcrypt-cost", "4", "--logger", "zap", "--log-outputs", "stderr",
		}, opt.Args...)
		if opt.TLS != nil {
			m.args = append(m.args, "--cert-file", opt.TLS.ServerCert, "--key-file", opt.TLS.ServerKey, "--trusted-ca-file", opt.TLS.CA, "--client-cert-auth")
		}
		c.Members = append(c.Members, m)
		m.Start()
		tb.Cleanup(m.Kill)
	}
	c.Ready()
	return c
}

// URLs returns where the members answer.
func (c *Cluster) URLs() []string {
	var urls []string
	for _, m := range c.Members {
		urls = append(urls, m.URL)
	}
	return urls
}

// Ready waits until a majority answers.
func (c *Cluster) Ready() {
	c.tb.Helper()
	var out []byte
	for end := time.Now().Add(patience); time.Now().Before(end); {
		var err error
		if out, err = c.try("endpoint", "health"); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond) // between tries; it is the answer that is waited for
	}
	c.tb.Fatalf("etcd is not there: %s\n%s", out, c.logs())
}

// Ctl runs etcdctl on the whole cluster.
func (c *Cluster) Ctl(args ...string) string {
	c.tb.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.tb.Fatalf("etcdctl %q: %v: %s", args, err, out)
	}
	return string(out)
}

func (c *Cluster) try(args ...string) ([]byte, error) { return c.tryInput("", args...) }

func (c *Cluster) tryInput(input string, args ...string) ([]byte, error) {
	all := append([]string{"--endpoints", strings.Join(c.URLs(), ","), "--command-timeout", "10s"}, args...)
	if c.tls != nil {
		all = append(all, "--cacert", c.tls.CA, "--cert", c.tls.ClientCert, "--key", c.tls.ClientKey)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "etcdctl", all...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	cmd.Stdin = strings.NewReader(input)
	return cmd.CombinedOutput()
}

func (c *Cluster) logs() string {
	var all bytes.Buffer
	for _, m := range c.Members {
		text, _ := os.ReadFile(m.log) // nothing, if there is none
		all.Write(text[max(0, len(text)-4000):])
	}
	return all.String()
}

// Start starts the member, on what it has kept. It does not wait for it.
func (m *Member) Start() {
	m.tb.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.tb.Fatal(err)
	}
	defer log.Close()
	m.cmd = exec.Command("etcd", m.args...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.tb.Fatal(err)
	}
}

// Kill ends the member the hard way. It keeps what it has on disk.
func (m *Member) Kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill() // it may be gone
	_ = m.cmd.Wait()         // says that it was killed
	m.cmd = nil
}

// Pause stops the member, so that it neither answers nor hangs up.
func (m *Member) Pause() {
	m.tb.Helper()
	if err := Stop(m.cmd.Process); err != nil {
		m.tb.Fatal(err)
	}
}

// Stop stops a child, and returns when its last thread stands still.
func Stop(child *os.Process) error {
	err := child.Signal(syscall.SIGSTOP)
	if err != nil {
		return err
	}
	var how syscall.WaitStatus
	for err = syscall.EINTR; err == syscall.EINTR; {
		_, err = syscall.Wait4(child.Pid, &how, syscall.WUNTRACED, nil)
	}
	if err == nil && !how.Stopped() {
		err = fmt.Errorf("process %d ended, instead of being stopped", child.Pid)
	}
	return err
}

// Resume lets it go on.
func (m *Member) Resume() { m.signal(syscall.SIGCONT) }

func (m *Member) signal(s syscall.Signal) {
	m.tb.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.tb.Fatal(err)
	}
}

// freeAddresses returns addresses on loopback that nobody listens on.
func freeAddresses(tb testing.TB, n int) []string {
	var addresses []string
	for range n { // all are held until the last is known, so that they differ
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}
